"""A platform's whole stream over minutes: from files, and over HTTP from many producers."""

import math
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import counting
import numpy as np
import polars as pl
import product
import stream
from measure import MemoryWatch, Series, Spread, cpu_s
from producers import Plan, Produced, producing
from sizes import Sizes

from openengagement.engagement.types import HOUR_S

PRODUCERS = 8
WORKERS = 2
BATCH_LINES = 50_000
LOOK_EVERY_S = 0.2
LOOKS_MIN = 10
RATE_MAX = 2_000_000  # events/s that producers are given files for
Figures = dict[str, Spread | Series]


@dataclass(frozen=True, slots=True)
class Stream:
    """The stream's files in order, the time of its first event, and the ids of all its Tweets."""

    files: list[Path]
    start_s: int
    tweet_ids: np.ndarray


def make_stream(folder: Path, sizes: Sizes) -> Stream:
    """Make the stream; its last event was an hour ago."""
    batches = sizes.stream_events // stream.BATCH_EVENTS
    start_s = int(time.time()) - HOUR_S - batches * stream.BATCH_SPAN_S
    files = stream.make(folder / "stream", sizes.stream_events, start_s=start_s)
    return Stream(files, start_s, stream.tweet_ids(start_s))


class Progress:
    """How far a command has read its list of files, found in /proc at no cost to the command."""

    def __init__(self, files: Sequence[Path]) -> None:
        sizes = [path.stat().st_size for path in files]
        before = np.concatenate([[0], np.cumsum(sizes)]).tolist()
        names = [str(path.resolve()) for path in files]
        self._starts = dict(zip(names, before, strict=False))
        self._bytes = before[-1]
        self._began = time.perf_counter()
        self._seen = [(0.0, 0.0)]  # seconds, share

    def look(self, pid: int) -> None:
        """Record the position; between two files there is none."""
        folder = Path("/proc") / str(pid)
        with suppress(OSError):  # a file is closed, or the command has ended, between two steps
            for descriptor in (folder / "fd").iterdir():
                path = str(descriptor.readlink())
                if path in self._starts:
                    at = (folder / "fdinfo" / descriptor.name).read_text().split(None, 2)[1]
                    share = (self._starts[path] + int(at)) / self._bytes
                    self._seen.append((time.perf_counter() - self._began, share))

    def end(self) -> None:
        self._seen.append((time.perf_counter() - self._began, 1.0))

    def curve(self, events: int) -> tuple[np.ndarray, np.ndarray]:
        """Return seconds and the events read by then; lines are similar enough to count by bytes.

        Raises:
            RuntimeError: too few positions were recorded to say anything about the rate over time.
        """
        if len(self._seen) < LOOKS_MIN:
            raise RuntimeError(f"it was seen reading {len(self._seen)} times only")
        at_s, share = np.array(self._seen).T
        return at_s, np.maximum.accumulate(share) * events


def from_files(folder: Path, files: Sequence[Path], sizes: Sizes) -> Figures:
    """Load the whole stream with `openengagement load events FILE...` into new folders."""
    events, counted = sizes.stream_events, counting.count(files)
    rates, cpu, flat, memory = [], [], [], []
    series = Series([], [])
    for index in range(sizes.rounds):
        data = folder / f"stream-{index}"
        loading = product.Command(data, "load", "events", *map(str, files))
        progress = Progress(files)
        with MemoryWatch(loading.pid) as watch:
            while loading.running:
                progress.look(loading.pid)
                time.sleep(LOOK_EVERY_S)
        progress.end()
        loaded = loading.wait()
        counting.check(data, counted)
        shutil.rmtree(data)
        rates.append(events / loaded.wall_s)
        cpu.append(loaded.cpu_s / events * 1e6)
        memory.append(watch.process_rss_mib)
        curve = progress.curve(events)
        flat.append(late_over_early(curve, sizes))
        series = by_slice(curve, sizes.slice_s)
    return {
        "rate": Spread.of(rates),
        "late_over_early": Spread.of(flat),
        "cpu_us": Spread.of(cpu),
        "rss_mib": Spread.of(memory),
        "events": Spread.of([float(events)]),
        "over_time": series,
    }


Curve = tuple[np.ndarray, np.ndarray]


def late_over_early(curve: Curve, sizes: Sizes) -> float:
    """Divide the rate over the last events by that over as many events in a new store."""
    at_s, done = curve
    early, window, end = sizes.early_events, sizes.window_events, sizes.stream_events
    took = [
        np.interp(start + window, done, at_s) - np.interp(start, done, at_s)
        for start in (early, end - window)
    ]
    return float(took[0] / took[1])


def by_slice(curve: Curve, slice_s: float) -> Series:
    """Return the events/s of every full slice, over the millions of events at its end."""
    at_s, done = curve
    edges = np.arange(0, at_s[-1], slice_s)
    reached = np.interp(edges, at_s, done)
    rates = np.diff(reached) / slice_s
    return Series((reached[1:] / 1e6).round(3).tolist(), rates.round().tolist())


def over_http(folder: Path, files: Sequence[Path], sizes: Sizes) -> Figures:
    """Send the same stream for a minute from eight producers to a server with a worker per core."""
    runs: list[Produced] = []
    cpu, rss, pss, every = [], [], [], []
    for index in range(sizes.rounds):
        data = folder / f"produced-{index}"
        key = product.run(data, "platform-key", "issue", "bench").answer["platform_key"]
        with product.serving(data, workers=WORKERS) as server, MemoryWatch(server.pid) as watch:
            given = enough(files, sizes.http_s)
            plan = Plan(server.port, key, given, BATCH_LINES, PRODUCERS)
            before = cpu_s(server.pid)
            with producing(plan) as running:
                time.sleep(sizes.http_s)
            run = running.produced
            cpu.append((cpu_s(server.pid) - before) / run.lines * 1e6)
        counting.check(data, sent(files, run))
        shutil.rmtree(data)
        runs.append(run)
        rss.append(watch.process_rss_mib)
        pss.append(watch.process_pss_mib)
        every.append(watch.pss_mib)
    return {
        "rate": Spread.of([run.rate for run in runs]),
        "cpu_us": Spread.of(cpu),
        "ack_p50_ms": Spread.of([float(np.percentile(run.latencies_ms(), 50)) for run in runs]),
        "ack_p99_ms": Spread.of([float(np.percentile(run.latencies_ms(), 99)) for run in runs]),
        "generator_share": Spread.of([run.cpu_s / run.wall_s for run in runs]),
        "rss_mib": Spread.of(rss),
        "pss_mib": Spread.of(pss),
        "all_pss_mib": Spread.of(every),
        "over_time": by_slice(_curve(runs[-1]), sizes.slice_s),
    }


def enough(files: Sequence[Path], seconds: float) -> list[str]:
    """Return the first files, as many as producers can send in this time."""
    return [str(path) for path in files[: math.ceil(seconds * RATE_MAX / stream.BATCH_EVENTS)]]


def sent(files: Sequence[Path], run: Produced) -> pl.DataFrame:
    """Count plainly what producers sent: batches are taken in order, so the first lines."""
    return counting.count(files, lines=run.lines)


def _curve(run: Produced) -> Curve:
    acks = sorted(run.acks, key=lambda ack: ack.acked_s)
    began = min(ack.sent_s for ack in acks)
    at_s = np.array([0.0, *(ack.acked_s - began for ack in acks)])
    return at_s, np.cumsum([0, *(ack.lines for ack in acks)]).astype(float)
