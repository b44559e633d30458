"""Counters as sorted arrays: build them from rows, merge them, and look Tweets up in them.

A *cell* identifies a counter within a Tweet. It holds the hour bucket and the engagement type in
one number, so the cells of a Tweet sort by hour. Every function works on whole columns.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
AnyInts = npt.NDArray[np.integer]
# The largest magnitude of a counter. The sum of two such counters still fits 64 bits.
COUNTER_MAX: Final = 2**62
TYPE_BITS: Final = 5  # room for 32 types
TYPE_MASK: Final = (1 << TYPE_BITS) - 1
CELL_BITS: Final = 32
CELL_MASK: Final = (1 << CELL_BITS) - 1
HOUR_MAX: Final = CELL_MASK >> TYPE_BITS
# Rows to add up at once. Rows that fit the processor's caches are added up several times as fast.
_PART_ROWS: Final = 125_000


class Verifier(Protocol):
    """Verifies stored counters before they are used. Each method raises if they are damaged."""

    pending: bool  # whether anything has not been verified yet

    def prepare_search(self) -> None:
        """Make sure that all ids can be read: a search may use any of them."""

    def prepare_starts(self, low: int, high: int) -> None:
        """Make sure that `starts[low:high]` can be read."""

    def verify(self, indexes: Ints) -> None:
        """Verify the Tweets at these indexes, and the id before each of them."""

    def verify_range(self, low: int, high: int) -> None:
        """Verify the Tweets with index `low` <= index < `high`. Make sure that they can be read."""


@dataclass(frozen=True, slots=True, eq=False)
class Counters:
    """Counts by Tweet and cell. No count is zero.

    `ids` holds the Tweet ids, sorted and unique. The cells of Tweet `ids[i]` are
    `cells[starts[i]:starts[i + 1]]`, sorted and unique. `counts[j]` is the count of `cells[j]`.

    A negative id is a video: see `engagement.videos`. Counters that are read in place from a disk
    have a `verifier`.
    """

    ids: Ints
    starts: AnyInts
    cells: AnyInts
    counts: AnyInts
    verifier: Verifier | None = None

    @property
    def rows(self) -> int:
        """The number of counters."""
        return len(self.cells)

    @property
    def max_magnitude(self) -> int:
        """The largest absolute value of a count, 0 if there are no counters."""
        return max_magnitude_of(self.counts)

    @property
    def total_bound(self) -> int:
        """An upper bound on the absolute value of every counter and of every Tweet's totals.

        The bound is coarse: the largest count times the largest number of counters of a Tweet.
        """
        return self.max_magnitude * int(np.diff(self.starts).max(initial=0))

    def between(self, low: int, high: int) -> "Counters":
        """Select the Tweets with index `low` <= index < `high`. Only `starts` is copied."""
        if self.verifier is not None:
            self.verifier.verify_range(low, high)
        first, last = int(self.starts[low]), int(self.starts[high])
        return Counters(
            self.ids[low:high],
            self.starts[low : high + 1] - first,
            self.cells[first:last],
            self.counts[first:last],
        )

    def where(self, kept: npt.NDArray[np.bool_]) -> "Counters":
        """Select the rows for which `kept` is true."""
        if kept.all():
            return self
        ranks = _ranks(self)[kept]
        return _pack(self.ids, ranks, cells=self.cells[kept], counts=self.counts[kept])

    def since(self, hour: int) -> "Counters":
        """Select the counters of this hour bucket and of later ones."""
        return self.where(self.cells >= first_cell(hour))

    def without(self, ids: Ints) -> "Counters":
        """Select the counters of all Tweets but these."""
        kept = ~np.isin(self.ids, ids)
        return self if kept.all() else self.where(np.repeat(kept, np.diff(self.starts)))


def max_magnitude_of(counts: AnyInts) -> int:
    """Return the largest absolute value of these counts, 0 if there are none."""
    return max(-int(counts.min(initial=0)), int(counts.max(initial=0)))


def no_counters() -> Counters:
    """Return counters without any Tweet."""
    empty = np.zeros(0, np.int64)
    return Counters(empty, np.zeros(1, np.int64), empty, empty)


def cells_of(hours: AnyInts, types: AnyInts) -> Ints:
    """Combine hour buckets, from 0 to HOUR_MAX, and type numbers into cells.

    Raises:
        ValueError: an hour bucket is out of range.
    """
    cells: Ints = (hours.astype(np.int64) << TYPE_BITS) | types
    if len(cells) and not 0 <= int(cells.min()) <= int(cells.max()) <= CELL_MASK:
        raise ValueError(f"an hour bucket is not from 0 to {HOUR_MAX}")
    return cells


def first_cell(hour: int) -> int:
    """Return the lowest cell of an hour bucket."""
    return hour << TYPE_BITS


def sum_rows(ids: Ints, cells: Ints, *, counts: Ints) -> Counters:
    """Make counters of rows in any order. Add up rows that are equal in id and cell."""
    if not len(ids):
        return no_counters()
    by_id = np.argsort(ids)
    ids = ids[by_id]
    firsts = _firsts(ids)
    keys = ((np.cumsum(firsts) - 1) << CELL_BITS) | cells[by_id]
    # Most events count one. Equal counts need no reordering with their keys.
    if counts.min() == counts.max():
        keys.sort()
    else:
        order = np.argsort(keys)
        keys, counts = keys[order], counts[by_id][order]
    return _sum_keys(ids[firsts], keys, counts=counts)


def merge(parts: Sequence[Counters]) -> Counters:
    """Add up counters, a bounded number of rows at a time."""
    parts = [part for part in parts if part.rows]
    if len(parts) < 2:  # noqa: PLR2004
        return parts[0] if parts else no_counters()
    return _concatenate([merge_at_once(piece) for piece in cut(parts)])


def cut(
    parts: Sequence[Counters], *, starts: Sequence[int] | None = None
) -> Iterator[list[Counters]]:
    """Cut all parts at the same Tweets into pieces of about `_PART_ROWS` rows, in order.

    No Tweet is cut in two, so a Tweet with many counters can make its piece larger. The parts are
    read piece by piece, so mapped files need not fit in memory. `starts` holds the index of the
    first Tweet of each part, by default 0.
    """
    lows = list(starts or [0] * len(parts))
    while any(low < len(part.ids) for part, low in zip(parts, lows, strict=True)):
        highs = _end_of_piece(parts, lows)
        yield [part.between(low, high) for part, low, high in zip(parts, lows, highs, strict=True)]
        lows = highs


def _end_of_piece(parts: Sequence[Counters], lows: Sequence[int]) -> list[int]:
    """Find the index in each part where the piece that starts at `lows` ends."""
    begun = list(zip(parts, lows, strict=True))
    for part, low in begun:
        if part.verifier is not None:
            part.verifier.prepare_starts(low, min(low + _PART_ROWS, len(part.ids)) + 1)
    rows = [part.rows - int(part.starts[low]) for part, low in begun]
    if sum(rows) <= _PART_ROWS:
        return [len(part.ids) for part in parts]
    highs = [_end_of_rows(part, low) for part, low in begun]
    starts = [
        part.starts[low : high + 1] for part, low, high in zip(parts, lows, highs, strict=True)
    ]
    ids = [part.ids[low:high] for part, low, high in zip(parts, lows, highs, strict=True)]
    step = -(-_PART_ROWS // len(parts))
    lasts: list[int] = []  # candidates for the last Tweet of the piece
    for part_starts, part_ids, remaining in zip(starts, ids, rows, strict=True):
        marks = part_starts[0] + np.arange(step, min(remaining, _PART_ROWS) + 1, step)
        # The last Tweet that ends before the mark, but at least one Tweet, so no piece is empty.
        indexes = np.maximum(np.searchsorted(part_starts, marks, side="right") - 2, 0)
        lasts += part_ids[indexes].tolist()
    lasts.sort()

    def ends(last: int) -> list[int]:
        return [int(np.searchsorted(part_ids, last, side="right")) for part_ids in ids]

    def rows_to(last: int) -> int:
        pairs = zip(starts, ends(last), strict=True)
        return sum(int(part_starts[end]) - int(part_starts[0]) for part_starts, end in pairs)

    best = max(bisect_right(lasts, _PART_ROWS, key=rows_to) - 1, 0)
    return [low + end for low, end in zip(lows, ends(lasts[best]), strict=True)]


def _end_of_rows(part: Counters, low: int) -> int:
    """Find the index after the Tweet in which the next `_PART_ROWS` rows from `low` on end."""
    starts = part.starts[low : low + _PART_ROWS + 1]
    ahead = int(np.searchsorted(starts, int(part.starts[low]) + _PART_ROWS, side="right"))
    high = min(low + max(ahead, 1), len(part.ids))
    if part.verifier is not None:
        part.verifier.verify_range(low, high)
    return high


def merge_at_once(parts: Sequence[Counters]) -> Counters:
    """Add up counters in one step. Fast for pieces of the size that `cut` makes."""
    parts = [part for part in parts if part.rows]
    if not parts:
        return no_counters()
    # Each part is sorted already. A stable sort detects such runs and merges them.
    ids = np.concatenate([part.ids for part in parts])
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    firsts = _firsts(ids)
    ranks = np.empty_like(ids)
    ranks[order] = np.cumsum(firsts) - 1
    sizes = np.concatenate([np.diff(part.starts) for part in parts])
    keys = np.repeat(ranks << CELL_BITS, sizes) | np.concatenate([part.cells for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    return _sort_and_sum(ids[firsts], keys, counts=counts)


def fold_cells(counters: Counters, *folds: tuple[npt.NDArray[np.bool_], AnyInts]) -> Counters:
    """Move rows to other cells and add them up.

    A fold is (mask, cells): the rows that the mask selects, and the new cell of every row. A row
    that several folds select counts in each of them. Fastest if a fold keeps the rows in order.
    """
    ranks = _ranks(counters) << CELL_BITS
    keys = np.concatenate([(ranks | cells)[mask] for mask, cells in folds])
    if not len(keys):
        return no_counters()
    counts = np.concatenate([counters.counts[mask] for mask, _ in folds])
    return _sort_and_sum(counters.ids, keys, counts=counts)


def to_totals(counters: Counters) -> Counters:
    """Add up all hours of each Tweet. The cells of the result are type numbers (hour 0)."""
    if not counters.rows:
        return no_counters()
    keys = (_ranks(counters) << CELL_BITS) | (counters.cells & TYPE_MASK)
    return _sort_and_sum(counters.ids, keys, counts=counters.counts)


def add_totals(sums: Ints, part: Counters, *, tweet_ids: Ints) -> None:
    """Add the counters of these Tweets, over all hours, to `sums`, `[tweet, type number]`.

    `tweet_ids` may be in any order and may contain an id twice.
    """
    rows, where = find_rows(part, tweet_ids)
    places = rows * sums.shape[1] + (part.cells[where] & TYPE_MASK)
    np.add.at(sums.reshape(-1), places, part.counts[where].astype(np.int64))


def add_hours(sums: Ints, part: Counters, *, tweet_ids: Ints, start_hour: int) -> None:
    """Add the counters of these Tweets to `sums`, `[tweet, hour - start_hour, type number]`.

    Hours outside of `sums` are skipped. `tweet_ids` must be unique.
    """
    rows, where = find_rows(part, tweet_ids)
    cells = part.cells[where].astype(np.int64) - (start_hour << TYPE_BITS)
    inside = (cells >= 0) & (cells < sums.shape[1] << TYPE_BITS)
    rows, where, cells = rows[inside], where[inside], cells[inside]
    # `+=` on an index array would add to a repeated place only once. No place is repeated, because
    # the Tweets are unique, and so are the cells of each Tweet.
    sums[rows, cells >> TYPE_BITS, cells & TYPE_MASK] += part.counts[where]


def find_rows(part: Counters, tweet_ids: Ints) -> tuple[Ints, Ints]:
    """Find the rows of these Tweets: each row's index in `tweet_ids`, and its index in `part`."""
    if not len(part.ids):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if part.verifier is not None and part.verifier.pending:
        part.verifier.prepare_search()
    indexes = part.ids.searchsorted(tweet_ids)
    np.minimum(indexes, len(part.ids) - 1, out=indexes)
    # Verify after the search. A damaged id can mislead it, but then the result is wrong for the
    # ids at and before each index, and these are verified.
    if part.verifier is not None and part.verifier.pending:
        part.verifier.verify(indexes)
    (found,) = (part.ids[indexes] == tweet_ids).nonzero()
    indexes = indexes[found]
    first = part.starts[indexes].astype(np.int64)
    sizes = part.starts[indexes + 1] - first
    ends = sizes.cumsum()
    where = np.arange(ends[-1] if len(ends) else 0) + (first - ends + sizes).repeat(sizes)
    return found.repeat(sizes), where


def _ranks(counters: Counters) -> Ints:
    """Return the index in `ids` of each row's Tweet."""
    return np.repeat(np.arange(len(counters.ids)), np.diff(counters.starts))


def _firsts(column: Ints) -> npt.NDArray[np.bool_]:
    """Mark the first of each run of equal values."""
    return np.concatenate([[True], column[1:] != column[:-1]])


def _sort_and_sum(ids: Ints, keys: Ints, *, counts: AnyInts) -> Counters:
    """Add up rows with equal keys. `keys` consists of a few sorted runs."""
    order = np.argsort(keys, kind="stable")
    return _sum_keys(ids, keys[order], counts=counts.astype(np.int64)[order])


def _sum_keys(ids: Ints, keys: Ints, *, counts: Ints) -> Counters:
    """Add up rows with equal keys. `keys` is sorted; a key is the Tweet's index above the cell."""
    first = np.flatnonzero(_firsts(keys))
    if len(first) < len(keys):
        # Differences of running sums are right even where the running sum wraps around.
        before = np.cumsum(counts)[first[1:] - 1]
        keys, counts = keys[first], np.diff(before, prepend=0, append=counts.sum())
    return _pack(ids, keys >> CELL_BITS, cells=keys & CELL_MASK, counts=counts)


def _pack(ids: Ints, ranks: Ints, *, cells: AnyInts, counts: AnyInts) -> Counters:
    """Build counters from sorted rows, without zeros and without Tweets that have no rows."""
    if not counts.all():
        kept = counts != 0
        ranks, cells, counts = ranks[kept], cells[kept], counts[kept]
    sizes = np.bincount(ranks, minlength=len(ids))
    if not sizes.all():
        ids, sizes = ids[sizes > 0], sizes[sizes > 0]
    return Counters(ids, np.concatenate([[0], np.cumsum(sizes)]), cells, counts)


def _concatenate(parts: Sequence[Counters]) -> Counters:
    """Join counters. The Tweets of each part come after those of the part before."""
    offsets = np.cumsum([0, *(part.rows for part in parts)])
    starts = [part.starts[:-1] + offset for part, offset in zip(parts, offsets, strict=False)]
    return Counters(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([*starts, offsets[-1:]]),
        np.concatenate([part.cells for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )
