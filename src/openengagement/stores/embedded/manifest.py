"""Which segments there are: a table of the database, and the folder of those that are files.

What a commit adds lies in the table itself, as a blob; what was merged lies in a file. A file is
synced before it is listed, and removed only after it is no longer listed, so that what a snapshot
lists is whole.
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

SCHEMA: Final = """
CREATE TABLE segments (
    segment_id INTEGER PRIMARY KEY AUTOINCREMENT, rows INTEGER NOT NULL, reach INTEGER NOT NULL,
    body BLOB, file TEXT
) STRICT
"""


class Listed(NamedTuple):
    """A segment as the database lists it.

    `file` is None where the database holds the segment itself; `reach` bounds how far from zero any
    of its counters and totals is.
    """

    segment_id: int
    rows: int  # by the hour and in total
    reach: int
    file: str | None


def list_segments(db: sqlite3.Connection) -> list[Listed]:
    """Every segment, the oldest first."""
    rows = db.execute("SELECT segment_id, rows, reach, file FROM segments ORDER BY segment_id")
    return [Listed(*row) for row in rows]


def read_segment(db: sqlite3.Connection, listed: Listed, *, folder: Path) -> Segment:
    """One of them.

    Raises:
        FileNotFoundError: it was merged into another since it was listed.
    """
    if listed.file is not None:
        return open_segment(folder / listed.file)
    asked = "SELECT body FROM segments WHERE segment_id = ?"
    found = db.execute(asked, (listed.segment_id,)).fetchone()
    if found is None:
        raise FileNotFoundError(f"segment {listed.segment_id}")
    return decode_segment(found[0])


def add_segment(db: sqlite3.Connection, deltas: Counters) -> None:
    """Add what a commit brings.

    Raises:
        OverflowError: a counter might get further from zero than COUNTER_MAX.
    """
    if not deltas.rows:
        return
    reach = deltas.reach
    if reach + sum(each.reach for each in list_segments(db)) > COUNTER_MAX:
        raise OverflowError("a counter might not hold the deltas of this commit")
    added = (deltas.rows, reach, encode_hours(deltas))
    db.execute("INSERT INTO segments (rows, reach, body) VALUES (?, ?, ?)", added)


def swap_segments(
    db: sqlite3.Connection, merged: Sequence[Listed], *, rows: int, reach: int, file: str
) -> None:
    """List a file in the place of the segments that were merged into it."""
    gone = [(each.segment_id,) for each in merged]
    if db.executemany("DELETE FROM segments WHERE segment_id = ?", gone).rowcount != len(gone):
        raise RuntimeError("others have merged these segments; are the lock files gone?")
    db.execute("INSERT INTO segments (rows, reach, file) VALUES (?, ?, ?)", (rows, reach, file))
