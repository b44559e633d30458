"""Counters in ClickHouse: blocks to insert, and rows that were read."""

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np

from openengagement.engagement.counters import (
    TYPE_BITS,
    TYPE_MASK,
    Counters,
    Ints,
    to_totals,
)
from openengagement.engagement.types import TYPE_NAMES
from openengagement.stores.cluster.native import decode_blocks, encode_block
from openengagement.stores.cluster.tables import CELLS, MARKER

TYPES: Final = len(TYPE_NAMES)
# Counters that change by less in each commit need millions of commits to pass 64 bits.
_LARGE: Final = 2**40
_SUM_MAX: Final = 2.0**63 * (1 - 2.0**-30)  # for sums of floats, which are not exact


def blocks_of(deltas: Counters, *, shards: int, token: int, now_hour: int) -> list[bytes | None]:
    """Return the block of each shard, None where it has nothing to insert."""
    totals = to_totals(deltas)
    hourly = deltas.where(np.repeat(deltas.ids > 0, np.diff(deltas.starts)))  # videos have none
    ids = np.concatenate([_ids(totals), _ids(hourly)])
    hours = np.concatenate([np.zeros(totals.rows, np.int64), (hourly.cells >> TYPE_BITS) + 1])
    types = np.concatenate([totals.cells & TYPE_MASK, hourly.cells & TYPE_MASK])
    counts = np.concatenate([totals.counts, hourly.counts])
    of_shard = ids % shards
    blocks: list[bytes | None] = []
    for shard in range(shards):
        mine = of_shard == shard
        if not mine.any():
            blocks.append(None)
            continue
        columns = {
            "tweet_id": np.append(ids[mine], -token),
            "type": np.append(types[mine], MARKER),
            "hour": np.append(hours[mine], now_hour),
            "n": np.append(counts[mine], 1),
        }
        blocks.append(encode_block({name: (CELLS[name], columns[name]) for name in CELLS}))
    return blocks


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
        found |= set(_ids(part)[large].tolist())
    return found


def split_ids(ids: Sequence[int], *, shards: int) -> list[list[int]]:
    """Return the ids of each shard."""
    found: list[list[int]] = [[] for _ in range(shards)]
    for each in ids:
        found[each % shards].append(each)
    return found


def add_up(rows: Sequence[Ints], ids: Sequence[int], *, width: int) -> Ints:
    """Add up counts, `[id, place]`. `rows` holds the columns id, place and count.

    Raises:
        OverflowError: a sum does not fit 64 bits.
    """
    row_ids, places, counts = rows
    sums = np.zeros((len(ids), width), np.int64)
    if not len(row_ids):
        return sums
    asked = np.array(ids, np.int64)
    order = np.argsort(asked, kind="stable")
    index = order[np.searchsorted(asked[order], row_ids)]
    where = index * width + places
    # Partial sums may wrap around; a sum that fits is right anyway.
    if np.abs(np.bincount(where, counts.astype(np.float64))).max() > _SUM_MAX:
        raise OverflowError("a counter is too large")
    np.add.at(sums.reshape(-1), where, counts)
    return sums


def _ids(counters: Counters) -> Ints:
    return np.repeat(counters.ids, np.diff(counters.starts))
