"""The time of the ledger, by which idempotency keys are kept.

It advances only by real time that has provably passed: while the machine runs. The time between two
starts of the machine does not count, because only the wall clock knows it. So a clock that jumps
makes no key expire too early, and a key is kept for at least as long as the settings say.

A row holds the time of the ledger, and the clocks at that moment. A commit adds the uptime since.
"""

import sqlite3
from typing import Final

from openengagement.clock import Clock, ClockJump, find_jump
from openengagement.stores.embedded.ledger import NEVER

SCHEMA: Final = """
CREATE TABLE ledger_time (
    boot TEXT NOT NULL, uptime_s REAL NOT NULL, wall_s REAL NOT NULL, ledger_s REAL NOT NULL
) STRICT;
CREATE TABLE clock_jumps (jump_id INTEGER PRIMARY KEY, from_s REAL NOT NULL, to_s REAL NOT NULL)
    STRICT
"""
_RECORD_EVERY_S: Final = 60.0
_JUMPS_KEPT: Final = 100


def advance(db: sqlite3.Connection, clock: Clock) -> tuple[int, ClockJump | None]:
    """Return the time of the ledger, and the jump of the wall clock since the last commit if any.

    A jump is recorded, so only one commit returns it.
    """
    wall_s, uptime = clock.now_s(), clock.uptime()
    row = db.execute("SELECT boot, uptime_s, wall_s, ledger_s FROM ledger_time").fetchone()
    if row is None:
        ledger_s = _first_time(db, wall_s)
        passed_s, jump = None, None
    else:
        boot, uptime_s, wall_before_s, ledger_s = row
        passed_s = uptime.since(boot, uptime_s)
        jump = find_jump(wall_before_s, wall_s, passed_s=passed_s)
        ledger_s += passed_s or 0.0
    if jump is not None:
        query = "INSERT INTO clock_jumps (from_s, to_s) VALUES (?, ?)"
        last = db.execute(query, (jump.from_s, jump.to_s)).lastrowid or 0
        db.execute("DELETE FROM clock_jumps WHERE jump_id <= ?", (last - _JUMPS_KEPT,))
    if passed_s is None or passed_s >= _RECORD_EVERY_S or jump is not None:
        db.execute("DELETE FROM ledger_time")
        now = (uptime.boot, uptime.seconds, wall_s, ledger_s)
        db.execute("INSERT INTO ledger_time VALUES (?, ?, ?, ?)", now)
    return int(ledger_s), jump


def list_jumps(db: sqlite3.Connection) -> list[ClockJump]:
    """List the recorded jumps, the oldest first."""
    rows = db.execute("SELECT from_s, to_s FROM clock_jumps ORDER BY jump_id")
    return [ClockJump(*row) for row in rows]


def _first_time(db: sqlite3.Connection, wall_s: float) -> float:
    """Return the time at which the ledger starts.

    Older versions recorded keys by the wall clock. If it is ahead now, they must not expire.
    """
    query = "SELECT max(applied_at_s) FROM batches WHERE applied_at_s < ?"
    newest: int | None = db.execute(query, (NEVER,)).fetchone()[0]
    return wall_s if newest is None else min(wall_s, float(newest))
