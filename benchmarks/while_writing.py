"""`/totals` at a steady rate while the stream comes in, compared with the same without writes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import counting
import numpy as np
import polars as pl
import product
import world
from load import Driven, pace
from measure import IDLE_AFTER_LOAD_S, Spread, ratios, wait_until_idle
from producers import Plan, Produced, producing
from serving import BY_TWEET, TOTALS_TYPES, RequestSource
from sizes import Sizes
from sustained import BATCH_LINES, PRODUCERS, WORKERS, Stream, enough

from openengagement.engagement.types import Endpoint, format_time, snowflake

READS_PER_S = 50.0
CONNECTIONS = 16  # many more than are ever under way
HOT_OWNED, COLD_OWNED = 1_000, 1_000  # Tweets of the owner who asks
AHEAD_S = 1.0  # writing begins so long before the first read
WARM_UP_S = 2.0


@dataclass(slots=True)
class Runs:
    """Reads of each kind, the events written meanwhile, and the plain count of everything."""

    counted: list[pl.DataFrame]
    idle: list[Driven] = field(default_factory=list)
    http: list[Driven] = field(default_factory=list)
    file: list[Driven] = field(default_factory=list)
    produced: list[Produced] = field(default_factory=list)
    file_rates: list[float] = field(default_factory=list)


def reads_while_writing(folder: Path, stream: Stream, sizes: Sizes) -> dict[str, dict[str, Spread]]:
    """Take turns: idle, producers over HTTP, `load events`; then count everything."""
    requested, marked = _build(folder, stream, sizes)
    runs = Runs([counting.count(stream.files[: sizes.before_files])])
    with product.serving(requested.data, workers=WORKERS) as server:
        source = RequestSource(requested, server.port)

        def read(seconds: float = sizes.pace_s) -> Driven:
            amount = int(seconds * READS_PER_S)
            bodies = source.bodies(amount, tweets=250, types=TOTALS_TYPES, groupings=BY_TWEET)
            requests = source.requests(Endpoint.TOTALS, bodies)
            return pace(server.port, requests, rate=READS_PER_S, connections=CONNECTIONS)

        plan = Plan(
            server.port,
            requested.keys.platform_key,
            enough(stream.files, AHEAD_S + sizes.pace_s),
            BATCH_LINES,
            PRODUCERS,
            marked=marked,
            at=format_time(stream.start_s),
            bearer=requested.keys.bearer,
        )
        read(WARM_UP_S)
        for index in range(sizes.rounds):
            wait_until_idle(server.pid, for_s=IDLE_AFTER_LOAD_S)
            runs.idle.append(read())
            _while_producing(plan, read, runs=runs, stream=stream)
            first = sizes.before_files + index * sizes.while_files
            files = stream.files[first : first + sizes.while_files]
            _while_loading(requested.data, files, read=lambda: read(sizes.file_pace_s), runs=runs)
    counting.check(requested.data, counting.add(*runs.counted))
    return _figures(runs)


def _while_producing(plan: Plan, read: Callable[[], Driven], *, runs: Runs, stream: Stream) -> None:
    with producing(plan) as running:
        time.sleep(AHEAD_S)
        runs.http.append(read())
    produced = running.produced
    if produced.exhausted:
        raise RuntimeError("the producers had nothing left to send before the reads ended")
    runs.produced.append(produced)
    runs.counted.append(counting.count(stream.files, lines=produced.lines))


def _while_loading(
    data: Path, files: Sequence[Path], *, read: Callable[[], Driven], runs: Runs
) -> None:
    loading = product.Command(data, "load", "events", *map(str, files))
    time.sleep(AHEAD_S)
    runs.file.append(read())
    if not loading.running:
        raise RuntimeError("the files were loaded before the reads ended")
    loaded = loading.wait()
    runs.file_rates.append(loaded.answer["accepted"] / loaded.wall_s)
    runs.counted.append(counting.count(files))


def _build(folder: Path, stream: Stream, sizes: Sizes) -> tuple[world.World, list[str]]:
    """Make a folder with the stream's Tweets, its first events, and a Tweet per producer."""
    rng = np.random.default_rng(2012)
    ids, hot = stream.tweet_ids, len(stream.tweet_ids) // 100
    owned = np.concatenate(
        [rng.choice(hot, HOT_OWNED, False), hot + rng.choice(len(ids) - hot, COLD_OWNED, False)]
    )
    authors = rng.integers(2, world.ACCOUNTS + 1, len(ids))
    authors[owned] = 1
    marked = snowflake(stream.start_s) + np.arange(PRODUCERS)
    tweets = pl.DataFrame(
        {
            "id": np.concatenate([ids, marked]),
            "author_id": np.concatenate([authors, np.ones(PRODUCERS, int)]),
        }
    )
    folder.mkdir()
    data = folder / "data"
    world.register(data, tweets)
    world.load(data, "events", *stream.files[: sizes.before_files])
    built = world.World(data, world.make_keys(data), ids[owned].tolist())
    return built, [str(each) for each in marked]


def _figures(runs: Runs) -> dict[str, dict[str, Spread]]:
    idle_ms = [run.percentile_ms(0.99) for run in runs.idle]
    figures = {"reads_idle": _read_figures(runs.idle)}
    for name, reads in (("reads_while_http", runs.http), ("reads_while_file", runs.file)):
        figures[name] = _read_figures(reads)
        p99_ms = [run.percentile_ms(0.99) for run in reads]
        figures[name]["over_idle_p99"] = ratios(p99_ms, idle_ms)
    produced = runs.produced
    figures["reads_while_http"] |= {
        "written": Spread.of([run.rate for run in produced]),
        "asked": Spread.of([float(sum(run.requested for run in produced))]),
        "missed": Spread.of([float(sum(run.missed for run in produced))]),
    }
    figures["reads_while_file"]["written"] = Spread.of(runs.file_rates)
    return figures


def _read_figures(reads: Sequence[Driven]) -> dict[str, Spread]:
    return {
        "p50_ms": Spread.of([run.percentile_ms(0.5) for run in reads]),
        "p99_ms": Spread.of([run.percentile_ms(0.99) for run in reads]),
        "longest_ms": Spread.of([run.percentile_ms(1.0) for run in reads]),
        "rate": Spread.of([run.rate for run in reads]),
        "generator_share": Spread.of([run.cpu_s / run.wall_s for run in reads]),
    }
