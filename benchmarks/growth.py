"""The cost of a hundred times as many counters (requests, disk, start-up), and of a shared video.

Each Tweet has 100 counters: five types in ten of the last 28 hours and in ten older ones. Each file
holds one hour of all Tweets, as engagement comes in.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import product
import world
from measure import Spread, cores, disk_bytes, ratios, wait_until_idle
from serving import (
    BY_TWEET,
    Case,
    Maker,
    RequestSource,
    alternate,
    body,
    historical,
    last_28_hours,
    totals,
)
from sizes import Sizes

from openengagement.engagement.types import DAY_S, HOUR_S, Endpoint, snowflake

TYPES = ["impressions", "favorites", "video_views", "url_clicks", "detail_expands"]
HOURS_AGO = [*range(2, 22, 2), *range(72, 672, 60)]  # within 28 hours, and within 28 days
POSTED_AGO_S = 28 * DAY_S - HOUR_S
COUNTERS_OF_TWEET = len(TYPES) * len(HOURS_AGO)
OWNED = 2_000
VIDEO = 1  # the id of the video in many Tweets


@dataclass(frozen=True, slots=True)
class Grown:
    """A folder with 100 counters per Tweet, and the cost of filling it.

    The `shared` Tweets have one video, and each of as many `single` Tweets has its own; both are
    empty if the folder is too small.
    """

    world: world.World
    counters: int
    empty_bytes: int  # of disk, before the first counter
    rate: float
    shared: list[int]
    single: list[int]


def grow(folder: Path, tweets: int, *, of_video: int) -> Grown:
    """Fill a folder with `openengagement load`."""
    rng = np.random.default_rng(2012)
    now_s = int(time.time())
    ids = snowflake(now_s - POSTED_AGO_S) + np.arange(tweets, dtype=np.int64)
    authors = rng.integers(2, world.ACCOUNTS + 1, tweets)
    owned = rng.choice(tweets, min(OWNED, tweets), replace=False)
    authors[owned] = 1
    videos = [VIDEO] * of_video + list(range(VIDEO + 1, VIDEO + 1 + of_video))
    folder.mkdir()
    data = folder / "data"
    columns = {"id": ids, "author_id": authors}
    registered = pl.DataFrame(columns).with_columns(
        video_id=pl.Series([*map(str, videos), *[None] * (tweets - len(videos))], dtype=pl.String)
    )
    world.register(data, registered)
    empty_bytes = disk_bytes(data)
    files = [_write_hour(folder, ids, hours_ago=each, now_s=now_s) for each in HOURS_AGO]
    loaded = world.load(data, "events", *files)
    for file in files:
        file.unlink()
    counters = tweets * COUNTERS_OF_TWEET
    return Grown(
        world.World(data, world.make_keys(data), ids[owned].tolist()),
        counters,
        empty_bytes,
        counters / loaded.wall_s,
        ids[:of_video].tolist(),
        ids[of_video : 2 * of_video].tolist(),
    )


def _write_hour(folder: Path, ids: np.ndarray, *, hours_ago: int, now_s: int) -> Path:
    rng = np.random.default_rng(hours_ago)
    path = folder / f"{hours_ago}.parquet"
    order = rng.permutation(len(ids) * len(TYPES))
    frame = pl.DataFrame(
        {
            "tweet_id": np.repeat(ids, len(TYPES))[order],
            "type": pl.Series(TYPES).gather(np.tile(np.arange(len(TYPES)), len(ids))[order]),
            "count": rng.geometric(0.1, len(order)),
        }
    )
    frame.with_columns(at=pl.from_epoch(pl.lit(now_s - hours_ago * HOUR_S))).write_parquet(path)
    return path


def flatness(small: Grown, large: Grown, sizes: Sizes) -> dict[str, dict[str, Spread]]:
    """Time each read against both stores in turn: one request at a time, one worker on one core."""
    kinds: dict[str, Callable[[RequestSource], Maker]] = {
        "totals": totals,
        "28hr": last_28_hours,
        "historical": historical,
    }
    with ExitStack() as stack:
        cases = {}
        for size, grown in (("small", small), ("large", large)):
            server = stack.enter_context(product.serving(grown.world.data, core=cores()[0]))
            wait_until_idle(server.pid)  # it compacts the files of the load
            source = RequestSource(grown.world, server.port)
            for name, make in kinds.items():
                cases[name, size] = Case(f"{name} {size}", server, make(source), connections=1)
            for name, ids in (("single", grown.single), ("shared", grown.shared)):
                if size == "large":
                    cases["video", name] = Case(name, server, _video(source, ids), connections=1)
        alternate([*cases.values()], sizes.rounds, core=cores()[1], sample_s=sizes.sample_s)
    figures = {
        f"flat_{name}": _compared(cases[name, "small"], cases[name, "large"]) for name in kinds
    }
    return figures | {"video": _compared(cases["video", "single"], cases["video", "shared"])}


def _video(source: RequestSource, ids: list[int]) -> Maker:
    """Request the video views of one random Tweet of these."""
    rng = np.random.default_rng(7)
    return lambda amount: source.requests(
        Endpoint.TOTALS,
        [body([each], ["video_views"], BY_TWEET) for each in rng.choice(ids, amount)],
        bearer=True,
    )


def _compared(low: Case, high: Case) -> dict[str, Spread]:
    low_ms, high_ms = ([run.percentile_ms(0.5) for run in each.runs] for each in (low, high))
    return {
        "cpu_ratio": ratios(high.cpu_us, low.cpu_us),
        "p50_ratio": ratios(high_ms, low_ms),
        "low_cpu_us": Spread.of(low.cpu_us),
        "high_cpu_us": Spread.of(high.cpu_us),
        "low_p50_ms": Spread.of(low_ms),
        "high_p50_ms": Spread.of(high_ms),
    }


def space(grown: Grown, rounds: int) -> dict[str, Spread]:
    """Measure the time from the start of `serve` to its first answer, then the disk usage."""
    ready = []
    for _ in range(rounds):
        with product.serving(grown.world.data) as server:
            ready.append(server.ready_s)
    taken = disk_bytes(grown.world.data) - grown.empty_bytes
    return {
        "counters": Spread.of([float(grown.counters)]),
        "bytes_per_counter": Spread.of([taken / grown.counters]),
        "ready_s": Spread.of(ready),
        "load_rate": Spread.of([grown.rate]),
    }
