"""Counters in ClickHouse: blocks to insert, and rows that were read."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from openengagement.engagement.counters import (
    TYPE_BITS,
    TYPE_MASK,
    Counters,
    Ints,
    to_totals,
)
from openengagement.engagement.types import TYPE_NAMES
from openengagement.stores.cluster.native import decode_blocks, encode_block
from openengagement.stores.cluster.routing import by_shard, shards_of
from openengagement.stores.cluster.tables import CELLS, MARKER

Number = TypeVar("Number", np.int64, np.uint16)
TYPES: Final = len(TYPE_NAMES)
# Counters that change by less in each commit need millions of commits to pass 64 bits.
_LARGE: Final = 2**40
_SUM_MAX: Final = 2.0**63 * (1 - 2.0**-30)  # for sums of floats, which are not exact


def blocks_of(deltas: Counters, *, shards: int, token: int, now_hour: int) -> list[bytes | None]:
    """Return the block of each shard, None where it has nothing to insert."""
    totals = to_totals(deltas)
    hourly = deltas.where(np.repeat(deltas.ids > 0, np.diff(deltas.starts)))  # videos have none
    parts = totals, hourly
    rows = {
        "tweet_id": np.concatenate([_of_rows(each, each.ids) for each in parts]),
        "type": np.concatenate([totals.cells & TYPE_MASK, hourly.cells & TYPE_MASK]),
        "hour": np.concatenate([np.zeros(totals.rows, np.int64), (hourly.cells >> TYPE_BITS) + 1]),
        "n": np.concatenate([totals.counts, hourly.counts]),
    }
    marker = {"tweet_id": -token, "type": MARKER, "hour": now_hour, "n": 1}
    shards_of_parts = [_of_rows(each, shards_of(each.ids, shards=shards)) for each in parts]
    return [
        _block(rows, mine, marker=marker) if len(mine) else None
        for mine in by_shard(np.concatenate(shards_of_parts), shards=shards)
    ]


def _block(rows: Mapping[str, Ints], mine: Ints, *, marker: Mapping[str, int]) -> bytes:
    columns = {name: np.append(rows[name][mine], marker[name]) for name in CELLS}
    return encode_block({name: (CELLS[name], columns[name]) for name in CELLS})


def holds(block: bytes, ids: Collection[int]) -> bool:
    """Whether a block has counters of one of these ids."""
    return len(without(block, ids)) < len(block)


def without(block: bytes, ids: Collection[int]) -> bytes:
    """Return a block without the counters of these ids. It keeps its marker."""
    columns = dict(zip(CELLS, decode_blocks(block, list(CELLS)), strict=True))
    kept = ~np.isin(columns["tweet_id"], list(ids)) | (columns["type"] == MARKER)
    return encode_block({name: (CELLS[name], columns[name][kept]) for name in CELLS})


def large_ids(deltas: Counters) -> set[int]:
    """Return the ids whose counters, or totals, change by so much that they might overflow."""
    if deltas.total_bound < _LARGE:
        return set()
    found: set[int] = set()
    for part in (deltas, to_totals(deltas)):
        large = np.abs(part.counts) >= _LARGE
        found |= set(_of_rows(part, part.ids)[large].tolist())
    return found


def add_up(decode: Callable[[], Iterable[Sequence[Ints]]], *, size: int) -> Ints:
    """Add up counts by their place, which is below `size`.

    `decode` yields blocks: places and counts. It may be called twice. One block after another is in
    memory, because all of them at once would not fit the processor's caches.

    Raises:
        OverflowError: a sum does not fit 64 bits.
    """
    sums, bound = np.zeros(size, np.int64), 0
    for places, counts in decode():
        np.add.at(sums, places, counts)
        bound += _bound(counts)
    # Partial sums may wrap around; a sum that fits is right anyway.
    if bound > _SUM_MAX:
        floats = np.zeros(size)
        for places, counts in decode():
            np.add.at(floats, places, counts.astype(np.float64))
        if np.abs(floats).max() > _SUM_MAX:
            raise OverflowError("a counter is too large")
    return sums


def _bound(counts: Ints) -> int:
    """Return what no sum of some of these counts exceeds."""
    return max(int(counts.max()), -int(counts.min())) * len(counts) if len(counts) else 0


def _of_rows(counters: Counters, of_ids: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Return what each row's Tweet has, from what each id has."""
    return np.repeat(of_ids, np.diff(counters.starts))
