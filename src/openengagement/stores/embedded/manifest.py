"""The manifest: the table of all segments.

A commit adds its counters as an *unflushed* segment, a blob in the table itself. Flush and
compaction replace several segments by a file. A file is on the disk before it is listed, and is
removed only after it is no longer listed. So every listed segment is complete.

A file that is about to be listed, or was replaced, is recorded as *unlisted*. Only these files are
ever removed. Any other file in the folder belongs to another state of the database.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from openengagement.engagement.counters import COUNTER_MAX, Counters, to_totals
from openengagement.engagement.overflow import verify_room
from openengagement.errors import StoreDamaged
from openengagement.stores.embedded.checksums import checksum_of
from openengagement.stores.embedded.database import NAME
from openengagement.stores.embedded.segments import (
    Segment,
    decode_segment,
    encode_hours,
    open_segment,
)

# The column `reach` is `SegmentRecord.max_magnitude`: a new name would need a new format.
SCHEMA: Final = """
CREATE TABLE segments (
    segment_id INTEGER PRIMARY KEY AUTOINCREMENT, rows INTEGER NOT NULL, reach INTEGER NOT NULL,
    body BLOB, file TEXT
) STRICT
"""
# Null for a segment that an older version wrote. It gets one when it is merged.
CHECKSUM: Final = "ALTER TABLE segments ADD COLUMN checksum INTEGER"
# Files that are in the folder of segments, or may be, although no record lists them.
UNLISTED: Final = """
CREATE TABLE unlisted_files (file TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID
"""
# A trigger, because a running server of an older version does not know the table.
NOTE_REPLACED: Final = """
CREATE TRIGGER note_replaced AFTER DELETE ON segments WHEN old.file IS NOT NULL
BEGIN INSERT OR REPLACE INTO unlisted_files VALUES (old.file, 'replaced'); END
"""
_LIST: Final = "SELECT segment_id, rows, reach, file FROM segments ORDER BY segment_id"


class Unlisted(StrEnum):
    """Why a file may be in the folder although no record lists it."""

    EXPECTED = "expected"  # it is complete, and about to be listed
    REPLACED = "replaced"  # it was merged into another one
    KEPT = "kept"  # it was there before the database recorded such files; never removed


class SegmentRecord(NamedTuple):
    """A row of the manifest.

    `rows` counts counters and totals. `max_magnitude` bounds the absolute value of each of them.
    `file` is a name in the folder of segments, and None for an unflushed segment.
    """

    segment_id: int
    rows: int
    max_magnitude: int
    file: str | None

    def is_in(self, file: str) -> bool:
        """Whether this segment is the file that an error names."""
        return self.file is not None and file.endswith(self.file)


def list_segments(db: sqlite3.Connection) -> list[SegmentRecord]:
    """List every segment, the oldest first."""
    return [SegmentRecord(*row) for row in db.execute(_LIST)]


def read_segment(db: sqlite3.Connection, record: SegmentRecord, *, folder: Path) -> Segment:
    """Read a segment. The blocks of a file are verified when they are used, a blob at once.

    Raises:
        FileNotFoundError: the segment was merged into another one after it was listed.
        StoreDamaged: the segment, or its record, is damaged.
    """
    query = "SELECT body, checksum FROM segments WHERE segment_id = ?"
    row: tuple[bytes | None, int | None] | None = db.execute(query, record[:1]).fetchone()
    if row is None:
        raise FileNotFoundError(f"segment {record.segment_id}")
    body, checksum = row
    database = f"{folder.stem}.sqlite3"
    if record.file is not None:
        name = f"{folder.name}/{record.file}"
        segment = open_segment(folder / record.file, max_magnitude=record.max_magnitude)
    elif body is not None:
        name = f"{database} (segment {record.segment_id})"
        segment = decode_segment(body, name, max_magnitude=record.max_magnitude)
    else:
        raise StoreDamaged(NAME, database, reason=f"segment {record.segment_id} has no content")
    if checksum is None:
        _verify_old(segment, record, name=name)
    elif checksum != _seal(record, segment.checksum):
        reason = "its checksum differs from the one in the database"
        raise StoreDamaged(NAME, name, reason=reason)
    elif not segment.is_file:
        segment.trust()
    return segment


def _verify_old(segment: Segment, record: SegmentRecord, *, name: str) -> None:
    """Verify a segment of an older version as far as possible without a checksum."""
    rows = sum(section.rows for section in segment.sections)
    if record.rows not in {rows, segment.hours.rows}:
        raise StoreDamaged(NAME, name, reason=f"it has {rows} rows instead of {record.rows}")
    if not segment.is_file:
        segment.verify()


def _seal(record: SegmentRecord, content: int) -> int:
    """Compute the checksum of a record and its content. The id is unknown when it is inserted."""
    fields = f"{record.rows} {record.max_magnitude} {record.file or ''} {content}"
    return checksum_of([fields.encode()])


def add_segment(
    db: sqlite3.Connection, deltas: Counters, *, read_segments: Callable[[], Sequence[Segment]]
) -> None:
    """Add the counters of a commit as an unflushed segment.

    `read_segments` returns all segments of this transaction. It is called only if the bounds of all
    counters together do not show that each of them can hold the deltas.

    Raises:
        OverflowError: a counter would pass COUNTER_MAX.
    """
    if not deltas.rows:
        return
    bound = deltas.total_bound
    if bound + sum(record.max_magnitude for record in list_segments(db)) > COUNTER_MAX:
        segments = read_segments()
        hours = (segment.hours for segment in segments)
        verify_room([deltas], hours=hours, totals=(segment.summable for segment in segments))
        bound = max(deltas.max_magnitude, to_totals(deltas).max_magnitude)
    body = encode_hours(deltas)
    _insert(db, SegmentRecord(0, deltas.rows, bound, None), body=body, content=checksum_of([body]))


def _insert(
    db: sqlite3.Connection, record: SegmentRecord, *, body: bytes | None, content: int
) -> None:
    _, rows, max_magnitude, file = record
    added = (rows, max_magnitude, body, file, _seal(record, content))
    query = "INSERT INTO segments (rows, reach, body, file, checksum) VALUES (?, ?, ?, ?, ?)"
    db.execute(query, added)


def swap_segments(
    db: sqlite3.Connection,
    merged: Sequence[SegmentRecord],
    *,
    into: SegmentRecord,
    content: int,
) -> None:
    """Replace the records of segments by that of the file they were merged into.

    The database chooses the id of the new record. `content` is the checksum of the file. The
    replaced files are recorded as unlisted.

    Raises:
        RuntimeError: another process has merged them too. A swap would count them twice.
    """
    ids = [(record.segment_id,) for record in merged]
    if db.executemany("DELETE FROM segments WHERE segment_id = ?", ids).rowcount != len(ids):
        raise RuntimeError("another process has merged these segments; was a lock file removed?")
    _insert(db, into, body=None, content=content)
    forget_unlisted(db, [into.file])


def list_unlisted(db: sqlite3.Connection) -> dict[str, Unlisted]:
    """List the files that no record lists."""
    rows = db.execute("SELECT file, state FROM unlisted_files")
    return {file: Unlisted(state) for file, state in rows}


def note_unlisted(db: sqlite3.Connection, files: Iterable[str], *, state: Unlisted) -> None:
    """Record files that no record lists."""
    rows = [(file, state) for file in files]
    db.executemany("INSERT OR REPLACE INTO unlisted_files VALUES (?, ?)", rows)


def forget_unlisted(db: sqlite3.Connection, files: Iterable[str | None]) -> None:
    """Forget files that are listed now, or whose removal is durable."""
    db.executemany("DELETE FROM unlisted_files WHERE file = ?", [(file,) for file in files])
