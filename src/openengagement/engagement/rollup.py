"""Events -> deltas: what a batch adds to each counter (design, "The way of a batch of events").

Columns in, columns out. The rules: a promoted impression does not count (impressions are organic);
`engagements` takes every event but impressions, media views and video views, promoted or not; a
negative count undoes its own metric and takes nothing back from `engagements`.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from openengagement.engagement.types import BY_NAME, EVENT_TYPES, OTHER_ENGAGEMENTS, TYPE_NAMES

COUNTER_MAX: Final = 2**63 - 1
# One row an event, checked: what `ingest.intake` produces and `fold_events` takes.
EVENT_SCHEMA: Final = pl.Schema(
    [
        ("tweet_id", pl.Int64()),
        ("type", pl.String()),
        ("hour", pl.Int32()),
        ("count", pl.Int64()),
        ("promoted", pl.Boolean()),
    ]
)
_NOT_ROLLED_UP: Final = [
    name for name in EVENT_TYPES if name != OTHER_ENGAGEMENTS and not BY_NAME[name].rolls_up
]


def fold_events(events: pl.DataFrame) -> pl.DataFrame:
    """Deltas of a batch: one row per (tweet_id, hour), one Int64 column per type that occurs.

    `events` has the columns of EVENT_SCHEMA. Columns come in the order of TYPE_NAMES.
    """
    occurring = set(events.get_column("type").unique().to_list())
    count = pl.col("count")
    columns = {
        name: pl.when(pl.col("type") == name).then(count).otherwise(0)
        for name in EVENT_TYPES
        if name in occurring and name != OTHER_ENGAGEMENTS
    }
    if "impressions" in columns:
        organic = (pl.col("type") == "impressions") & ~pl.col("promoted")
        columns["impressions"] = pl.when(organic).then(count).otherwise(0)
    if occurring - set(_NOT_ROLLED_UP):
        interaction = ~pl.col("type").is_in(_NOT_ROLLED_UP) & (count > 0)
        columns["engagements"] = pl.when(interaction).then(count).otherwise(0)
    names = [name for name in TYPE_NAMES if name in columns]
    return sum_deltas(events.lazy().with_columns(**columns).select("tweet_id", "hour", *names))


def sum_deltas(deltas: pl.LazyFrame, keys: Sequence[str] = ("tweet_id", "hour")) -> pl.DataFrame:
    """Add up deltas of the same `keys`, and leave out rows that change nothing.

    Sorted by the keys, so that a store with a tree touches each page once. Every sum must fit 63
    bits: `fits` tells for deltas of unknown origin.
    """
    summed = deltas.group_by(keys).agg(pl.all().sum())
    changes = pl.any_horizontal(pl.exclude(keys) != 0)
    return summed.filter(changes).sort(keys).collect()


def fits(deltas: Sequence[pl.DataFrame]) -> bool:
    """Whether no sum over these deltas can need more than 63 bits, whichever rows meet."""
    rows = sum(frame.height for frame in deltas)
    peak = max((_peak(frame) for frame in deltas), default=0)
    return peak * rows <= COUNTER_MAX


def _peak(deltas: pl.DataFrame) -> int:
    """The largest count in either direction."""
    counts = deltas.select(pl.exclude("tweet_id", "hour"))
    if counts.is_empty():
        return 0
    highest: tuple[int, ...] = counts.max().row(0)
    lowest: tuple[int, ...] = counts.min().row(0)
    return max(*highest, *(-low for low in lowest), 0)
