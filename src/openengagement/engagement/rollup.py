"""Fold the events of a batch into deltas: what the batch adds to each counter.

The rules (api.md 6.1):

* A promoted impression does not count: impressions are organic.
* Every event, promoted or not, also counts as an engagement, except impressions, media views and
  video views.
* A negative count reduces its own metric only, not `engagements`.
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
from openengagement.engagement.types import (
    ENGAGEMENT_TYPES,
    EVENT_TYPES,
    OTHER_ENGAGEMENTS,
    TYPE_NAMES,
)

# One row per valid event: the result of parsing, and the argument of `fold_events`.
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
_OTHER: Final = TYPE_MASK  # `other_engagements` have no counter of their own, only `engagements`
# The type number of each type in EVENT_TYPES.
_NUMBERS: Final = np.array(
    [_OTHER if name == OTHER_ENGAGEMENTS else TYPE_NAMES.index(name) for name in EVENT_TYPES]
)
# For each type number: whether its events also count as engagements.
_ROLLS_UP: Final = np.zeros(TYPE_MASK + 1, np.bool_)
_ROLLS_UP[: len(ENGAGEMENT_TYPES)] = [metric.rolls_up for metric in ENGAGEMENT_TYPES]
_ROLLS_UP[_OTHER] = True


def fold_events(events: pl.DataFrame) -> Counters:
    """Fold events into deltas. `events` has the columns of EVENT_SCHEMA, without nulls."""
    types = _NUMBERS[events.get_column("type").to_physical().to_numpy()]
    counts = events.get_column("count").to_numpy()
    ids = events.get_column("tweet_id").to_numpy()
    cells = cells_of(events.get_column("hour").to_numpy(), types)
    promoted = events.get_column("promoted")
    if counts.min(initial=1) > 0 and not promoted.any():
        return _roll_up(sum_rows(ids, cells, counts=counts))
    counted = ~(promoted.to_numpy() & (types == _IMPRESSIONS))
    done, undone = counted & (counts > 0), counted & (counts < 0) & (types != _OTHER)
    return merge(
        [
            _roll_up(sum_rows(ids[done], cells[done], counts=counts[done])),
            sum_rows(ids[undone], cells[undone], counts=counts[undone]),
        ]
    )


def _roll_up(counted: Counters) -> Counters:
    """Add the engagements to counters with positive counts."""
    types = counted.cells & TYPE_MASK
    engagements = counted.cells & ~TYPE_MASK | _ENGAGEMENTS
    return fold_cells(counted, (types != _OTHER, counted.cells), (_ROLLS_UP[types], engagements))
