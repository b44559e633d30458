"""A segment: counters by the hour and in total, read in place from a file or a blob.

Layout: a head of 4096 bytes, then the arrays. The head is padded JSON and lists the name, type,
length and offset of each array. A file is written piece by piece, before its final size is known.
So each array gets room for its largest possible size. The gaps between the arrays are holes, which
take no space on the disk.

Each section of a file (hours, totals) has one more array. Its first element is the number of Tweets
in a block. The others are the table of `checksums.BlockChecksums`. Older versions ignore it.
"""

import errno
import fcntl
import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec
import numpy as np
import numpy.typing as npt

from openengagement.engagement.counters import COUNTER_MAX, Counters
from openengagement.errors import StoreDamaged
from openengagement.stores.embedded.checksums import (
    UNCHECKED_TWEETS,
    BlockChecksums,
    Blocks,
    BlockVerifier,
    Columns,
    checksum_of,
    choose_block_tweets,
    populate,
)
from openengagement.stores.embedded.database import NAME

_HEAD_BYTES: Final = 4096
_ALIGN: Final = 4096
_INDEX: Final = np.dtype("<u4")
_WIDE_INDEX: Final = np.dtype("<i8")
_COUNTS: Final = tuple(map(np.dtype, ("<i1", "<i2", "<i4", "<i8")))
_ARRAYS: Final = ("ids", "starts", "cells", "counts")
_TABLE: Final = np.dtype("<u4")
# Sync a file after writing this many rows. A single sync of a large file at its end would delay
# the commits that run meanwhile.
_SYNC_ROWS: Final = 2**19
_Entry = tuple[str, str, int, int]  # an array in the head: name, type, length, offset


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Counters by the hour, and in total.

    A file has both, because totals stay when hours are pruned. A blob has no `totals`: its hours
    were never pruned, so they add up to the totals. `data` is the memory of the arrays. `checksum`
    covers the head and the tables of checksums of a file, and all of a blob.
    """

    hours: Counters
    totals: Counters | None
    data: mmap.mmap | bytes
    checksum: int

    @property
    def summable(self) -> Counters:
        """The counters that add up to the totals of each Tweet."""
        return self.hours if self.totals is None else self.totals

    @property
    def is_file(self) -> bool:
        return self.totals is not None

    @property
    def sections(self) -> list[Counters]:
        return [self.hours] if self.totals is None else [self.hours, self.totals]

    def trust(self) -> None:
        """Skip the verification of blocks: `checksum` covers them, and was compared."""
        for section in self.sections:
            assert isinstance(section.verifier, BlockVerifier)
            section.verifier.trust()

    def verify(self, on_bytes: Callable[[int], object] = lambda _: None) -> None:
        """Verify all counters. `on_bytes` is called with the bytes verified since its last call.

        Raises:
            StoreDamaged
        """
        for section in self.sections:
            assert isinstance(section.verifier, BlockVerifier)
            section.verifier.verify_all(on_bytes)

    def prepare_counts(self, low: int, high: int) -> None:
        """Make sure that the hourly counts at these rows can be read, without verifying them.

        Raises:
            StoreDamaged
        """
        assert isinstance(self.hours.verifier, BlockVerifier)
        self.hours.verifier.prepare_counts(low, high)

    def evict(self) -> None:
        """Drop a file's pages from this process's memory. They are read again when needed."""
        if isinstance(self.data, mmap.mmap):
            self.data.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of a section of a file: Tweets, rows, and magnitude of a count."""

    ids: int
    rows: int
    max_magnitude: int


def bounds_of(parts: Sequence[Counters], *, max_magnitude: int) -> Bounds:
    """Bound the sum of these counters. `max_magnitude` bounds its counts."""
    ids, rows = sum(len(part.ids) for part in parts), sum(part.rows for part in parts)
    return Bounds(ids, rows, max_magnitude)


class _Section:
    """The hours or the totals of a file that is being written."""

    def __init__(self, name: str, bounds: Bounds, *, offset: int) -> None:
        self._name = name
        counts = _narrowest(bounds.max_magnitude)
        self._most = int(np.iinfo(counts).max)
        rooms = {
            "ids": (np.dtype("<i8"), bounds.ids),
            "starts": (_INDEX if bounds.rows <= np.iinfo(_INDEX).max else _WIDE_INDEX, bounds.ids),
            "cells": (np.dtype("<u4"), bounds.rows),
            "counts": (counts, bounds.rows),
        }
        self._arrays: dict[str, tuple[np.dtype[Any], int]] = {}  # type and offset
        for field, (dtype, length) in rooms.items():
            self._arrays[field] = (dtype, offset)
            # `starts` has one element more than `ids`, so every array gets room for one more.
            offset += -(-dtype.itemsize * (length + 1) // _ALIGN) * _ALIGN
        self._lengths = dict.fromkeys(rooms, 0)  # written so far; `starts` without its last element
        block_tweets = choose_block_tweets(bounds.ids, bounds.rows, count_bytes=counts.itemsize)
        self._checksums = BlockChecksums(block_tweets)
        self._block_tweets = block_tweets
        self._table = np.zeros(0, _TABLE)
        self._table_offset = offset
        table_bytes = _TABLE.itemsize * (1 + len(_ARRAYS) * -(-bounds.ids // block_tweets))
        self.end = offset + -(-table_bytes // _ALIGN) * _ALIGN

    def write(self, file: int, counters: Counters) -> None:
        if (magnitude := counters.max_magnitude) > self._most:
            raise OverflowError(f"a count of {magnitude} where at most {self._most} has room")
        starts = counters.starts.astype(np.int64) + self._lengths["cells"]
        counters = replace(counters, starts=starts)
        columns = {
            field: getattr(counters, field).astype(dtype)
            for field, (dtype, _) in self._arrays.items()
        }
        self._checksums.add(_columns_of(columns))
        for field, (dtype, offset) in self._arrays.items():
            done = self._lengths[field] * dtype.itemsize
            _write_all(file, columns[field].tobytes(), offset=offset + done)
            self._lengths[field] += len(columns[field]) - (field == "starts")

    def finish(self, file: int) -> bytes:
        """Write the table of checksums, and return its bytes."""
        table = self._checksums.finish().ravel()
        self._table = np.concatenate([[self._block_tweets], table]).astype(_TABLE)
        _write_all(file, self._table.tobytes(), offset=self._table_offset)
        return self._table.tobytes()

    def entries(self) -> list[_Entry]:
        entries = [
            (f"{self._name}.{field}", dtype.str, self._lengths[field] + (field == "starts"), offset)
            for field, (dtype, offset) in self._arrays.items()
        ]
        table = (f"{self._name}.checksums", _TABLE.str, len(self._table), self._table_offset)
        return [*entries, table]


class SegmentFile:
    """Writes a segment file piece by piece, with the Tweets in order."""

    def __init__(self, path: Path, *, hours: Bounds, totals: Bounds) -> None:
        self._hours = _Section("hours", hours, offset=_HEAD_BYTES)
        self._totals = _Section("totals", totals, offset=self._hours.end)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._unsynced = 0

    def write(self, hours: Counters, totals: Counters) -> None:
        """Write all counters of the next Tweets."""
        self._hours.write(self._file, hours)
        self._totals.write(self._file, totals)
        self._unsynced += hours.rows + totals.rows
        if self._unsynced > _SYNC_ROWS:
            os.fdatasync(self._file)
            self._unsynced = 0

    def finish(self) -> int:
        """Write the head, wait until the whole file is on the disk, and return its checksum."""
        sections = (self._hours, self._totals)
        tables = [section.finish(self._file) for section in sections]
        head = _head([entry for section in sections for entry in section.entries()])
        _write_all(self._file, head, offset=0)
        os.ftruncate(self._file, self._totals.end)
        os.fsync(self._file)
        return checksum_of([head, *tables])

    def close(self) -> None:
        os.close(self._file)


def open_segment(path: Path, *, max_magnitude: int = COUNTER_MAX) -> Segment:
    """Map a segment file. Its disk space is not freed while the segment is in use.

    Raises:
        FileNotFoundError: the file does not exist, or is being removed.
        StoreDamaged: the file is damaged.
    """
    with path.open("rb") as file:
        try:
            # Closing the file does not release this lock: the mapping holds it.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileNotFoundError(f"{path.name} is being removed") from None
        name = f"{path.parent.name}/{path.name}"
        if not os.fstat(file.fileno()).st_size:
            raise StoreDamaged(NAME, name, reason="the file is empty")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return decode_segment(data, name, max_magnitude=max_magnitude)


def copy_segment(segment: Segment, path: Path) -> None:
    """Verify a mapped segment, and write it to another file, with its holes, durably.

    Raises:
        StoreDamaged: the segment is damaged.
    """
    segment.verify()
    with path.open("xb") as file, memoryview(segment.data) as data:
        parts = [(0, _HEAD_BYTES)]
        for _, dtype, length, offset in _read_head(segment.data):
            parts.append((offset, offset + length * np.dtype(dtype).itemsize))
        try:
            for start, end in parts:
                _write_all(file.fileno(), data[start:end], offset=start)
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise
            name = f"{path.parent.name}/{path.name}"
            raise StoreDamaged(NAME, name, reason="a part of it cannot be read") from error
        file.truncate(len(data))
        os.fsync(file.fileno())


def encode_hours(hours: Counters) -> bytes:
    """Encode a segment without totals as a blob."""
    arrays = {
        "ids": hours.ids.astype("<i8"),
        "starts": hours.starts.astype(_INDEX),
        "cells": hours.cells.astype("<u4"),
        "counts": hours.counts.astype(_narrowest(hours.max_magnitude)),
    }
    entries: list[_Entry] = []
    pieces: list[bytes] = []
    offset = _HEAD_BYTES
    for field, array in arrays.items():
        entries.append((f"hours.{field}", array.dtype.str, len(array), offset))
        pieces += [array.tobytes(), bytes(-array.nbytes % 8)]
        offset += array.nbytes + -array.nbytes % 8
    return b"".join([_head(entries), *pieces])


def decode_segment(
    data: mmap.mmap | bytes, file: str, *, max_magnitude: int = COUNTER_MAX
) -> Segment:
    """Read a segment in place, without a copy. `data` must not change afterwards.

    `file` names the file in errors. `max_magnitude` bounds the counts.

    Raises:
        StoreDamaged: the segment cannot be read. Its blocks are verified when they are used.
    """

    def fail(reason: str) -> NoReturn:
        raise StoreDamaged(NAME, file, reason=reason)

    try:
        arrays = _read_arrays(data)
        sections = []
        for name in ("hours", "totals") if "totals.ids" in arrays else ("hours",):
            columns = _columns_of({field: arrays[f"{name}.{field}"] for field in _ARRAYS})
            verifier = BlockVerifier(
                columns,
                data,
                blocks=_read_blocks(arrays.get(f"{name}.checksums")),
                max_magnitude=max_magnitude,
                fail=fail,
            )
            sections.append(Counters(*columns, verifier))
    except (OSError, ValueError, TypeError, LookupError, msgspec.DecodeError) as error:
        fail(f"its head is wrong ({error})")
    if isinstance(data, bytes):
        return Segment(sections[0], None, data, checksum_of([data]))
    tables = [array for name, array in arrays.items() if name.endswith(".checksums")]
    totals = sections[1] if len(sections) > 1 else None
    return Segment(sections[0], totals, data, checksum_of([data[:_HEAD_BYTES], *tables]))


def _read_arrays(data: mmap.mmap | bytes) -> dict[str, npt.NDArray[Any]]:
    """Find the arrays that the head lists. Read the head and the tables of checksums."""
    populate(data, 0, end=_HEAD_BYTES)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, dtype, length, offset in _read_head(data):
        arrays[name] = array = np.frombuffer(data, dtype, length, offset)
        if name.endswith(".checksums"):
            populate(data, offset, end=offset + array.nbytes)
    return arrays


def _read_blocks(table: npt.NDArray[Any] | None) -> Blocks:
    if table is None:
        return Blocks(UNCHECKED_TWEETS, None)
    # A copy, because a mapped file may become shorter.
    return Blocks(int(table[0]), table[1:].reshape(-1, len(_ARRAYS)).copy())


def _columns_of(arrays: Mapping[str, npt.NDArray[Any]]) -> Columns:
    return arrays["ids"], arrays["starts"], arrays["cells"], arrays["counts"]


def _read_head(data: mmap.mmap | bytes) -> list[_Entry]:
    return msgspec.json.decode(data[:_HEAD_BYTES].rstrip(), type=list[_Entry])


def _head(entries: Sequence[_Entry]) -> bytes:
    head = msgspec.json.encode(entries).ljust(_HEAD_BYTES)
    assert len(head) == _HEAD_BYTES
    return head


def _narrowest(max_magnitude: int) -> np.dtype[Any]:
    """Find the smallest type that holds counts of this magnitude, or else the largest type."""
    fits = (dtype for dtype in _COUNTS if max_magnitude <= np.iinfo(dtype).max)
    return next(fits, _COUNTS[-1])


def _write_all(file: int, data: bytes | memoryview, *, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(file, view, offset)
        view, offset = view[done:], offset + done
