"""Read the segments of a snapshot."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from openengagement.engagement.counters import Ints
from openengagement.errors import StoreDamaged
from openengagement.stores.embedded import manifest
from openengagement.stores.embedded.database import NAME, Database
from openengagement.stores.embedded.segment_removal import close_later
from openengagement.stores.embedded.segments import Segment
from openengagement.stores.embedded.totals import FileTotals, add_segments

Result = TypeVar("Result")
_ATTEMPTS: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class OpenSegments:
    """Every segment of a commit: by id, and as files and unflushed ones."""

    by_id: Mapping[int, Segment]
    totals: FileTotals
    unflushed: Sequence[Segment]

    def read_totals(self, tweet_ids: Sequence[int]) -> Ints:
        """Add up the totals, `[tweet, type number]`, of all segments."""
        sums = self.totals.read(tweet_ids)
        add_segments(sums, self.unflushed, tweet_ids=tweet_ids)
        return sums


class SegmentReader:
    """Opens the segments that the database lists, and keeps them open for the next read.

    The totals of at most `totals_cached_max` Tweets are kept too.
    """

    def __init__(self, database: Database, folder: Path, *, totals_cached_max: int) -> None:
        self._database = database
        self._folder = folder
        self._totals_cached_max = totals_cached_max
        # The mark of a commit, None if unknown, and the segments of that commit.
        self._open: tuple[object, OpenSegments] = (None, OpenSegments({}, FileTotals([], 0), []))

    def read_snapshot(self, read: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return the result of `read` in a snapshot.

        Another process may merge and remove a file after the snapshot listed it and before `read`
        opens it. Then `read` is called again in a newer snapshot.

        Raises:
            StoreDamaged: a listed file is really missing, or a segment is damaged.
        """
        missing = ""
        for _ in range(_ATTEMPTS):
            try:
                with self._database.snapshot() as db:
                    return read(db)
            except FileNotFoundError as error:
                missing = f"{self._folder.name}/{Path(error.filename or str(error)).name}"
        raise StoreDamaged(NAME, missing, reason="the file is missing")

    def read_newest(self) -> OpenSegments:
        """Open every segment of the newest commit.

        Raises:
            StoreDamaged: as for `read_snapshot`.
        """
        mark = self._database.mark()
        opened_mark, segments = self._open
        if opened_mark != mark:
            segments = self.read_snapshot(self.open_listed)
            # After a commit between the mark and the snapshot, the segments may show either state.
            if mark == self._database.mark():
                self._open = mark, segments
        return segments

    def count_cached(self) -> int:
        """Return the number of Tweets whose totals are in the cache."""
        return self._open[1].totals.count_cached()

    def segments(self, db: sqlite3.Connection) -> list[Segment]:
        """Open every segment of this snapshot, as `open_listed`."""
        return list(self.open_listed(db).by_id.values())

    def open_listed(self, db: sqlite3.Connection) -> OpenSegments:
        """Open every segment of this snapshot.

        Raises:
            FileNotFoundError: a segment was merged meanwhile; see `read_snapshot`.
        """
        _, before = self._open
        records = manifest.list_segments(db)
        if before.by_id.keys() == {record.segment_id for record in records}:
            return before
        segments = {
            record.segment_id: before.by_id.get(record.segment_id)
            or manifest.read_segment(db, record, folder=self._folder)
            for record in records
        }
        files = [segment for segment in segments.values() if segment.is_file]
        unflushed = [segment for segment in segments.values() if not segment.is_file]
        totals = before.totals
        if totals.files != files:
            totals = FileTotals(files, self._totals_cached_max)
        opened = OpenSegments(segments, totals, unflushed)
        self._open = None, opened
        merged = [before.by_id[segment_id] for segment_id in before.by_id.keys() - segments.keys()]
        if any(segment.is_file for segment in merged):
            close_later(merged)
        return opened
