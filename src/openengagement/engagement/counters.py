"""Counters as sorted arrays: how rows become them, how several become one, how they are looked up.

A *cell* names a counter within a Tweet: its hour bucket and its engagement type in one number, so
that the cells of a Tweet sort by hour. Everything works on whole columns.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
AnyInts = npt.NDArray[np.integer]
# No counter gets further from zero than this: sums of two still fit 64 bits.
COUNTER_MAX: Final = 2**62
TYPE_BITS: Final = 5  # room for 32 types
TYPE_MASK: Final = (1 << TYPE_BITS) - 1
_CELL_BITS: Final = 32
_CELL_MASK: Final = (1 << _CELL_BITS) - 1
HOUR_MAX: Final = _CELL_MASK >> TYPE_BITS
# Rows summed at once: what fits the processor's caches is summed several times as fast.
_PART_ROWS: Final = 125_000


class Counters(NamedTuple):
    """Counts by Tweet and cell; none is zero.

    `ids` are the Tweets, sorted, each once. The cells of Tweet `i` are `cells[starts[i]:starts[i +
    1]]`, sorted, each once, and `counts` runs beside them.
    """

    ids: Ints
    starts: AnyInts
    cells: AnyInts
    counts: AnyInts

    @property
    def rows(self) -> int:
        """How many counters there are."""
        return len(self.cells)

    @property
    def peak(self) -> int:
        """The count that is furthest from zero, without its sign."""
        return peak_of(self.counts)

    @property
    def reach(self) -> int:
        """A bound: no counter, and no total of a Tweet, is further from zero.

        A coarse one: the largest count times the most counters of one Tweet.
        """
        return self.peak * int(np.diff(self.starts).max(initial=0))

    def between(self, low: int, high: int) -> "Counters":
        """The Tweets from index `low` up to `high`; nothing is copied but the starts."""
        first, last = int(self.starts[low]), int(self.starts[high])
        return Counters(
            self.ids[low:high],
            self.starts[low : high + 1] - first,
            self.cells[first:last],
            self.counts[first:last],
        )

    def where(self, kept: npt.NDArray[np.bool_]) -> "Counters":
        """Those of the rows for which `kept` is true."""
        if kept.all():
            return self
        ranks = _ranks(self)[kept]
        return _pack(self.ids, ranks, cells=self.cells[kept], counts=self.counts[kept])

    def since(self, hour: int) -> "Counters":
        """The counters of this hour bucket and later ones."""
        return self.where(self.cells >= first_cell(hour))


def peak_of(counts: AnyInts) -> int:
    """How far from zero the furthest of these is; 0 where there are none."""
    return max(-int(counts.min(initial=0)), int(counts.max(initial=0)))


def no_counters() -> Counters:
    """Counters of no Tweet."""
    empty = np.zeros(0, np.int64)
    return Counters(empty, np.zeros(1, np.int64), empty, empty)


def cells_of(hours: AnyInts, types: AnyInts) -> Ints:
    """Cells of hour buckets, from 0 to HOUR_MAX, and type numbers.

    Raises:
        ValueError: an hour has no cell.
    """
    cells: Ints = (hours.astype(np.int64) << TYPE_BITS) | types
    if len(cells) and not 0 <= int(cells.min()) <= int(cells.max()) <= _CELL_MASK:
        raise ValueError(f"an hour bucket is not from 0 to {HOUR_MAX}")
    return cells


def first_cell(hour: int) -> int:
    """The lowest cell of an hour bucket."""
    return hour << TYPE_BITS


def sum_rows(ids: Ints, cells: Ints, *, counts: Ints) -> Counters:
    """Add up rows in any order."""
    if not len(ids):
        return no_counters()
    by_id = np.argsort(ids)
    ids = ids[by_id]
    fresh = _firsts(ids)
    keys = ((np.cumsum(fresh) - 1) << _CELL_BITS) | cells[by_id]
    if counts.min() == counts.max():  # as most events count one: no need to know whose is whose
        keys.sort()
    else:
        order = np.argsort(keys)
        keys, counts = keys[order], counts[by_id][order]
    return _sum_keys(ids[fresh], keys, counts=counts)


def merge(parts: Sequence[Counters]) -> Counters:
    """Add up counters, some Tweets at a time."""
    parts = [part for part in parts if part.rows]
    if len(parts) < 2:  # noqa: PLR2004
        return parts[0] if parts else no_counters()
    return _concatenate([merge_at_once(some) for some in cut(parts)])


def cut(parts: Sequence[Counters]) -> Iterator[list[Counters]]:
    """All parts, cut at the same Tweets: a manageable number of rows at a time, in order.

    A piece has more only by what single Tweets hold, wherever the Tweets of one part lie among
    those of another. DataFolder are looked into as they are cut, not all at once beforehand.
    """
    lows = [0] * len(parts)
    while any(low < len(part.ids) for part, low in zip(parts, lows, strict=True)):
        highs = _end_of_piece(parts, lows)
        yield [part.between(low, high) for part, low, high in zip(parts, lows, highs, strict=True)]
        lows = highs


def _end_of_piece(parts: Sequence[Counters], lows: Sequence[int]) -> list[int]:
    """Up to which Tweet of each part the piece goes that begins at these."""
    begun = list(zip(parts, lows, strict=True))
    rows = [part.rows - int(part.starts[low]) for part, low in begun]
    if sum(rows) <= _PART_ROWS:
        return [len(part.ids) for part in parts]
    starts = [part.starts[low : low + _PART_ROWS + 1] for part, low in begun]
    ids = [part.ids[low : low + _PART_ROWS] for part, low in begun]
    step = -(-_PART_ROWS // len(parts))
    lasts: list[int] = []  # Tweets that the piece may end with
    for some_starts, some_ids, left in zip(starts, ids, rows, strict=True):
        marks = some_starts[0] + np.arange(step, min(left, _PART_ROWS) + 1, step)
        # The last Tweet that ends before the mark, or the first of all: a piece is never empty.
        at = np.maximum(np.searchsorted(some_starts, marks, side="right") - 2, 0)
        lasts += some_ids[at].tolist()
    lasts.sort()

    def ends(last: int) -> list[int]:
        return [int(np.searchsorted(some, last, side="right")) for some in ids]

    def rows_to(last: int) -> int:
        reached = zip(starts, ends(last), strict=True)
        return sum(int(some[end]) - int(some[0]) for some, end in reached)

    best = max(bisect_right(lasts, _PART_ROWS, key=rows_to) - 1, 0)
    return [low + end for low, end in zip(lows, ends(lasts[best]), strict=True)]


def merge_at_once(parts: Sequence[Counters]) -> Counters:
    """Add up counters; quick for as many rows as `cut` gives at a time."""
    parts = [part for part in parts if part.rows]
    if not parts:
        return no_counters()
    # A stable sort finds the runs that are in order, as each part is by itself, and merges them.
    ids = np.concatenate([part.ids for part in parts])
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    firsts = _firsts(ids)
    ranks = np.empty_like(ids)
    ranks[order] = np.cumsum(firsts) - 1
    sizes = np.concatenate([np.diff(part.starts) for part in parts])
    keys = np.repeat(ranks << _CELL_BITS, sizes) | np.concatenate([part.cells for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    return _sort_and_sum(ids[firsts], keys, counts=counts)


def fold_cells(counters: Counters, *folds: tuple[npt.NDArray[np.bool_], AnyInts]) -> Counters:
    """Rows under other cells, added up: of each fold those that it marks, under its cells.

    Quickest where the cells of a fold keep the order of the rows.
    """
    ranks = _ranks(counters) << _CELL_BITS
    keys = np.concatenate([(ranks | cells)[marked] for marked, cells in folds])
    if not len(keys):
        return no_counters()
    counts = np.concatenate([counters.counts[marked] for marked, _ in folds])
    return _sort_and_sum(counters.ids, keys, counts=counts)


def to_totals(counters: Counters) -> Counters:
    """All hours of each Tweet together: the cells that are left are type numbers."""
    if not counters.rows:
        return no_counters()
    keys = (_ranks(counters) << _CELL_BITS) | (counters.cells & TYPE_MASK)
    return _sort_and_sum(counters.ids, keys, counts=counters.counts)


def add_totals(sums: Ints, part: Counters, *, tweet_ids: Ints) -> None:
    """Add to `sums`, `[tweet, type number]`, what a part holds of these Tweets, all hours."""
    rows, where = _find(part, tweet_ids)
    places = rows * sums.shape[1] + (part.cells[where] & TYPE_MASK)
    np.add.at(sums.reshape(-1), places, part.counts[where].astype(np.int64))


def add_hours(sums: Ints, part: Counters, *, tweet_ids: Ints, start_hour: int) -> None:
    """Add to `sums`, `[tweet, hour, type number]`, what a part holds from `start_hour` on."""
    rows, where = _find(part, tweet_ids)
    cells = part.cells[where].astype(np.int64) - (start_hour << TYPE_BITS)
    inside = (cells >= 0) & (cells < sums.shape[1] << TYPE_BITS)
    rows, where, cells = rows[inside], where[inside], cells[inside]
    # Tweets are different and so are the cells of each: no place is met twice.
    sums[rows, cells >> TYPE_BITS, cells & TYPE_MASK] += part.counts[where]


def _find(part: Counters, tweet_ids: Ints) -> tuple[Ints, Ints]:
    """Of every row about one of these Tweets: the Tweet's place among them, and the row's index."""
    if not len(part.ids):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    at = np.searchsorted(part.ids, tweet_ids)
    at[at == len(part.ids)] = 0
    found = np.flatnonzero(part.ids[at] == tweet_ids)
    first = part.starts[at[found]].astype(np.int64)
    sizes = part.starts[at[found] + 1] - first
    ends = np.cumsum(sizes)
    where = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - ends + sizes, sizes)
    return np.repeat(found, sizes), where


def _ranks(counters: Counters) -> Ints:
    """Of each row the index of its Tweet."""
    return np.repeat(np.arange(len(counters.ids)), np.diff(counters.starts))


def _firsts(column: Ints) -> npt.NDArray[np.bool_]:
    """Where another value begins; equal ones stand side by side."""
    return np.concatenate([[True], column[1:] != column[:-1]])


def _sort_and_sum(ids: Ints, keys: Ints, *, counts: AnyInts) -> Counters:
    """Add up rows whose keys lie in some runs that are in order."""
    order = np.argsort(keys, kind="stable")
    return _sum_keys(ids, keys[order], counts=counts.astype(np.int64)[order])


def _sum_keys(ids: Ints, keys: Ints, *, counts: Ints) -> Counters:
    """Add up rows in order of their keys: the index of the Tweet above the cell."""
    first = np.flatnonzero(_firsts(keys))
    if len(first) < len(keys):
        # Differences of running sums: right also where those wrap around.
        before = np.cumsum(counts)[first[1:] - 1]
        keys, counts = keys[first], np.diff(before, prepend=0, append=counts.sum())
    return _pack(ids, keys >> _CELL_BITS, cells=keys & _CELL_MASK, counts=counts)


def _pack(ids: Ints, ranks: Ints, *, cells: AnyInts, counts: AnyInts) -> Counters:
    """Rows in order, as counters of the Tweets that have any; zeros are left out."""
    if not counts.all():
        kept = counts != 0
        ranks, cells, counts = ranks[kept], cells[kept], counts[kept]
    sizes = np.bincount(ranks, minlength=len(ids))
    if not sizes.all():
        ids, sizes = ids[sizes > 0], sizes[sizes > 0]
    return Counters(ids, np.concatenate([[0], np.cumsum(sizes)]), cells, counts)


def _concatenate(parts: Sequence[Counters]) -> Counters:
    """Counters of Tweets that follow each other."""
    offsets = np.cumsum([0, *(part.rows for part in parts)])
    starts = [part.starts[:-1] + offset for part, offset in zip(parts, offsets, strict=False)]
    return Counters(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([*starts, offsets[-1:]]),
        np.concatenate([part.cells for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )
