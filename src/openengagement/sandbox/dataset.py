"""The data of a sandbox as frames: accounts, their Tweets, and the events on them."""

from dataclasses import dataclass

import polars as pl

from openengagement.engagement.counters import Counters
from openengagement.engagement.rollup import EVENT_SCHEMA, fold_events
from openengagement.engagement.types import HOUR_S

ACCOUNTS_SCHEMA = pl.Schema({"id": pl.Int64, "screen_name": pl.String, "protected": pl.Boolean})
TWEETS_SCHEMA = pl.Schema(
    {"id": pl.Int64, "author_id": pl.Int64, "created_at": pl.Int64, "video_id": pl.String}
)
EVENTS_SCHEMA = pl.Schema(
    {
        "tweet_id": pl.Int64,
        "type": pl.String,
        "at": pl.Int64,
        "count": pl.Int64,
        "promoted": pl.Boolean,
    }
)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Three frames that refer to each other by id; times are Unix seconds.

    The schemas are ACCOUNTS_SCHEMA, TWEETS_SCHEMA (`video_id` may be null) and EVENTS_SCHEMA
    (`type` is an event type of the platform API, `count` is at least 1).
    """

    accounts: pl.DataFrame
    tweets: pl.DataFrame
    events: pl.DataFrame


def fold_dataset(events: pl.DataFrame) -> Counters:
    """Sum the events of a dataset into counters."""
    columns = events.select(
        "tweet_id",
        pl.col("type").cast(EVENT_SCHEMA["type"]),
        pl.col("at").floordiv(HOUR_S).cast(pl.Int32).alias("hour"),
        "count",
        "promoted",
    )
    return fold_events(columns)
