"""A plain count of the events, compared with the counts in a data folder."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from stream import NOT_ENGAGEMENTS

from openengagement.clock import SystemClock
from openengagement.data_folder import open_data_folder
from openengagement.engagement.types import EVENT_TYPES, HOUR_S, OTHER_ENGAGEMENTS, TYPE_NAMES
from openengagement.settings import Settings

READ_AT_ONCE = 20_000
HOURS_OF = 200  # Tweets whose hours are compared with their totals
HOURS_BACK = 31 * 24
COUNTED = {"tweet_id": pl.Int64, "type": pl.Enum(EVENT_TYPES), "count": pl.Int64}


def count(paths: Sequence[Path], lines: int | None = None) -> pl.DataFrame:
    """Count events by `tweet_id` and `type` in NDJSON files, or in their first lines together.

    The rules are the product's: a promoted impression does not count. Counts must not be negative.
    """
    rows = pl.scan_ndjson(paths)
    columns = rows.collect_schema().names()
    if lines is not None:
        rows = rows.head(lines)
    if "promoted" in columns:
        paid = pl.col("promoted").fill_null(value=False) & (pl.col("type") == "impressions")
        rows = rows.filter(~paid)
    amount = pl.col("count").sum() if "count" in columns else pl.len()
    counted = rows.group_by("tweet_id", "type").agg(count=amount)
    return counted.collect(engine="streaming").cast(COUNTED)


def add(*counted: pl.DataFrame) -> pl.DataFrame:
    """Add up several counts."""
    return pl.concat(counted).group_by("tweet_id", "type").agg(pl.col("count").sum())


def line_count(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 24), b""))


def check(data: Path, counted: pl.DataFrame) -> None:
    """Compare every counter of every Tweet that had an event, and the hours of some.

    Raises:
        RuntimeError: the folder holds anything else.
    """
    expected = _expected(counted)
    ids, wanted = expected["tweet_id"].to_numpy(), expected.drop("tweet_id").to_numpy()
    parts = open_data_folder(data, Settings(), clock=SystemClock())
    try:
        for index in range(0, len(ids), READ_AT_ONCE):
            part = slice(index, index + READ_AT_ONCE)
            found = parts.stores.counters.read_totals(ids[part].tolist(), TYPE_NAMES)
            _same(found, wanted[part], "totals")
        some = np.random.default_rng(1).choice(len(ids), min(HOURS_OF, len(ids)), replace=False)
        end = int(time.time()) // HOUR_S + 1
        hours = parts.stores.counters.read_buckets(
            ids[some].tolist(), TYPE_NAMES, start_hour=end - HOURS_BACK, end_hour=end
        )
        _same(hours.sum(axis=2), wanted[some], "hours")
    finally:
        parts.close()


def _expected(counted: pl.DataFrame) -> pl.DataFrame:
    """Build `tweet_id` and a column per type of TYPE_NAMES, with `engagements` for counts >= 0."""
    wide = counted.pivot("type", index="tweet_id", values="count").fill_null(0)
    none = [pl.lit(0).alias(name) for name in EVENT_TYPES if name not in wide.columns]
    wide = wide.with_columns(none)
    engaged = [name for name in EVENT_TYPES if name not in NOT_ENGAGEMENTS]
    wide = wide.with_columns(engagements=pl.sum_horizontal(engaged)).drop(OTHER_ENGAGEMENTS)
    return wide.select("tweet_id", *TYPE_NAMES)


def _same(found: np.ndarray, wanted: np.ndarray, what: str) -> None:
    if not np.array_equal(found, wanted):
        wrong = int((found != wanted).sum())
        raise RuntimeError(f"{what}: {wrong} counters differ; {found.sum()}, not {wanted.sum()}")
