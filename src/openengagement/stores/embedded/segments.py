"""A segment: counters by the hour and in total, in a file or a blob that is read in place.

Layout: a head of 4096 bytes (JSON, padded: of each array its name, type, length and offset), then
the arrays. A file is written piece by piece, before it is known how much adds up, so its arrays lie
where there would be room if nothing did; the gaps are holes and take no room on the disk.
"""

import fcntl
import mmap
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from openengagement.engagement.counters import Counters

_HEAD_BYTES: Final = 4096
_ALIGN: Final = 4096
_INDEX: Final = np.dtype("<u4")
_WIDE_INDEX: Final = np.dtype("<i8")
_COUNTS: Final = tuple(map(np.dtype, ("<i1", "<i2", "<i4", "<i8")))
# A file's written pages are handed to the disk after so many rows: a sync of all of it at once
# would hold up the commits beside it.
_SYNC_ROWS: Final = 2**19
# Freeing a large file at once would hold up the commits beside it just so.
_FREED_BYTES: Final = 16 * 2**20
_FREED_EVERY_S: Final = 0.02
_LET_GO_AFTER_S: Final = 0.5  # whoever was reading has ended by then
_PATIENCE_S: Final = 2.0
_Place = tuple[str, str, int, int]  # name, type, length, offset


class Segment(NamedTuple):
    """Counters by the hour, and in total.

    A blob has no totals of its own, so they are None: the hours tell. A file has both, because
    totals stay when hours are pruned. `data` is what the arrays lie in.
    """

    hours: Counters
    totals: Counters | None
    data: mmap.mmap | bytes

    @property
    def summable(self) -> Counters:
        """What totals are read from."""
        return self.hours if self.totals is None else self.totals

    @property
    def is_file(self) -> bool:
        return self.totals is not None

    def evict(self) -> None:
        """Keep none of a file's pages resident; they are read again when they are needed."""
        if isinstance(self.data, mmap.mmap):
            self.data.madvise(mmap.MADV_DONTNEED)


class Bounds(NamedTuple):
    """The most that a part of a segment may hold: Tweets, rows, and a count either way."""

    ids: int
    rows: int
    peak: int


def bounds_of(parts: Sequence[Counters], *, peak: int) -> Bounds:
    """What these may add up to, where no count gets further from zero than `peak`."""
    return Bounds(sum(len(part.ids) for part in parts), sum(part.rows for part in parts), peak)


class _Part:
    """One part of a segment on its way to a file."""

    def __init__(self, name: str, bounds: Bounds, *, offset: int) -> None:
        self._name = name
        counts = _narrowest(bounds.peak)
        self._most = int(np.iinfo(counts).max)
        self._types = {
            "ids": (np.dtype("<i8"), bounds.ids),
            "starts": (_INDEX if bounds.rows <= np.iinfo(_INDEX).max else _WIDE_INDEX, bounds.ids),
            "cells": (np.dtype("<u4"), bounds.rows),
            "counts": (counts, bounds.rows),
        }
        self._offsets: dict[str, int] = {}
        for field, (dtype, length) in self._types.items():
            self._offsets[field] = offset
            # `starts` has one more than its length; the others may have the room.
            offset += -(-dtype.itemsize * (length + 1) // _ALIGN) * _ALIGN
        self.end = offset
        self._ids = 0
        self._rows = 0

    def write(self, file: int, counters: Counters) -> None:
        if counters.peak > self._most:
            raise OverflowError(f"a count of {counters.peak} where at most {self._most} has room")
        at = {"ids": self._ids, "starts": self._ids, "cells": self._rows, "counts": self._rows}
        arrays = counters._replace(starts=counters.starts.astype(np.int64) + self._rows)._asdict()
        for field, array in arrays.items():
            dtype, _ = self._types[field]
            place = self._offsets[field] + at[field] * dtype.itemsize
            _write_all(file, array.astype(dtype).tobytes(), offset=place)
        self._ids += len(counters.ids)
        self._rows += counters.rows

    def listed(self) -> list[_Place]:
        lengths = {"ids": self._ids, "starts": self._ids + 1}
        return [
            (f"{self._name}.{field}", dtype.str, lengths.get(field, self._rows), offset)
            for (field, (dtype, _)), offset in zip(
                self._types.items(), self._offsets.values(), strict=True
            )
        ]


class SegmentFile:
    """A segment that is written piece after piece of its Tweets, in order."""

    def __init__(self, path: Path, *, hours: Bounds, totals: Bounds) -> None:
        self._hours = _Part("hours", hours, offset=_HEAD_BYTES)
        self._totals = _Part("totals", totals, offset=self._hours.end)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._unsynced = 0

    def write(self, hours: Counters, totals: Counters) -> None:
        """The next Tweets; all counters of each."""
        self._hours.write(self._file, hours)
        self._totals.write(self._file, totals)
        self._unsynced += hours.rows + totals.rows
        if self._unsynced > _SYNC_ROWS:
            os.fdatasync(self._file)
            self._unsynced = 0

    def finish(self) -> None:
        """Write the head, and wait until all of it is on the disk."""
        _write_all(self._file, _head([*self._hours.listed(), *self._totals.listed()]), offset=0)
        os.ftruncate(self._file, self._totals.end)
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


def open_segment(path: Path) -> Segment:
    """A segment of a file, mapped. The file is not freed as long as anybody holds it.

    Raises:
        FileNotFoundError
        OSError: the file is damaged.
    """
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # the mapping keeps it
        except BlockingIOError:
            raise FileNotFoundError(f"{path.name} is being removed") from None
        try:
            return decode_segment(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (ValueError, TypeError, msgspec.DecodeError) as error:
            raise OSError(f"{path.name} is damaged: {error}") from None


def let_go_soon(segments: list[Segment]) -> None:
    """Empty this list a moment later, in another thread.

    Whoever lets go of a removed file last waits until the disk has freed it.
    """

    def let_go() -> None:
        time.sleep(_LET_GO_AFTER_S)
        segments.clear()

    threading.Thread(target=let_go, name="let-go", daemon=True).start()


def remove_segments(paths: Sequence[Path], *, stopping: Callable[[float], bool]) -> None:
    """Remove files, and free what they take bit by bit once nobody holds them.

    `stopping` waits for some seconds, and tells whether the process stops meanwhile: the rest is
    left to the system then, as are files that somebody does not let go of soon.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("r+b")).fileno() for path in paths]
        for path in paths:
            path.unlink()
        give_up = time.monotonic() + _PATIENCE_S
        for file in files:
            size = os.fstat(file).st_size
            while size > _FREED_BYTES and not _is_free(file):
                if time.monotonic() > give_up or stopping(_FREED_EVERY_S):
                    return
            while size > _FREED_BYTES and not stopping(_FREED_EVERY_S):
                size -= _FREED_BYTES
                os.ftruncate(file, size)


def _is_free(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def copy_segment(segment: Segment, path: Path) -> None:
    """Write a mapped segment to another file, with its gaps, and wait until it is on the disk."""
    with path.open("xb") as file, memoryview(segment.data) as data:
        file.write(data[:_HEAD_BYTES])
        for _, dtype, length, offset in _places(segment.data):
            file.seek(offset)
            file.write(data[offset : offset + length * np.dtype(dtype).itemsize])
        file.truncate(len(data))
        file.flush()
        os.fsync(file.fileno())


def encode_hours(hours: Counters) -> bytes:
    """A segment without totals, as a blob."""
    arrays = {
        "ids": hours.ids.astype("<i8"),
        "starts": hours.starts.astype(_INDEX),
        "cells": hours.cells.astype("<u4"),
        "counts": hours.counts.astype(_narrowest(hours.peak)),
    }
    places: list[_Place] = []
    pieces: list[bytes] = []
    offset = _HEAD_BYTES
    for field, array in arrays.items():
        places.append((f"hours.{field}", array.dtype.str, len(array), offset))
        pieces += [array.tobytes(), bytes(-array.nbytes % 8)]
        offset += array.nbytes + -array.nbytes % 8
    return b"".join([_head(places), *pieces])


def decode_segment(data: mmap.mmap | bytes) -> Segment:
    """A segment over bytes that stay what they are; nothing is copied."""
    arrays = {
        name: np.frombuffer(data, dtype, length, offset)
        for name, dtype, length, offset in _places(data)
    }
    hours, totals = (
        Counters(*(arrays[f"{part}.{field}"] for field in Counters._fields))
        if f"{part}.ids" in arrays
        else None
        for part in ("hours", "totals")
    )
    assert hours is not None
    return Segment(hours, totals, data)


def _places(data: mmap.mmap | bytes) -> list[_Place]:
    return msgspec.json.decode(data[:_HEAD_BYTES].rstrip(), type=list[_Place])


def _head(places: Sequence[_Place]) -> bytes:
    head = msgspec.json.encode(places).ljust(_HEAD_BYTES)
    assert len(head) == _HEAD_BYTES
    return head


def _narrowest(peak: int) -> np.dtype[Any]:
    return next(dtype for dtype in _COUNTS if peak <= np.iinfo(dtype).max)


def _write_all(file: int, data: bytes, *, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(file, view, offset)
        view, offset = view[done:], offset + done
