"""Checksums of segments, so that damage on a disk is never served as a number.

The Tweets of a segment file form blocks of about 32 KiB with all their counters. Each of the four
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

_BLOCK_BYTES: Final = 2**15
_BLOCK_TWEETS_MAX: Final = 2**13
_RUN_BLOCKS: Final = 16  # verified together, which takes fewer calls of the system
UNCHECKED_TWEETS: Final = 2**10  # in a block of a file without checksums
_COLUMNS: Final = 4
_IDS, _STARTS, _CELLS, _COUNTS = range(_COLUMNS)
# Reads pages, and fails where an access to the memory would end the process: the disk cannot read
# a page, or the file is shorter than its mapping. Linux 5.14; the module `mmap` has no name for it.
_POPULATE_READ: Final = 22
_POISONED: Final = 133  # EHWPOISON, which the module `errno` does not name: broken memory
_UNREADABLE: Final = {errno.EFAULT, errno.EIO, _POISONED}

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
        rows = (starts[edges] - starts[0]).tolist()
        for (low, high), (first, last) in zip(pairwise(edges), pairwise(rows), strict=True):
            sums = self._sums
            sums[0] = crc32(ids[low:high], sums[0])
            sums[1] = crc32(starts[low:high], sums[1])
            sums[2] = crc32(cells[first:last], sums[2])
            sums[3] = crc32(counts[first:last], sums[3])
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
        self._offsets = _offsets_in(data, columns)
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
        self._searchable = False
        self.pending = count > 0

    def prepare_search(self) -> None:
        if not self._searchable:
            self._populate(_IDS, (0, len(self._columns[_IDS])))
            self._searchable = True

    def prepare_starts(self, low: int, high: int) -> None:
        self._populate(_STARTS, (low, high))

    def prepare_counts(self, low: int, high: int) -> None:
        """Make sure that the counts at these rows can be read. They are not verified."""
        self._populate(_COUNTS, (low, high))

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
        # A merge drops pages after use. So those of a block that was verified may be missing.
        self._populate(_STARTS, (low, high + 1))
        starts = self._columns[_STARTS]
        rows = int(starts[low]), int(starts[high])
        for column, span in ((_IDS, (low, high)), (_CELLS, rows), (_COUNTS, rows)):
            self._populate(column, span)

    def trust(self) -> None:
        """Skip all blocks: another checksum covers them."""
        self._unverified[:] = False
        self.pending = False

    def verify_all(self, on_bytes: Callable[[int], object]) -> None:
        """Verify every block. `on_bytes` is called with the bytes verified since its last call."""
        ids, starts, cells, counts = self._columns
        step = _RUN_BLOCKS << self._shift
        for low in range(0, len(ids), step):
            high = min(low + step, len(ids))
            self.verify_range(low, high)
            rows = int(starts[high]) - int(starts[low])
            row_bytes = cells.itemsize + counts.itemsize
            on_bytes((high - low) * (ids.itemsize + starts.itemsize) + rows * row_bytes)

    def _verify_blocks(self, blocks: Sequence[int]) -> None:
        """Verify these blocks, which are in order."""
        first = 0
        for index in range(1, len(blocks) + 1):
            last = blocks[index - 1]
            if index == len(blocks) or blocks[index] > last + 1 or index - first == _RUN_BLOCKS:
                self._verify_run(blocks[first], last + 1)
                self._unverified[blocks[first] : last + 1] = False
                first = index
        self.pending = bool(self._unverified.any())

    def _verify_run(self, first: int, end: int) -> None:
        """Verify the blocks from `first` to before `end`."""
        ids, starts, cells, _ = self._columns
        tweets = 1 << self._shift
        edges = [*range(first * tweets, min(end * tweets, len(ids)), tweets)]
        edges.append(min(end * tweets, len(ids)))
        spans = [*pairwise(edges)]
        self._compare(first, _IDS, spans=[(max(low - 1, 0), high) for low, high in spans])
        self._compare(first, _STARTS, spans=[(low, high + 1) for low, high in spans])
        rows = [*pairwise(starts[edges].tolist())]
        if rows[0][0] < 0 or rows[-1][1] > len(cells) or any(low >= high for low, high in rows):
            self._fail(f"block {first}, or one after it, refers to rows that do not exist")
        self._compare(first, _CELLS, spans=rows)
        self._compare(first, _COUNTS, spans=rows)

    def _compare(self, first: int, column: int, *, spans: Sequence[tuple[int, int]]) -> None:
        """Verify a column of several blocks, which begin with the block `first`."""
        array = self._columns[column]
        self._populate(column, (spans[0][0], spans[-1][1]))
        if self._table is None:
            for block, (low, high) in enumerate(spans, first):
                self._check_values(block, column, piece=array[low:high])
            return
        right = self._table[first : first + len(spans), column].tolist()
        for index, (low, high) in enumerate(spans):
            if crc32(array[low:high]) != right[index]:
                self._fail(f"block {first + index} does not have its checksum")

    def _populate(self, column: int, span: tuple[int, int]) -> None:
        """Make sure that a part of a column can be read."""
        low, high = span
        if low >= high:
            return
        offset, size = self._offsets[column], self._columns[column].itemsize
        try:
            populate(self._data, offset + low * size, end=offset + high * size)
        except OSError as error:
            self._fail(str(error.strerror))

    def _check_values(self, block: int, column: int, *, piece: AnyInts) -> None:
        """Check a column of a block without checksums."""
        if column in {_IDS, _STARTS}:
            if (np.diff(piece.astype(np.int64)) <= 0).any():
                self._fail(f"block {block} is not in order")
        elif column == _COUNTS and max_magnitude_of(piece) > self._max_magnitude:
            self._fail(f"block {block} has a count beyond {self._max_magnitude}")


def populate(data: mmap.mmap | bytes, start: int, *, end: int) -> None:
    """Make sure that a part of a mapped file is in memory. Data that is not mapped always is.

    Raises:
        OSError: the part cannot be read. Without this call, an access would end the process.
    """
    if isinstance(data, bytes):
        return
    start -= start % mmap.PAGESIZE
    try:
        data.madvise(_POPULATE_READ, start, max(end - start, 1))
    except OSError as error:
        # Otherwise the kernel does not know this advice, or lacks the memory for it now.
        if error.errno in _UNREADABLE:
            reason = f"a part of it cannot be read (in bytes {start} to {end})"
            raise OSError(errno.EIO, reason) from error


def _offsets_in(data: mmap.mmap | bytes, columns: Columns) -> list[int]:
    """Return where each column begins in mapped data. Other data is never read by offset."""
    if isinstance(data, bytes):
        return [0] * len(columns)
    begin = _address_of(np.frombuffer(data, np.uint8))
    return [_address_of(column) - begin for column in columns]


def _address_of(array: npt.NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
