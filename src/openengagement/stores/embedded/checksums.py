"""Checksums of segments, so that damage on a disk is never served as a number.

The Tweets of a segment file form blocks of about 64 KiB with all their counters. Each of the four
arrays has a CRC-32 for each block. A table in the file lists them. The manifest holds one checksum
of its own row, of the head of the file, and of the tables. For a blob, it covers the whole blob.

A block is verified when it is first used in a process. A bit that flips later, in memory, is not
noticed. Segments of older versions have no checksums. Their blocks are only checked for order and
for the limits that the manifest states.
"""

import errno
import mmap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt
from isal.isal_zlib import crc32

from openengagement.engagement.counters import AnyInts, Ints, max_magnitude_of

_BLOCK_BYTES: Final = 2**16
_BLOCK_TWEETS_MAX: Final = 2**13
UNCHECKED_TWEETS: Final = 2**10  # in a block of a file without checksums
_COLUMNS: Final = 4
# Reads pages, and fails where an access to the memory would end the process: the disk cannot read
# a page, or the file is shorter than its mapping. Linux 5.14; the module `mmap` has no name for it.
_POPULATE_READ: Final = 22
_UNREADABLE: Final = {errno.EFAULT, errno.EIO}

Buffer = bytes | npt.NDArray[Any]
Columns = tuple[Ints, AnyInts, AnyInts, AnyInts]  # ids, starts, cells, counts
Table = npt.NDArray[np.uint32]  # [block, column]
Fail = Callable[[str], NoReturn]


def choose_block_tweets(ids: int, rows: int, *, count_bytes: int) -> int:
    """Choose the number of Tweets in a block, a power of two, for a section of this size."""
    tweet_bytes = 12 + rows * (4 + count_bytes) // max(ids, 1)
    tweets = min(max(_BLOCK_BYTES // tweet_bytes, 1), _BLOCK_TWEETS_MAX)
    return 1 << (tweets.bit_length() - 1)


def checksum_of(pieces: Iterable[Buffer]) -> int:
    """Compute the CRC-32 of pieces of data as if they were one."""
    return reduce(lambda value, piece: crc32(piece, value), pieces, 0)


class BlockChecksums:
    """Computes the table of a section while it is written.

    A block also covers the id before its first Tweet and the start after its last one. So a search
    that ends in a block depends on no other block.
    """

    def __init__(self, block_tweets: int) -> None:
        self._block_tweets = block_tweets
        self._table: list[list[int]] = []
        self._sums = [0] * _COLUMNS  # of the block that is not full yet
        self._tweets = 0  # in that block
        self._end: AnyInts = np.zeros(0, np.uint32)

    def add(self, columns: Columns) -> None:
        """Add the next Tweets, as they are written. `starts` has one more element than `ids`."""
        ids, starts, cells, counts = columns
        first_room = self._block_tweets - self._tweets
        edges = [0, *range(first_room, len(ids), self._block_tweets), len(ids)]
        for low, high in pairwise(edges):
            first, last = int(starts[low] - starts[0]), int(starts[high] - starts[0])
            pieces = (ids[low:high], starts[low:high], cells[first:last], counts[first:last])
            self._sums = [
                crc32(piece, value) for piece, value in zip(pieces, self._sums, strict=True)
            ]
            self._tweets += high - low
            self._end = starts[high : high + 1]
            if self._tweets == self._block_tweets:
                self._close()
                self._sums[0] = crc32(ids[high - 1 : high])

    def finish(self) -> Table:
        """Return the table."""
        if self._tweets:
            self._close()
        return np.array(self._table, np.uint32).reshape(-1, _COLUMNS)

    def _close(self) -> None:
        self._sums[1] = crc32(self._end, self._sums[1])
        self._table.append(self._sums)
        self._sums, self._tweets = [0] * _COLUMNS, 0


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """The number of Tweets in a block, and the checksums; None in a file of an older version."""

    tweets: int
    table: Table | None


class BlockVerifier:
    """Implements `engagement.counters.Verifier` for a section of a segment.

    Without checksums, blocks are checked for order and for counts beyond `max_magnitude`. `fail`
    raises an error with a reason.
    """

    def __init__(
        self,
        columns: Columns,
        data: mmap.mmap | bytes,
        *,
        blocks: Blocks,
        max_magnitude: int,
        fail: Fail,
    ) -> None:
        ids, starts, cells, counts = columns
        self._columns = columns
        self._data = data
        self._shift = max(blocks.tweets.bit_length() - 1, 0)
        self._table = blocks.table
        self._max_magnitude = max_magnitude
        self._fail = fail
        count = -(-len(ids) >> self._shift)
        fits = len(starts) == len(ids) + 1 and len(cells) == len(counts)
        fits = fits and blocks.tweets.bit_count() == 1
        if not fits or (blocks.table is not None and len(blocks.table) != count):
            fail("its arrays do not fit together")
        self._unverified = np.ones(count, np.bool_)
        self.pending = count > 0

    def verify(self, indexes: Ints) -> None:
        blocks = indexes >> self._shift
        new = blocks[self._unverified[blocks]]
        if len(new):
            self._verify_blocks(np.unique(new).tolist())

    def verify_range(self, low: int, high: int) -> None:
        if self.pending and low < high:
            first = low >> self._shift
            new = np.flatnonzero(self._unverified[first : ((high - 1) >> self._shift) + 1])
            self._verify_blocks((new + first).tolist())

    def trust(self) -> None:
        """Skip all blocks: another checksum covers them."""
        self._unverified[:] = False
        self.pending = False

    def verify_all(self, on_bytes: Callable[[int], object]) -> None:
        """Verify every block. `on_bytes` is called with the size of each block after it."""
        ids, starts, cells, counts = self._columns
        for block in range(len(self._unverified)):
            low, high = self._edges(block)
            self.verify_range(low, high)
            rows = int(starts[high]) - int(starts[low])
            row_bytes = cells.itemsize + counts.itemsize
            on_bytes((high - low) * (ids.itemsize + starts.itemsize) + rows * row_bytes)

    def _verify_blocks(self, blocks: Sequence[int]) -> None:
        for block in blocks:
            self._verify_block(block)
            self._unverified[block] = False
        self.pending = bool(self._unverified.any())

    def _verify_block(self, block: int) -> None:
        ids, starts, cells, counts = self._columns
        low, high = self._edges(block)
        self._compare(block, 0, piece=ids[max(low - 1, 0) : high])
        self._compare(block, 1, piece=starts[low : high + 1])
        first, last = int(starts[low]), int(starts[high])
        if not 0 <= first < last <= len(cells):
            self._fail(f"block {block} refers to rows {first} to {last} of {len(cells)}")
        self._compare(block, 2, piece=cells[first:last])
        self._compare(block, 3, piece=counts[first:last])

    def _edges(self, block: int) -> tuple[int, int]:
        """Return the index of the first Tweet of a block, and the one after its last."""
        low = block << self._shift
        return low, min(low + (1 << self._shift), len(self._columns[0]))

    def _compare(self, block: int, column: int, *, piece: AnyInts) -> None:
        if isinstance(self._data, mmap.mmap) and len(piece):
            try:
                populate(self._data, piece)
            except OSError as error:
                self._fail(f"block {block}: {error.strerror}")
        if self._table is not None:
            if crc32(piece) != self._table[block, column]:
                self._fail(f"block {block} does not have its checksum")
        elif column < 2:  # noqa: PLR2004
            if (np.diff(piece.astype(np.int64)) <= 0).any():
                self._fail(f"block {block} is not in order")
        elif column == 3 and max_magnitude_of(piece) > self._max_magnitude:  # noqa: PLR2004
            self._fail(f"block {block} has a count beyond {self._max_magnitude}")


def populate(data: mmap.mmap, piece: npt.NDArray[Any]) -> None:
    """Read a part of a mapped file from the disk.

    Raises:
        OSError: the part cannot be read. Without this call, an access would end the process.
    """
    first = _address_of(piece) - _address_of(np.frombuffer(data, np.uint8))
    start = first - first % mmap.PAGESIZE
    try:
        data.madvise(_POPULATE_READ, start, first + piece.nbytes - start)
    except OSError as error:
        # Else the kernel does not know this advice, or has no memory to follow it now.
        if error.errno in _UNREADABLE:
            raise OSError(errno.EIO, "a part of it cannot be read") from error


def _address_of(array: npt.NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
