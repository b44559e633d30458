"""Events -> deltas: what a batch adds to each counter (docs/architecture.md).

Columns in, sorted arrays out. The rules: a promoted impression does not count (impressions are
organic); `engagements` takes every event but impressions, media views and video views, promoted or
not; a negative count undoes its own metric and takes nothing back from `engagements`.
"""

from typing import Final

import numpy as np
import polars as pl

from openengagement.engagement.counters import (
    TYPE_MASK,
    Counters,
    cells_of,
    fold_cells,
    merge,
    sum_rows,
)
from openengagement.engagement.types import BY_NAME, EVENT_TYPES, OTHER_ENGAGEMENTS, TYPE_NAMES

# One row an event, checked: what `ingest.intake` produces and `fold_events` takes.
EVENT_SCHEMA: Final = pl.Schema(
    [
        ("tweet_id", pl.Int64()),
        ("type", pl.Enum(EVENT_TYPES)),
        ("hour", pl.Int32()),
        ("count", pl.Int64()),
        ("promoted", pl.Boolean()),
    ]
)
_IMPRESSIONS: Final = TYPE_NAMES.index("impressions")
_ENGAGEMENTS: Final = TYPE_NAMES.index("engagements")
_OTHER: Final = TYPE_MASK  # a number that is no counter's: these only roll up
# By an event type's place in EVENT_TYPES: its number.
_NUMBERS: Final = np.array(
    [_OTHER if name == OTHER_ENGAGEMENTS else TYPE_NAMES.index(name) for name in EVENT_TYPES]
)
# By number: whether events of the type are engagements.
_ROLLS_UP: Final = np.zeros(TYPE_MASK + 1, np.bool_)
_ROLLS_UP[[TYPE_NAMES.index(name) for name in BY_NAME if BY_NAME[name].rolls_up]] = True
_ROLLS_UP[_OTHER] = True


def fold_events(events: pl.DataFrame) -> Counters:
    """Deltas of a batch. `events` has the columns of EVENT_SCHEMA, without nulls."""
    types = _NUMBERS[events.get_column("type").to_physical().to_numpy()]
    counts = events.get_column("count").to_numpy()
    ids = events.get_column("tweet_id").to_numpy()
    cells = cells_of(events.get_column("hour").to_numpy(), types)
    promoted = events.get_column("promoted")
    if counts.min(initial=1) > 0 and not promoted.any():
        return _roll_up(sum_rows(ids, cells, counts=counts))
    shown = ~(promoted.to_numpy() & (types == _IMPRESSIONS))
    done, undone = shown & (counts > 0), shown & (counts < 0) & (types != _OTHER)
    return merge(
        [
            _roll_up(sum_rows(ids[done], cells[done], counts=counts[done])),
            sum_rows(ids[undone], cells[undone], counts=counts[undone]),
        ]
    )


def _roll_up(counted: Counters) -> Counters:
    """Counters of positive counts, with the engagements among them."""
    types = counted.cells & TYPE_MASK
    engagements = counted.cells & ~TYPE_MASK | _ENGAGEMENTS
    return fold_cells(counted, (types != _OTHER, counted.cells), (_ROLLS_UP[types], engagements))
