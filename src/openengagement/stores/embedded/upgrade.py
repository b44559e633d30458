"""Data of earlier versions, brought up to date in one transaction.

Versions 1 and 2 kept a row per (Tweet, hour) with a column per engagement type, the totals beside
it, and the views of each video; version 1 had no index of an author's Tweets. Version 3 did not
note changes of videos. Version 4 had no positions.
"""

import sqlite3
from collections.abc import Callable
from typing import Final

import numpy as np

from openengagement.engagement.counters import Counters, cells_of, sum_rows
from openengagement.engagement.types import TYPE_NAMES

WITH_ROWS: Final = (1, 2)
WITH_SEGMENTS: Final = (3, 4)
WITH_VIDEO_CHANGES: Final = 4
_ROWS_AT_ONCE: Final = 20_000


def move_counters(db: sqlite3.Connection, add: Callable[[Counters], object]) -> None:
    """Hand the counters of the old tables to `add`, some at a time, and drop the tables."""
    columns = ", ".join(TYPE_NAMES)
    rows = db.execute(f"SELECT tweet_id, hour, {columns} FROM hours")  # noqa: S608
    while some := rows.fetchmany(_ROWS_AT_ONCE):
        table = np.array(some, np.int64)
        at, number = np.nonzero(table[:, 2:])
        add(sum_rows(table[at, 0], cells_of(table[at, 1], number), counts=table[at, number + 2]))
    _drop(db)


def _drop(db: sqlite3.Connection) -> None:
    for name in ("hours", "totals", "videos"):
        db.execute(f"DROP TABLE {name}")
