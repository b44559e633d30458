"""Fold batches into one row per counter, as a good client does before it writes counters."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

HOUR_S = 3600


def read_deltas(paths: Sequence[Path], types: Sequence[str]) -> pl.DataFrame:
    """Read the events of files as `tweet_id`, `hour`, `type` (its index in `types`), `count`."""
    schema = {"tweet_id": pl.String, "type": pl.Enum(types), "at": pl.String}
    events = pl.concat([pl.read_ndjson(path, schema=schema) for path in paths]).lazy()
    at = pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="ms")
    columns = events.select(
        tweet_id=pl.col("tweet_id").cast(pl.Int64),
        hour=(at.dt.epoch("s") // HOUR_S).cast(pl.Int32),
        type=pl.col("type").to_physical().cast(pl.Int16),
    )
    folded = columns.group_by("tweet_id", "hour", "type").agg(count=pl.len().cast(pl.Int64))
    return folded.collect()


def by_hour(deltas: pl.DataFrame, types: Sequence[str]) -> pl.DataFrame:
    """Fold into one sorted row per Tweet and hour, with a column for each of `types`."""
    count = pl.col("count")
    columns = {
        name: pl.when(pl.col("type") == index).then(count).otherwise(0).sum()
        for index, name in enumerate(types)
    }
    return (
        deltas.lazy().group_by("tweet_id", "hour").agg(**columns).sort("tweet_id", "hour").collect()
    )
