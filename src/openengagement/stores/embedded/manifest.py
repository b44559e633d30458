"""The manifest: the table of all segments.

A commit adds its counters as an *unflushed* segment, a blob in the table itself. Flush and
compaction replace several segments by a file. A file is on the disk before it is listed, and is
removed only after it is no longer listed. So every listed segment is complete.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from openengagement.engagement.counters import COUNTER_MAX, Counters
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
_LIST: Final = "SELECT segment_id, rows, reach, file FROM segments ORDER BY segment_id"


class SegmentRecord(NamedTuple):
    """A row of the manifest.

    `rows` counts counters and totals. `max_magnitude` bounds the absolute value of each of them.
    `file` is a name in the folder of segments, and None for an unflushed segment.
    """

    segment_id: int
    rows: int
    max_magnitude: int
    file: str | None


def list_segments(db: sqlite3.Connection) -> list[SegmentRecord]:
    """List every segment, the oldest first."""
    return [SegmentRecord(*row) for row in db.execute(_LIST)]


def read_segment(db: sqlite3.Connection, record: SegmentRecord, *, folder: Path) -> Segment:
    """Read a segment.

    Raises:
        FileNotFoundError: the segment was merged into another one after it was listed.
    """
    if record.file is not None:
        return open_segment(folder / record.file)
    query = "SELECT body FROM segments WHERE segment_id = ?"
    row = db.execute(query, (record.segment_id,)).fetchone()
    if row is None:
        raise FileNotFoundError(f"segment {record.segment_id}")
    return decode_segment(row[0])


def add_segment(db: sqlite3.Connection, deltas: Counters) -> None:
    """Add the counters of a commit as an unflushed segment.

    Raises:
        OverflowError: a counter might pass COUNTER_MAX.
    """
    if not deltas.rows:
        return
    bound = deltas.total_bound
    if bound + sum(record.max_magnitude for record in list_segments(db)) > COUNTER_MAX:
        raise OverflowError("a counter might not hold the deltas of this commit")
    added = (deltas.rows, bound, encode_hours(deltas))
    db.execute("INSERT INTO segments (rows, reach, body) VALUES (?, ?, ?)", added)


def swap_segments(
    db: sqlite3.Connection,
    merged: Sequence[SegmentRecord],
    *,
    rows: int,
    max_magnitude: int,
    file: str,
) -> None:
    """Replace the records of segments by that of the file they were merged into.

    Raises:
        RuntimeError: another process has merged them too. A swap would count them twice.
    """
    ids = [(record.segment_id,) for record in merged]
    if db.executemany("DELETE FROM segments WHERE segment_id = ?", ids).rowcount != len(ids):
        raise RuntimeError("another process has merged these segments; was a lock file removed?")
    added = (rows, max_magnitude, file)
    db.execute("INSERT INTO segments (rows, reach, file) VALUES (?, ?, ?)", added)
