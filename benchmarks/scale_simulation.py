"""Simulate how Tweets spread over shards, and how waiting batches share a commit.

The product's own functions choose the shard and fold the events. Everything is drawn from a seed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scale_figures import HIGGS_SHARES, HIGGS_TWEETS, measured

from openengagement.engagement.rollup import EVENT_SCHEMA, fold_events
from openengagement.engagement.types import EVENT_TYPES
from openengagement.ingest.writer import ROWS_MAX
from openengagement.stores.cluster.cells import blocks_of
from openengagement.stores.cluster.native import decode_blocks
from openengagement.stores.cluster.routing import split_ids
from openengagement.stores.cluster.tables import CELLS

Ids = NDArray[np.int64]
Shares = NDArray[np.float64]
SEED = 2012
SHARD_COUNTS = (2, 3, 4, 6, 8, 11, 16, 64)
SHARDS = 11  # of the simulation of commits
COMMITS = (500, 5_000, 50_000, 200_000)  # events
WIDE_TWEETS = 10_000_000
NOW_HOUR = 495_000
EPOCH_MS = 1_288_834_974_657  # of snowflake ids
TWEETS_PER_MS = 500e6 / 86_400_000
GENERATORS = 64  # processes of the platform that make ids


def snowflake_ids(rng: np.random.Generator, number: int) -> Ids:
    """Draw ids of 90 days: milliseconds, generator, position within its millisecond."""
    ms = NOW_HOUR * 3_600_000 - EPOCH_MS - rng.integers(0, 90 * 86_400_000, number)
    generator = rng.integers(0, GENERATORS, number)
    position = rng.poisson(TWEETS_PER_MS / GENERATORS, number)
    return ms << 22 | generator << 12 | position


def higgs_shares() -> Shares:
    """Return the share of each Tweet of the Higgs week, the busiest first, from its figures.

    Between two figures, shares fall by a power of the rank.
    """
    ranks = [0, *HIGGS_SHARES, HIGGS_TWEETS]
    sums = [0.0, *HIGGS_SHARES.values(), 1.0]
    points = np.interp(np.log1p(np.arange(HIGGS_TWEETS + 1)), np.log1p(ranks), sums)
    return np.diff(points)


def higgs_ranks(rng: np.random.Generator, number: int) -> Ids:
    """Draw Tweets with the skew of the Higgs week. The busiest has rank 0."""
    ends = np.cumsum(higgs_shares())
    return np.searchsorted(ends, rng.random(number) * ends[-1])


def wide_ranks(rng: np.random.Generator, number: int) -> Ids:
    """Draw from ten million Tweets with the skew of the benchmark of the cluster."""
    return (WIDE_TWEETS * rng.random(number) ** 4).astype(np.int64)


def _busiest(sums: Sequence[float]) -> float:
    """Return how much the busiest shard has, divided by the mean."""
    return float(max(sums) / (sum(sums) / len(sums)))


@dataclass(frozen=True, slots=True)
class Balance:
    """How much the busiest shard has, divided by the mean of all shards."""

    shards: int
    snowflake: float
    consecutive: float
    events: float


def shard_balance() -> Iterator[Balance]:
    """Yield the balance for each number of shards."""
    rng = np.random.default_rng(SEED)
    shares = higgs_shares()
    snowflake = np.unique(snowflake_ids(rng, HIGGS_TWEETS + 1_000))[:HIGGS_TWEETS]
    rng.shuffle(snowflake)
    consecutive = np.arange(1, HIGGS_TWEETS + 1)
    share_of = dict(zip(snowflake.tolist(), shares.tolist(), strict=True))
    for shards in SHARD_COUNTS:
        mine = split_ids(snowflake.tolist(), shards=shards)
        plain = split_ids(consecutive.tolist(), shards=shards)
        yield Balance(
            shards,
            snowflake=_busiest([len(ids) for ids in mine]),
            consecutive=_busiest([len(ids) for ids in plain]),
            events=_busiest([sum(share_of[each] for each in ids) for ids in mine]),
        )


def moved(before: int, after: int) -> float:
    """Return the share of Tweets whose shard is another one after a change of the number."""
    ids = np.unique(snowflake_ids(np.random.default_rng(SEED), 100_000)).tolist()
    places = [
        {each: shard for shard, mine in enumerate(split_ids(ids, shards=number)) for each in mine}
        for number in (before, after)
    ]
    return sum(places[0][each] != places[1][each] for each in ids) / len(ids)


@dataclass(frozen=True, slots=True)
class Folding:
    """The rows that one commit inserts, and how unevenly shards get them."""

    events: int
    rows: int
    busiest_events: float  # the busiest shard, divided by the mean
    busiest_rows: float


def folding(draw: Callable[[np.random.Generator, int], Ids]) -> Iterator[Folding]:
    """Fold commits of several sizes, and look at the blocks that their shards get."""
    rng = np.random.default_rng(SEED)
    for number in COMMITS:
        ranks, of_event = np.unique(draw(rng, number), return_inverse=True)
        ids = snowflake_ids(rng, len(ranks))[of_event]
        deltas = fold_events(_events(rng, ids))
        blocks = blocks_of(deltas, shards=SHARDS, token=1, now_hour=NOW_HOUR)
        rows = [len(decode_blocks(block, list(CELLS))[0]) if block else 0 for block in blocks]
        of_shard = [len(mine) for mine in split_ids(ids.tolist(), shards=SHARDS)]
        yield Folding(number, sum(rows), _busiest(of_shard), _busiest(rows))


def _events(rng: np.random.Generator, ids: Ids) -> pl.DataFrame:
    """Make events of these Tweets in the last two hours. Most are impressions."""
    shares = np.array([40 if name == "impressions" else 3 for name in EVENT_TYPES], float)
    types = rng.choice(len(EVENT_TYPES), len(ids), p=shares / shares.sum())
    columns = {
        "tweet_id": ids,
        "type": pl.Series(EVENT_TYPES).gather(types),
        "hour": NOW_HOUR + rng.integers(0, 2, len(ids)),
        "count": np.ones(len(ids), np.int64),
        "promoted": np.zeros(len(ids), np.bool_),
    }
    return pl.DataFrame(columns, schema_overrides=EVENT_SCHEMA)


@dataclass(frozen=True, slots=True)
class Coalescing:
    """How one writer commits batches that arrive at some rate."""

    events_per_commit: float
    commits_per_s: float
    p50_ms: float
    p99_ms: float


def commit_s(events: float, *, more_ms: float = 0) -> float:
    """Return how long a commit takes: a fixed time, and a time per event."""
    small_ms, large_ms = measured("commit_5k_ms"), measured("commit_50k_ms")
    per_event_ms = (large_ms - small_ms) / 45_000
    return (small_ms - 5_000 * per_event_ms + more_ms + events * per_event_ms) / 1_000


def coalescing(rate: float, size: int, *, more_ms: float = 0, span_s: float = 120) -> Coalescing:
    """Simulate one writer. It takes all batches that wait, up to the product's limit of rows."""
    rng = np.random.default_rng(SEED)
    arrivals = np.cumsum(rng.exponential(size / rate, int(rate * span_s / size)))
    most = ROWS_MAX // size
    now_s, done, commits = 0.0, 0, 0
    waits: list[Shares] = []
    while done < len(arrivals):
        now_s = max(now_s, float(arrivals[done]))
        taken = min(max(1, int(np.searchsorted(arrivals, now_s, "right")) - done), most)
        now_s += commit_s(taken * size, more_ms=more_ms)
        waits.append(now_s - arrivals[done : done + taken])
        done, commits = done + taken, commits + 1
    p50_s, p99_s = np.percentile(np.concatenate(waits), [50, 99])
    return Coalescing(
        done * size / commits, commits / now_s, float(p50_s) * 1_000, float(p99_s) * 1_000
    )
