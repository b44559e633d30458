"""Producers in one process that send a stream over HTTP as fast as it is acknowledged.

As a program, its argument is a `Plan` as JSON. It prints `ready` once every file is cut into
batches, starts at the first line of its input, ends with the input, and prints a `Produced`.
"""

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec
import numpy as np

HOST = "127.0.0.1"
TIMEOUT_S = 120


class Plan(msgspec.Struct):
    """What to send, and how.

    With `marked`, an id per producer, every batch also has an event of the producer's own Tweet.
    After each acknowledgement the producer then checks that the event was counted.
    """

    port: int
    key: str
    files: list[str]
    batch_lines: int
    producers: int
    pause_s: float = 0.0
    marked: list[str] = []
    at: str = ""
    bearer: str = ""


class Ack(msgspec.Struct):
    """An acknowledged batch: seconds of the monotonic clock, lines of the stream, batch number."""

    sent_s: float
    acked_s: float
    lines: int
    batch: int


class Produced(msgspec.Struct):
    """The result of a plan. `missed` counts acknowledged events that the next answer lacked."""

    acks: list[Ack] = []
    missed: int = 0
    requested: int = 0
    cpu_s: float = 0.0
    exhausted: bool = False  # no batch was left when it had to end

    @property
    def lines(self) -> int:
        return sum(ack.lines for ack in self.acks)

    @property
    def wall_s(self) -> float:
        return max(ack.acked_s for ack in self.acks) - min(ack.sent_s for ack in self.acks)

    @property
    def rate(self) -> float:
        return self.lines / self.wall_s

    def latencies_ms(self) -> list[float]:
        return [(ack.acked_s - ack.sent_s) * 1000 for ack in self.acks]


class Producing:
    """A plan that runs in another process; `produced` is set once `producing` has ended."""

    produced: Produced


@contextmanager
def producing(plan: Plan) -> Iterator[Producing]:
    """Run a plan for as long as the block lasts.

    Raises:
        RuntimeError: an acknowledged event was missing, or a batch was refused.
    """
    command = [sys.executable, __file__, msgspec.json.encode(plan).decode()]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        process.stdin.write(b"go\n")
        process.stdin.flush()
        running = Producing()
        yield running
        printed, _ = process.communicate(timeout=TIMEOUT_S)
        if process.returncode:
            raise RuntimeError("the producers failed")
        running.produced = msgspec.json.decode(printed, type=Produced)
    finally:
        process.kill()
        process.wait()


Batch = tuple[int, str, int, int, int]  # number, path, first byte, bytes, lines


def cut(plan: Plan) -> list[Batch]:
    """Cut the files into batches, in order; the rest of a file is a batch too."""
    batches = []
    for path in plan.files:
        ends = _line_ends(Path(path), plan.batch_lines)
        start = 0
        for end, lines in ends:
            batches.append((len(batches), path, start, end - start, lines))
            start = end
    return batches


def _line_ends(path: Path, every: int) -> list[tuple[int, int]]:
    """Find the end of each batch, and its number of lines."""
    ends = np.flatnonzero(np.fromfile(path, np.uint8) == ord("\n")) + 1
    last = np.append(np.arange(every, len(ends), every), len(ends))
    sizes = np.diff(last, prepend=0)
    return list(zip(ends[last - 1].tolist(), sizes.tolist(), strict=True))


class _Producers:
    """The producers, each with its own connection."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._batches = iter(cut(plan))
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._failed: list[str] = []
        self.result = Produced()

    def run(self) -> Produced:
        threads = [
            threading.Thread(target=self._produce, args=(each,))
            for each in range(self._plan.producers)
        ]
        for each in threads:
            each.start()
        sys.stdin.read()
        self._ending.set()
        for each in threads:
            each.join()
        if self._failed:
            sys.exit(self._failed[0])
        self.result.cpu_s = time.process_time()
        return self.result

    def _produce(self, who: int) -> None:
        try:
            with closing(
                http.client.HTTPConnection(HOST, self._plan.port, timeout=TIMEOUT_S)
            ) as to:
                self._send_all(to, who)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._failed.append(f"producer {who}: {error!r}")

    def _send_all(self, to: http.client.HTTPConnection, who: int) -> None:
        plan = self._plan
        counted = _ask(plan, plan.marked[who]) if plan.marked else 0
        while not self._ending.is_set():
            with self._lock:
                batch = next(self._batches, None)
            if batch is None:
                self.result.exhausted = True
                return
            number, path, start, size, lines = batch
            body = _read(path, start, size)
            if plan.marked:
                body += _mark(plan.marked[who], plan.at)
            sent_s = time.monotonic()
            accepted = _post(to, plan, body)
            acked_s = time.monotonic()
            if accepted != lines + bool(plan.marked):
                raise ValueError(f"{accepted} of {lines} lines were accepted")
            self.result.acks.append(Ack(sent_s, acked_s, lines, number))
            if plan.marked:
                counted += 1
                self.result.requested += 1
                self.result.missed += _ask(plan, plan.marked[who]) != counted
            self._ending.wait(plan.pause_s)


def _read(path: str, start: int, size: int) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - the plan has plain text
        return os.pread(file.fileno(), size, start)


def _mark(tweet_id: str, at: str) -> bytes:
    return msgspec.json.encode({"tweet_id": tweet_id, "type": "favorites", "at": at}) + b"\n"


def _post(to: http.client.HTTPConnection, plan: Plan, body: bytes) -> int:
    headers = {"Authorization": f"Bearer {plan.key}", "Content-Type": "application/x-ndjson"}
    to.request("POST", "/platform/v1/events", body, headers)
    answer = to.getresponse()
    text = answer.read()
    if answer.status != http.client.OK:
        raise ValueError(f"{answer.status}: {text[:500]!r}")
    return msgspec.json.decode(text)["accepted"]


def _ask(plan: Plan, tweet_id: str) -> int:
    """Request a Tweet's `/totals` on a new connection, so from any worker."""
    body = {
        "tweet_ids": [tweet_id],
        "engagement_types": ["favorites"],
        "groupings": {"all": {"group_by": ["tweet.id", "engagement.type"]}},
    }
    with closing(http.client.HTTPConnection(HOST, plan.port, timeout=TIMEOUT_S)) as to:
        headers = {"Authorization": f"Bearer {plan.bearer}"}
        to.request("POST", "/insights/engagement/totals", msgspec.json.encode(body), headers)
        answer = msgspec.json.decode(to.getresponse().read())
    return int(answer["all"][tweet_id]["favorites"])


if __name__ == "__main__":
    producers = _Producers(msgspec.json.decode(sys.argv[1], type=Plan))
    print("ready", flush=True)
    sys.stdin.readline()
    prepared_s = time.process_time()
    produced = producers.run()
    produced.cpu_s -= prepared_s
    with suppress(BrokenPipeError):
        sys.stdout.write(msgspec.json.encode(produced).decode())
