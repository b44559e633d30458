"""Merge segments into one file, so that a crash at any moment loses and repeats nothing.

1. Write the file under a name that no record ever lists, and sync it.
2. Record its final name as unlisted, give it this name, and sync the folder. Without the record,
   a file that a crash leaves here could be one that a newer database lists.
3. Replace the records of the merged segments by the record of the file, in one transaction. It
   must come after the syncs: after power loss, a listed file has to be there and complete. The
   merged files are recorded as unlisted.
4. Remove the merged files. Readers that have mapped such a file can use it until they close it.

If the process dies, `SegmentFolder.remove_leftovers` finishes or undoes the removal later. A file
lock for each kind of merge (see `compaction`) keeps two processes from merging the same segments.
If the lock file is deleted, step 3 fails, because a record is missing then.
"""

import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from openengagement.engagement.counters import (
    AnyInts,
    Ints,
    cut,
    find_rows,
    first_cell,
    max_magnitude_of,
    merge_at_once,
    to_totals,
)
from openengagement.errors import StoreDamaged
from openengagement.files import sync_folder
from openengagement.stores.embedded.database import Database
from openengagement.stores.embedded.manifest import (
    SegmentRecord,
    Unlisted,
    forget_unlisted,
    list_segments,
    note_unlisted,
    read_segment,
    swap_segments,
)
from openengagement.stores.embedded.segment_folder import SUFFIX, SegmentFolder
from openengagement.stores.embedded.segment_removal import remove_segments
from openengagement.stores.embedded.segments import Segment, SegmentFile, bounds_of

_SCANNED_ROWS: Final = 1_000_000
NO_IDS: Final[Ints] = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a merge keeps: hours from `oldest_hour` on, and all Tweets but those in `without`."""

    oldest_hour: int
    without: Ints


class StoppedError(Exception):
    """The store was closed during a merge."""


class Merger:
    """Merges segments of one store, until the event `stopping` is set.

    Callers of `merge` hold the file lock of a stage.
    """

    def __init__(
        self, database: Database, folder: SegmentFolder, *, stopping: threading.Event
    ) -> None:
        self._database = database
        self.folder = folder
        self._stopping = stopping
        self._damaged: set[int] = set()  # segments that a merge found damaged

    def records(self) -> list[SegmentRecord]:
        """List all segments."""
        return list_segments(self._database.connection())

    def mergeable(self) -> list[SegmentRecord]:
        """List the segments without those that are known to be damaged."""
        return [record for record in self.records() if record.segment_id not in self._damaged]

    def unflushed(self) -> list[SegmentRecord]:
        """List the segments that are blobs in the database."""
        return [record for record in self.records() if record.file is None]

    def files(self) -> list[SegmentRecord]:
        """List the segments that are files."""
        return [record for record in self.records() if record.file is not None]

    def has_before(self, record: SegmentRecord, hour: int) -> bool:
        """Whether a segment has counters of an earlier hour."""
        segment, bound = self._read(record), first_cell(hour)
        for (piece,) in cut([segment.hours]):
            if (piece.cells < bound).any():
                return True
            segment.evict()
        return False

    def holds(self, record: SegmentRecord, ids: Ints) -> bool:
        """Whether a segment has counters of any of these Tweets."""
        return any(len(find_rows(part, ids)[0]) for part in self._read(record).sections)

    def merge(
        self, chosen: Sequence[SegmentRecord], *, oldest_hour: int = 0, without: Ints = NO_IDS
    ) -> int:
        """Merge segments into one file.

        The counters of hours before `oldest_hour` are left out, and their number is returned. All
        counters and totals of the Tweets in `without` are left out, too.

        Raises:
            StoppedError: `stopping` was set; nothing has changed.
            StoreDamaged: a segment is damaged; nothing has changed.
        """
        if not chosen:
            return 0
        try:
            dropped = self._merge(chosen, kept=_Kept(oldest_hour, without))
        except StoreDamaged as error:
            self._damaged |= {each.segment_id for each in chosen if each.is_in(error.file)}
            raise
        files = [self.folder.path / record.file for record in chosen if record.file]
        remove_segments(files, stopping=self._stopping.wait)
        return dropped

    def _merge(self, chosen: Sequence[SegmentRecord], *, kept: _Kept) -> int:
        """Write the merged file, and list it. Afterwards this process maps none of the others."""
        segments = [self._read(record) for record in chosen]
        unfinished = self.folder.path / f"merged-{uuid.uuid4().hex}.unfinished"
        file = SegmentFile(
            unfinished,
            hours=bounds_of(
                [segment.hours for segment in segments],
                max_magnitude=sum(map(_max_magnitude_of_hours, segments)),
            ),
            # A total can be larger than every hour that adds up to it.
            totals=bounds_of(
                [segment.summable for segment in segments],
                max_magnitude=sum(record.max_magnitude for record in chosen),
            ),
        )
        try:
            rows, max_magnitude, dropped = self._write(file, segments, kept=kept)
            content = file.finish()
            into = SegmentRecord(0, rows, max_magnitude, unfinished.with_suffix(SUFFIX).name)
            self._list(unfinished, chosen, into=into, content=content)
        finally:
            file.close()
            unfinished.unlink(missing_ok=True)
        return dropped

    def _list(
        self,
        unfinished: Path,
        merged: Sequence[SegmentRecord],
        *,
        into: SegmentRecord,
        content: int,
    ) -> None:
        """Give a file its final name, and list it in place of the segments in it."""
        path = unfinished.with_suffix(SUFFIX)
        try:
            with self._database.writing() as db:
                note_unlisted(db, [path.name], state=Unlisted.EXPECTED)
            unfinished.rename(path)
            removed = self.folder.removed()  # before the sync, which makes their removal durable
            sync_folder(self.folder.path)
            with self._database.writing() as db:
                swap_segments(db, merged, into=into, content=content)
                forget_unlisted(db, removed)
        except BaseException:
            # The commit may have succeeded although it raised: never remove a listed file.
            if all(each.file != path.name for each in self.records()):
                path.unlink(missing_ok=True)
            raise

    def _read(self, record: SegmentRecord) -> Segment:
        try:
            return read_segment(self._database.connection(), record, folder=self.folder.path)
        except StoreDamaged:
            self._damaged.add(record.segment_id)
            raise

    def _write(
        self, file: SegmentFile, segments: Sequence[Segment], *, kept: _Kept
    ) -> tuple[int, int, int]:
        """Write the sum of the segments. Return its rows, its largest magnitude, dropped counters.

        The segments are either all files, which have totals of their own, or all blobs, whose hours
        add up to the totals.
        """
        hours = [segment.hours for segment in segments]
        totals = [segment.totals for segment in segments if segment.totals is not None]
        assert len(totals) in {0, len(hours)}
        rows = max_magnitude = dropped = 0
        for parts in cut([*hours, *totals]):
            if self._stopping.is_set():
                raise StoppedError
            merged = merge_at_once(parts[: len(hours)]).without(kept.without)
            newer = merged.since(kept.oldest_hour)
            sums = merge_at_once(parts[len(hours) :]) if totals else to_totals(merged)
            sums = sums.without(kept.without)
            file.write(newer, sums)
            rows += newer.rows + sums.rows
            dropped += merged.rows - newer.rows
            max_magnitude = max(max_magnitude, newer.max_magnitude, sums.max_magnitude)
            for segment in segments:
                segment.evict()
        return rows, max_magnitude, dropped


def _max_magnitude_of_hours(segment: Segment) -> int:
    """Find the largest magnitude of a segment's hourly counts, which are not verified yet."""
    return max(map(max_magnitude_of, _scan_counts(segment)), default=0)


def _scan_counts(segment: Segment) -> Iterator[AnyInts]:
    """Yield the hourly counts in pieces. Drop each piece from memory before reading the next."""
    counts = segment.hours.counts
    for first in range(0, len(counts), _SCANNED_ROWS):
        segment.prepare_counts(first, min(first + _SCANNED_ROWS, len(counts)))
        yield counts[first : first + _SCANNED_ROWS]
        segment.evict()
