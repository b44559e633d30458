"""Events per second from an NDJSON file to durable counters, by the command line and over HTTP."""

import http.client
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import counting
import msgspec
import polars as pl
import product
from measure import Spread, cpu_s

from openengagement.sandbox.simulate import simulate_weeks

ROOT = product.HERE.parent
HIGGS = ROOT.parent / "shared" / "data" / "higgs-activity_time.txt.gz"
BATCH_LINES = 50_000
SENDERS = 2


def make_events(folder: Path) -> tuple[Path, str]:
    """Make the file of events and its description: the real week if it is next to the checkout."""
    now = datetime.now(UTC)
    if HIGGS.exists():
        command = [sys.executable, str(ROOT / "examples" / "higgs" / "convert.py")]
        moved = ["--ends-at", now.strftime("%Y-%m-%dT%H:00:00Z")]
        subprocess.run(
            [*command, str(HIGGS), str(folder), *moved], check=True, stdout=subprocess.DEVNULL
        )
        return folder / "events.ndjson", "the real Higgs week, moved to end now"
    events = simulate_weeks(int(now.timestamp()), 2012).events
    path = folder / "events.ndjson"
    time_text = pl.from_epoch("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    events.with_columns(pl.col("tweet_id").cast(pl.String), at=time_text).write_ndjson(path)
    return path, "a simulated week"


def from_file(folder: Path, events: Path, rounds: int) -> dict[str, Spread]:
    """Time `openengagement load events FILE` into a new folder, and its start-up alone."""
    lines, counted = counting.line_count(events), counting.count([events])
    one = folder / "one.ndjson"
    with events.open("rb") as file:
        one.write_bytes(file.readline())
    whole, start, cpu = [], [], []
    for index in range(rounds):
        data = folder / f"start-{index}"
        begun = product.run(data, "load", "events", str(one))
        start.append(begun.wall_s)
        data = folder / f"file-{index}"
        loaded = product.run(data, "load", "events", str(events))
        if loaded.answer["accepted"] != lines:
            raise RuntimeError(f"{loaded.answer} of {lines} lines")
        counting.check(data, counted)
        whole.append(loaded.wall_s)
        cpu.append(loaded.cpu_s)
    pairs = list(zip(whole, start, strict=True))
    return {
        "rate": Spread.of([lines / each for each in whole]),
        "rate_without_start": Spread.of([lines / (each - begun) for each, begun in pairs]),
        "start_s": Spread.of(start),
        "cpu_us": Spread.of([each / lines * 1e6 for each in cpu]),
        "lines": Spread.of([float(lines)]),
    }


def over_http(folder: Path, events: Path, rounds: int) -> dict[str, Spread]:
    """Send the same lines in batches to a server with one worker, from two senders at once."""
    lines = events.read_bytes().splitlines(keepends=True)
    batches = [
        b"".join(lines[start : start + BATCH_LINES]) for start in range(0, len(lines), BATCH_LINES)
    ]
    rates, cpu, counted = [], [], counting.count([events])
    for index in range(rounds):
        data = folder / f"http-{index}"
        key = product.run(data, "platform-key", "issue", "bench").answer["platform_key"]
        with product.serving(data) as server, ThreadPoolExecutor(SENDERS) as senders:
            before, began = cpu_s(server.pid), time.perf_counter()
            accepted = sum(senders.map(partial(send, server.port, key), batches))
            took_s = time.perf_counter() - began
            cpu.append((cpu_s(server.pid) - before) / len(lines) * 1e6)
        if accepted != len(lines):
            raise RuntimeError(f"{accepted} of {len(lines)} lines")
        counting.check(data, counted)
        rates.append(len(lines) / took_s)
    return {
        "rate": Spread.of(rates),
        "cpu_us": Spread.of(cpu),
        "batch_lines": Spread.of([float(BATCH_LINES)]),
    }


def send(port: int, key: str, batch: bytes) -> int:
    """Send one batch and return the number of accepted lines."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    with closing(http.client.HTTPConnection(product.HOST, port)) as connection:
        connection.request("POST", "/platform/v1/events", batch, headers)
        answer = connection.getresponse().read()
    return msgspec.json.decode(answer)["accepted"]
