"""Redis 7 with its append-only file: one hash per Tweet, HINCRBY of one field per hour and type.

The waiting batches are one pipeline in MULTI ... EXEC with their keys, so they are counted wholly
or not at all, and appended to the file in one piece. Polars builds the commands: a client library
that packs them one by one would be the bottleneck.
"""

import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import fold
import polars as pl
import redis
from contender import Contender, Words, folder_bytes

STARTS_IN_S = 30
READ_BYTES = 1 << 20
Commands = tuple[int, bytes]  # how many, and their text


class Redis(Contender):
    """Totals are sums of a Tweet's fields, which saves half of the increments."""

    together = 4

    def __init__(self, folder: Path, words: Words, *, client: redis.Redis) -> None:
        self._folder = folder
        self._words = words
        self._client = client
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(folder / "socket"))
        self.version = client.info("server")["redis_version"]
        policy = client.config_get("appendfsync")["appendfsync"]
        self.durable = policy == "always"
        self.how = f"appendonly yes, appendfsync {policy}"

    def prepare(self, paths: Sequence[Path]) -> Commands:
        deltas = fold.read_deltas(paths, self._words.types)
        field = pl.format("{}.{}", "hour", "type")
        arguments = (pl.format("t{}", "tweet_id"), field, pl.col("count").cast(pl.String))
        packed = [pl.format("${}\r\n{}\r\n", each.str.len_bytes(), each) for each in arguments]
        command = pl.concat_str(pl.lit("*4\r\n$7\r\nHINCRBY\r\n"), *packed)
        text = deltas.lazy().select(command.str.join("")).collect().item()
        return deltas.height, text.encode()

    def apply(self, keys: Sequence[str], prepared: Commands) -> None:
        number, commands = prepared
        number += len(keys)
        marks = "".join(f"*3\r\n$3\r\nSET\r\n${len(key)}\r\n{key}\r\n$1\r\n1\r\n" for key in keys)
        with self._lock:
            known = self._client.exists(*keys)
            if known == len(keys):
                return
            if known:
                raise RuntimeError("some of these batches were counted")
            begin, end = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"
            whole = b"".join((begin, marks.encode(), commands, end))
            sender = threading.Thread(target=self._socket.sendall, args=(whole,))
            sender.start()
            # OK, QUEUED for each, the length of the answer, the answer to each.
            self._read_lines(2 * number + 2)
            sender.join()

    def _read_lines(self, lines: int) -> None:
        """Read this many lines, none of which may be an error."""
        tail = b"\n"
        while lines:
            data = self._socket.recv(READ_BYTES)
            if not data or b"\n-" in tail + data:
                raise RuntimeError(f"Redis: {data[:500]!r}")
            lines -= data.count(b"\n")
            tail = data[-1:]

    def compact(self) -> None:
        """Rewrite the file without repetitions."""
        self._client.bgrewriteaof()
        while self._client.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.1)

    def sums(self) -> dict[str, int]:
        sums: Counter[str] = Counter()
        keys = list(self._client.scan_iter("t*", count=10_000))
        for start in range(0, len(keys), 10_000):
            for fields in self._read(keys[start : start + 10_000]):
                sums.update(self._by_type(fields))
        return dict(sums)

    def totals(self, tweet_ids: Sequence[int]) -> dict[int, list[int]]:
        read = self._read([f"t{tweet_id}" for tweet_id in tweet_ids])
        return {
            tweet_id: self._words.fold(self._by_type(fields))
            for tweet_id, fields in zip(tweet_ids, read, strict=True)
            if fields
        }

    def _read(self, keys: Sequence[str | bytes]) -> list[dict[bytes, bytes]]:
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.hgetall(key)
        return pipeline.execute()

    def _by_type(self, fields: dict[bytes, bytes]) -> dict[str, int]:
        """Add up the fields of a Tweet over its hours."""
        sums: dict[str, int] = {}
        for field, count in fields.items():
            name = self._words.types[int(field.partition(b".")[2])]
            sums[name] = sums.get(name, 0) + int(count)
        return sums

    def disk_bytes(self) -> int:
        return folder_bytes(self._folder / "appendonlydir")


@contextmanager
def _opened(folder: Path, words: Words, *, policy: str) -> Iterator[Redis]:
    settings = {
        "port": "0",
        "unixsocket": str(folder / "socket"),
        "dir": str(folder),
        "save": "",
        "appendonly": "yes",
        "appendfsync": policy,
        # Not while it is measured; `compact` does it.
        "auto-aof-rewrite-percentage": "0",
    }
    given = [part for name, value in settings.items() for part in (f"--{name}", value)]
    process = subprocess.Popen(["redis-server", *given], stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(unix_socket_path=settings["unixsocket"])
        _wait(client, process)
        yield Redis(folder, words, client=client)
    finally:
        process.terminate()
        process.wait()


def _wait(client: redis.Redis, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + STARTS_IN_S
    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            if process.poll() is not None or time.monotonic() > give_up:
                raise
            time.sleep(0.05)


every_second = partial(_opened, policy="everysec")
always = partial(_opened, policy="always")
