"""Read the segments of a snapshot."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from openengagement.engagement.counters import Ints, add_totals
from openengagement.engagement.types import TYPE_NAMES
from openengagement.errors import StoreDamaged
from openengagement.stores.embedded import manifest
from openengagement.stores.embedded.database import NAME, Database
from openengagement.stores.embedded.segments import Segment, close_later

Result = TypeVar("Result")
_ATTEMPTS: Final = 10


class SegmentReader:
    """Opens the segments that the database lists, and keeps them open for the next read."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        # The mark of a commit, None if unknown, and the segments of that commit by id.
        self._open: tuple[object, dict[int, Segment]] = (None, {})

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

    def read_newest(self) -> list[Segment]:
        """Open every segment of the newest commit.

        Raises:
            StoreDamaged: as for `read_snapshot`.
        """
        mark = self._database.mark()
        opened_mark, segments = self._open
        if opened_mark != mark:
            segments = self.read_snapshot(self._open_listed)
            # After a commit between the mark and the snapshot, the segments may show either state.
            if mark == self._database.mark():
                self._open = mark, segments
        return list(segments.values())

    def segments(self, db: sqlite3.Connection) -> list[Segment]:
        """Open every segment of this snapshot.

        Raises:
            FileNotFoundError: a segment was merged meanwhile; see `read_snapshot`.
        """
        return list(self._open_listed(db).values())

    def _open_listed(self, db: sqlite3.Connection) -> dict[int, Segment]:
        _, before = self._open
        records = manifest.list_segments(db)
        if before.keys() == {record.segment_id for record in records}:
            return before
        segments = {
            record.segment_id: before.get(record.segment_id)
            or manifest.read_segment(db, record, folder=self._folder)
            for record in records
        }
        self._open = None, segments
        merged = [before[segment_id] for segment_id in before.keys() - segments.keys()]
        if any(segment.is_file for segment in merged):
            close_later(merged)
        return segments


def sum_totals(segments: Sequence[Segment], tweet_ids: Sequence[int]) -> Ints:
    """Add up the totals, `[tweet, type number]`, of all segments."""
    sums = np.zeros((len(tweet_ids), len(TYPE_NAMES)), np.int64)
    ids = np.array(tweet_ids, np.int64)
    for segment in segments:
        add_totals(sums, segment.summable, tweet_ids=ids)
    return sums
