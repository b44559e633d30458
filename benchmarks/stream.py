"""A platform's engagement stream as NDJSON files, and a plain count for all contenders.

A million Tweets, of which 1 % get half of the events; 18 event types, the n-th as frequent as 1/n;
5 % of the events late by 1 to 48 hours. The same seed and start give the same events.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from openengagement.engagement.types import EVENT_TYPES, HOUR_S, snowflake

TWEETS = 1_000_000
HOT_TWEETS = TWEETS // 100
HOT_SHARE = 0.5
LATE_SHARE = 0.05
LATE_HOURS_MAX = 48
BATCH_EVENTS = 250_000  # in a file, which is a batch
BATCH_SPAN_S = 60  # of event time
SEED = 2012
TWEETS_SPAN_S = 28 * 24 * HOUR_S  # over which the Tweets were posted, up to when the stream starts
SAMPLED_TWEETS = 250
# As the docs define them: `engagements` is every event but these.
NOT_ENGAGEMENTS = ("impressions", "media_views", "video_views")
TOTALS_TYPES = (
    "impressions",
    "engagements",
    "favorites",
    "retweets",
    "replies",
    "quote_tweets",
    "video_views",
)


@dataclass(frozen=True, slots=True)
class Counted:
    """The content of the files.

    `types` is the sum of each type, `engagements` included. `tweets` are the TOTALS_TYPES of
    sampled Tweets, half of them hot. `counters` is the number of (Tweet, hour, type) that are not
    zero, with `engagements`, without `other_engagements`.
    """

    events: int
    counters: int
    types: dict[str, int]
    tweets: dict[int, list[int]]


def make(folder: Path, events: int, *, start_s: int | None = None) -> list[Path]:
    """Write `events` events as files of BATCH_EVENTS each, in order.

    `start_s` is the Unix time of the first event; by default the last one was an hour ago.
    """
    rng = np.random.default_rng(SEED)
    batches = -(-events // BATCH_EVENTS)
    if start_s is None:
        start_s = int(time.time()) - HOUR_S - batches * BATCH_SPAN_S
    ids = tweet_ids(start_s)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for batch in range(batches):
        size = min(BATCH_EVENTS, events - batch * BATCH_EVENTS)
        paths.append(folder / f"{batch:05}.ndjson")
        _batch(rng, ids, size=size, from_s=start_s + batch * BATCH_SPAN_S).write_ndjson(paths[-1])
    return paths


def tweet_ids(start_s: int) -> np.ndarray:
    """Return the ids of all Tweets, the hot ones first; posted before `start_s`, in no order."""
    rng = np.random.default_rng(SEED + 1)
    # Posted before the time of the latest late event.
    until_s = start_s - LATE_HOURS_MAX * HOUR_S
    posted_ms = rng.choice(TWEETS_SPAN_S * 1000, TWEETS, replace=False).astype(np.int64)
    # A snowflake's lowest 22 bits are its worker and a sequence number.
    return snowflake(until_s) - (posted_ms << 22) + rng.integers(0, 1 << 22, TWEETS)


def _batch(rng: np.random.Generator, ids: np.ndarray, *, size: int, from_s: int) -> pl.DataFrame:
    hot = rng.random(size) < HOT_SHARE
    tweet = np.where(hot, rng.integers(0, HOT_TWEETS, size), rng.integers(0, TWEETS, size))
    weights = 1 / np.arange(1, len(EVENT_TYPES) + 1)
    types = rng.choice(len(EVENT_TYPES), size, p=weights / weights.sum())
    late = rng.random(size) < LATE_SHARE
    late_s = rng.integers(1, LATE_HOURS_MAX + 1, size) * HOUR_S
    at = from_s + np.sort(rng.integers(0, BATCH_SPAN_S, size)) - np.where(late, late_s, 0)
    return pl.DataFrame({"tweet_id": ids[tweet], "at": at}).select(
        pl.col("tweet_id").cast(pl.String),
        pl.Series("type", EVENT_TYPES).gather(types),
        pl.from_epoch("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def count(paths: Sequence[Path], ids: np.ndarray) -> Counted:
    """Count the files plainly: look at every event, without any code of the product."""
    events = pl.concat([_read(path) for path in paths])
    engagements = events.filter(~pl.col("type").is_in(NOT_ENGAGEMENTS))
    every = pl.concat([events, engagements.with_columns(type=pl.lit("engagements", _TYPE))])
    metrics = every.filter(pl.col("type") != "other_engagements")
    chosen = sample(ids)
    rows = metrics.filter(pl.col("tweet_id").is_in(chosen)).group_by("tweet_id", "type").len()
    known = {(tweet_id, name): number for tweet_id, name, number in rows.iter_rows()}
    return Counted(
        events=events.height,
        counters=metrics.n_unique(["tweet_id", "hour", "type"]),
        types=dict(every.group_by("type").len().iter_rows()),
        tweets={each: [known.get((each, name), 0) for name in TOTALS_TYPES] for each in chosen},
    )


_TYPE = pl.Enum([*EVENT_TYPES, "engagements"])
_SCHEMA = {"tweet_id": pl.String, "type": _TYPE, "at": pl.String}


def _read(path: Path) -> pl.DataFrame:
    """Read the columns `tweet_id`, `type` and `hour` of a file."""
    hour = pl.col("at").str.slice(0, len("2026-11-22T10")).str.replace_all("[-T]", "")
    return pl.read_ndjson(path, schema=_SCHEMA).select(
        pl.col("tweet_id").cast(pl.Int64), "type", hour.cast(pl.Int32).alias("hour")
    )


def sample(ids: np.ndarray) -> list[int]:
    """Choose the Tweets whose totals are compared: half from the hot ones, half from all."""
    rng = np.random.default_rng(SEED + 2)
    half = SAMPLED_TWEETS // 2
    hot = rng.choice(HOT_TWEETS, half, replace=False)
    cold = HOT_TWEETS + rng.choice(TWEETS - HOT_TWEETS, SAMPLED_TWEETS - half, replace=False)
    return ids[np.concatenate([hot, cold])].tolist()
