"""Create the tables, or upgrade those of an earlier version, in one transaction.

| version | what its successor changed |
|---|---|
| 1 | an index of each author's Tweets |
| 2 | segments, in place of a row per (Tweet, hour), totals, and views of each video |
| 3 | a record of changed videos, for caches |
| 4 | positions of sources |
| 5 | ids of videos as text, next to the numbers under which their views are counted |
| 6 | checksums of segments |
| 7 | the time of the ledger |
| 8 | a record of unlisted files |
| 9 | texts, links and pictures of Tweets |
"""

import sqlite3
from collections.abc import Callable
from typing import Final

import numpy as np

from openengagement.engagement.counters import Counters, cells_of, sum_rows
from openengagement.engagement.types import TYPE_NAMES
from openengagement.stores.embedded import contents, ledger, ledger_time, manifest, tweets

VERSION: Final = 10
WITH_ROWS: Final = (1, 2)  # versions with a row per (Tweet, hour), a column per engagement type
WITH_ORPHANS: Final = (3, 4, 5, 6, 7, 8)  # versions whose crashes left files without a record
_ROWS_AT_ONCE: Final = 20_000


def create_or_upgrade(db: sqlite3.Connection, add: Callable[[Counters], object]) -> int:
    """Bring the tables to VERSION. `add` adds counters to them. Return the version before.

    Raises:
        OSError: a later version, or another program, made them.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if not 0 <= version <= VERSION:
        raise OSError(f"the counters were made by another version of the server ({version})")
    if version == 0:
        _run(db, tweets.SCHEMA, ledger.SCHEMA)
    elif version < 6:  # noqa: PLR2004
        db.execute(tweets.RENAME_VIDEO)
    if version < 3:  # noqa: PLR2004
        _run(db, tweets.INDEX, manifest.SCHEMA)
        for statement in tweets.CHANGES:  # not split at semicolons: triggers contain them
            db.execute(statement)
    if version < 7:  # noqa: PLR2004
        db.execute(manifest.CHECKSUM)  # before counters are moved, which adds segments
    if version == 1:
        db.execute(ledger.RENAME_OLDER)
    if version in WITH_ROWS:
        _move_counters(db, add)
    if version < VERSION:
        _add_tables(db, version)
        db.execute(f"PRAGMA user_version = {VERSION}")
    return int(version)


def _add_tables(db: sqlite3.Connection, version: int) -> None:
    """Add what is independent of the counters."""
    if version < 4:  # noqa: PLR2004
        db.execute(tweets.VIDEO_CHANGES)
    if version < 5:  # noqa: PLR2004
        db.execute(ledger.POSITIONS)
    if version < 6:  # noqa: PLR2004
        _run(db, tweets.VIDEOS)
    if version < 8:  # noqa: PLR2004
        _run(db, ledger_time.SCHEMA)
    if version < 9:  # noqa: PLR2004
        _run(db, manifest.UNLISTED)
        db.execute(manifest.NOTE_REPLACED)
    for statement in contents.SCHEMA:
        db.execute(statement)


def _run(db: sqlite3.Connection, *scripts: str) -> None:
    for script in scripts:
        for statement in script.split(";"):
            db.execute(statement)


def _move_counters(db: sqlite3.Connection, add: Callable[[Counters], object]) -> None:
    """Pass the counters of the old tables to `add`, in portions, and drop the tables."""
    columns = ", ".join(TYPE_NAMES)
    cursor = db.execute(f"SELECT tweet_id, hour, {columns} FROM hours")  # noqa: S608
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        table = np.array(rows, np.int64)
        row, number = np.nonzero(table[:, 2:])
        add(sum_rows(table[row, 0], cells_of(table[row, 1], number), counts=table[row, number + 2]))
    _drop_rows(db)


def _drop_rows(db: sqlite3.Connection) -> None:
    for name in ("hours", "totals", "videos"):
        db.execute(f"DROP TABLE {name}")
