"""Which shard has the counters of a Tweet or a video.

The layout of a cluster depends on it (`tables.VERSION`): a change would leave counters on shards
where nobody looks for them.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from openengagement.engagement.counters import Ints

_SALT: Final = np.uint64(0x4CF2D2BAAE6DA887)
_FACTORS: Final = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT: Final = np.uint64(33)


def shards_of(ids: Ints, *, shards: int) -> npt.NDArray[np.uint16]:
    """Return the shard of each id, counted from 0.

    It is `intHash64(id) % shards` in ClickHouse. The lowest bits of snowflake ids are nearly always
    0, so a remainder of the id itself would leave most shards without Tweets. `intHash64` is the
    finalizer of MurmurHash3, of the id XOR a constant: each bit of the id changes half of the bits.
    """
    hashed = ids.view(np.uint64) ^ _SALT
    for factor in _FACTORS:
        hashed ^= hashed >> _SHIFT
        hashed *= factor  # wraps around
    hashed ^= hashed >> _SHIFT
    return (hashed % np.uint64(shards)).astype(np.uint16)


def by_shard(of_shard: npt.NDArray[np.uint16], *, shards: int) -> list[npt.NDArray[np.intp]]:
    """Return the indexes at which each shard is named, in order."""
    order = np.argsort(of_shard, kind="stable")  # numpy has a fast sort for 16 bits
    ends = np.cumsum(np.bincount(of_shard, minlength=shards)).tolist()
    return [order[start:end] for start, end in pairwise([0, *ends])]


def split_ids(ids: Sequence[int], *, shards: int) -> list[list[int]]:
    """Return the ids of each shard, in order."""
    given = np.array(ids, np.int64)
    of_shard = shards_of(given, shards=shards)
    return [given[mine].tolist() for mine in by_shard(of_shard, shards=shards)]
