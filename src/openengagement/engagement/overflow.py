"""Verify that counters can hold further deltas, and that no sum of them wraps around."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from openengagement.engagement.counters import (
    CELL_BITS,
    CELL_MASK,
    COUNTER_MAX,
    TYPE_MASK,
    Counters,
    Ints,
    find_rows,
    merge,
)

# Magnitudes are added up as floats, so the limit is lower than 2^63 by more than their error.
_SUM_MAX: Final = 2.0**63 * (1 - 2.0**-30)


def merge_verified(deltas: Sequence[Counters]) -> Counters:
    """Add up the deltas of several batches.

    Raises:
        OverflowError: a sum would be too large.
    """
    # Verify before adding them up, because the sum must not wrap around.
    if sum(each.total_bound for each in deltas) > COUNTER_MAX:
        verify_room(deltas, hours=(), totals=())
    return merge(deltas)


def verify_room(
    deltas: Sequence[Counters], *, hours: Iterable[Counters], totals: Iterable[Counters]
) -> None:
    """Verify that every counter and every total can hold the sum of these deltas.

    `hours` and `totals` are the counters so far, which add up to the hourly counters and to the
    totals. In each sum, the positive counts together must stay below 2^63, and so must the
    magnitudes of the negative ones. Then no partial sum wraps around, whatever the order.

    Raises:
        OverflowError: a counter or total, or a partial sum, would be too large.
    """
    for parts, mask in ((hours, CELL_MASK), (totals, TYPE_MASK)):
        if _overflows(deltas, parts, mask=mask):
            raise OverflowError("a counter cannot hold the deltas of this commit")


def verify_sum(counts: npt.NDArray[np.integer]) -> None:
    """Verify that any of these counts can be added up in 64 bits.

    Raises:
        OverflowError: their magnitudes add up to 2^63 or more.
    """
    if np.abs(counts.astype(np.float64)).sum() > _SUM_MAX:
        raise OverflowError("a sum would be too large")


def _overflows(deltas: Sequence[Counters], parts: Iterable[Counters], *, mask: int) -> bool:
    ids = np.unique(np.concatenate([part.ids for part in deltas]))
    keys = np.unique(np.concatenate([_keys(part, ids, mask=mask)[0] for part in deltas]))
    if not len(keys):
        return False
    sums = np.zeros(len(keys), np.int64)
    magnitudes = np.zeros((2, len(keys)), np.float64)  # of positive and of negative counts
    for part in (*deltas, *parts):
        found, rows = _keys(part, ids, mask=mask)
        places = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
        asked = keys[places] == found
        counts = part.counts[rows[asked]].astype(np.int64)
        np.add.at(sums, places[asked], counts)
        signed = (counts < 0).astype(np.int64), places[asked]
        np.add.at(magnitudes, signed, np.abs(counts.astype(np.float64)))
    return bool(magnitudes.max() > _SUM_MAX or np.abs(sums).max() > COUNTER_MAX)


def _keys(part: Counters, ids: Ints, *, mask: int) -> tuple[Ints, Ints]:
    """Return the keys of the rows of these Tweets, and the indexes of the rows.

    A key has the Tweet's index in `ids` in its upper bits, and below it the cell's bits in `mask`.
    """
    tweets, rows = find_rows(part, ids)
    return (tweets << CELL_BITS) | (part.cells[rows].astype(np.int64) & mask), rows
