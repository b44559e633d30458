"""From an event log to counters: NATS JetStream on this machine, and `openengagement consume`.

The server of the log shares the cores with the consumer. Messages have MESSAGE_EVENTS events each.
"""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import counting
import nats
import numpy as np
import peers_environment
import polars as pl
import product
import sizes
from measure import MemoryWatch, Spread, cpu_s
from nats.js import JetStreamContext

sys.path.append(str(Path(__file__).resolve().parent / "peers"))
import postgresql_server

from openengagement.clock import SystemClock
from openengagement.data_folder import open_data_folder
from openengagement.settings import Settings

MESSAGE_EVENTS = 500
STREAM = "EVENTS"
MARKED = 9  # a Tweet of the benchmark's own
MARK_EVERY_S = 0.1
SUM_EVERY = "%Y-%m-%dT%H:%M:%SZ"


class Broker:
    """A running server of NATS."""

    def __init__(self, folder: Path) -> None:
        self.port = product.free_port()
        beside = Path(sys.executable).with_name("nats-server")
        command = str(beside) if beside.exists() else shutil.which("nats-server")
        if command is None:
            raise RuntimeError("there is no nats-server")
        self.url = f"nats://{product.HOST}:{self.port}"
        self._process = subprocess.Popen(
            [command, "-js", "-sd", str(folder), "-a", product.HOST, "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.pid = self._process.pid
        while not self._answers():
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            asyncio.run(_make_stream(self.url))
        except Exception:
            return False
        return True

    def stop(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


async def _make_stream(url: str) -> None:
    client = await nats.connect(url, allow_reconnect=False, error_cb=_ignore)
    await client.jetstream().add_stream(name=STREAM, subjects=["events"])
    await client.close()


async def _ignore(_: Exception) -> None:
    pass


@contextmanager
def broker(folder: Path) -> Iterator[Broker]:
    folder.mkdir()
    running = Broker(folder)
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder)


def messages(files: Sequence[Path], events: int) -> Iterator[bytes]:
    """Cut the first events of the files into messages."""
    left = events // MESSAGE_EVENTS
    pattern = re.compile(rb"(?:[^\n]*\n){1,%d}" % MESSAGE_EVENTS)
    for path in files:
        for found in pattern.finditer(path.read_bytes()):
            if not left:
                return
            left -= 1
            yield found[0]


async def _publish_all(url: str, bodies: Iterator[bytes]) -> None:
    """Publish as fast as the server stores the messages."""
    client = await nats.connect(url)
    jetstream, sent = client.jetstream(), 0
    for body in bodies:
        await client.publish("events", body)
        sent += 1
        if sent % 500 == 0:
            await client.flush()
            await _wait_for(jetstream, sent - 2000)
    await _wait_for(jetstream, sent)
    await client.close()


async def _wait_for(jetstream: JetStreamContext, messages: int) -> None:
    """Wait until the stream has so many messages. It tells nobody when that happens."""
    while (await jetstream.stream_info(STREAM)).state.messages < messages:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


def backlog(folder: Path, files: Sequence[Path], rounds: int) -> dict[str, Spread]:
    """Publish all events of some files, then time a consumer until it has counted them."""
    lines = sum(map(counting.line_count, files))
    lines -= lines % MESSAGE_EVENTS
    counted = counting.count(files, lines)
    rates, whole, cpu, memory = [], [], [], []
    for index in range(rounds):
        with broker(folder / f"nats-{index}") as log:
            url = f"{log.url}/{STREAM}"
            asyncio.run(_publish_all(log.url, iter([b""])))
            start = product.run(folder / f"none-{index}", "consume", url, "--until-end")
            asyncio.run(_publish_all(log.url, messages(files, lines)))
            data, broker_s = folder / f"consumed-{index}", cpu_s(log.pid)
            command = product.Command(data, "consume", url, "--until-end")
            with MemoryWatch(command.pid) as watch:
                ran = command.wait()
            broker_s = cpu_s(log.pid) - broker_s
        if ran.answer["events"] != lines:
            raise RuntimeError(f"{ran.answer} of {lines} events")
        counting.check(data, counted)
        whole.append(lines / ran.wall_s)
        rates.append(lines / (ran.wall_s - start.wall_s))
        cpu.append((ran.cpu_s + broker_s) * 1e6 / lines)
        memory.append(watch.process_rss_mib)
    return {
        "rate": Spread.of(whole),
        "rate_without_start": Spread.of(rates),
        "cpu_us": Spread.of(cpu),
        "rss_mib": Spread.of(memory),
        "events": Spread.of([lines]),
    }


def large_backlog(folder: Path, files: Sequence[Path], events: int) -> dict[str, Spread]:
    """Publish the events of some files again and again, and watch the memory of a consumer."""
    lines = sum(map(counting.line_count, files))
    times = events // lines
    counted = counting.count(files).with_columns(count=pl.col("count") * times)
    with broker(folder / "nats-large") as log:
        bodies = (body for _ in range(times) for body in messages(files, lines))
        asyncio.run(_publish_all(log.url, bodies))
        data = folder / "consumed-large"
        command = product.Command(data, "consume", f"{log.url}/{STREAM}", "--until-end")
        with MemoryWatch(command.pid) as watch:
            ran = command.wait()
    if ran.answer["events"] != lines * times:
        raise RuntimeError(f"{ran.answer} of {lines * times} events")
    counting.check(data, counted)
    return {
        "events": Spread.of([lines * times]),
        "rate": Spread.of([lines * times / ran.wall_s]),
        "rss_mib": Spread.of([watch.process_rss_mib]),
    }


def into_postgresql(folder: Path, files: Sequence[Path], rounds: int) -> dict[str, Spread]:
    """Time a consumer that upserts the same messages into PostgreSQL."""
    lines = sum(map(counting.line_count, files))
    lines -= lines % MESSAGE_EVENTS
    rates = []
    for index in range(rounds):
        with broker(folder / f"nats-postgresql-{index}") as log, postgresql_server.running() as db:
            asyncio.run(_publish_all(log.url, messages(files, lines)))
            where = f"host={db.socket} user={db.user} dbname=postgres"
            program = product.HERE / "peers" / "log_to_postgresql.py"
            command = [sys.executable, program, log.url, where, str(lines // MESSAGE_EVENTS)]
            done = subprocess.run(
                command, check=True, capture_output=True, env=product.environment()
            )
        found = json.loads(done.stdout)
        if found["events"] != lines:
            raise RuntimeError(f"{found} of {lines} events")
        rates.append(lines / found["wall_s"])
    return {"rate": Spread.of(rates)}


class _Marks:
    """When each mark was published, and when the store had it."""

    def __init__(self) -> None:
        self.sent_s: list[float] = []
        self.seen_s: list[float] = []
        self._ends = threading.Event()

    def watch(self, data: Path) -> None:
        with closing(open_data_folder(data, Settings(), clock=SystemClock())) as folder:
            while not (self._ends.is_set() and len(self.seen_s) >= len(self.sent_s)):
                found = folder.stores.counters.read_totals([MARKED], ["replies"])[0, 0]
                now = time.perf_counter()
                self.seen_s += [now] * (int(found) - len(self.seen_s))
                time.sleep(0.005)

    def end(self) -> None:
        self._ends.set()

    def latencies_ms(self) -> np.ndarray:
        return (np.array(self.seen_s) - np.array(self.sent_s)) * 1000


async def _publish_paced(
    url: str, bodies: Iterator[bytes], *, rate: float, for_s: float, marks: _Marks
) -> None:
    client = await nats.connect(url)
    began = time.perf_counter()
    mark_at = 0.0
    for sent, body in enumerate(bodies):
        due = sent * MESSAGE_EVENTS / rate
        now = time.perf_counter() - began
        if now > for_s:
            break
        if now >= mark_at:
            mark_at += MARK_EVERY_S
            marks.sent_s.append(time.perf_counter())
            at = time.strftime(SUM_EVERY, time.gmtime()).encode()
            await client.publish(
                "events", b'{"tweet_id":"%d","type":"replies","at":"%s"}' % (MARKED, at)
            )
        await client.publish("events", body)
        if due > now:
            await client.flush()
            await asyncio.sleep(due - now)
    await client.flush()
    await client.close()


def latency(folder: Path, files: Sequence[Path], *, rate: float, for_s: float) -> dict[str, Spread]:
    """Publish at a steady rate of events, and time from publishing to what a read returns."""
    marks = _Marks()
    with broker(folder / "nats-paced") as log:
        data = folder / "paced"
        product.run(data, "consume", f"{log.url}/{STREAM}", "--until-end")
        watcher = threading.Thread(target=marks.watch, args=[data])
        watcher.start()
        command = product.Command(data, "consume", f"{log.url}/{STREAM}")
        time.sleep(2)
        bodies = messages(files, sum(map(counting.line_count, files)))
        asyncio.run(_publish_paced(log.url, bodies, rate=rate, for_s=for_s, marks=marks))
        marks.end()
        watcher.join()
        command.stop()
    found = marks.latencies_ms()
    return {
        "p50_ms": Spread.of([float(np.percentile(found, 50))]),
        "p99_ms": Spread.of([float(np.percentile(found, 99))]),
        "rate": Spread.of([rate]),
    }


def consuming(
    folder: Path, files: Callable[[], Sequence[Path]], amounts: sizes.Sizes
) -> dict[str, dict[str, Spread]]:
    """Measure our consumer and PostgreSQL's."""
    some = files()[: amounts.peer_files]
    whole = backlog(folder, some, amounts.few_rounds)
    large = large_backlog(folder, some, amounts.backlog_events)
    rate = whole["rate_without_start"].median / 2
    paced = latency(folder, some, rate=rate, for_s=amounts.http_s / 3)
    peers_environment.install_debian_packages()
    peer = into_postgresql(folder, some, amounts.few_rounds)
    times = Spread.of([whole["rate_without_start"].median / peer["rate"].median])
    peer["times"] = times
    return {
        "consume_backlog": whole,
        "consume_large_backlog": large,
        "consume_latency": paced,
        "consume_postgresql": peer,
    }
