"""The time of the ledger, by which idempotency keys are kept.

It advances only by real time that has provably passed on some machine: while that machine runs. So
a clock that jumps makes no key expire too early. A row holds a machine's clocks, and the time of
the ledger at that moment. The time of the ledger is the latest that any machine knows.
"""

from typing import Any, Final

import psycopg

from openengagement.clock import Clock, ClockJump, find_jump

_READ: Final = """
SELECT boot = %(boot)s, uptime_s, wall_s, ledger_s FROM ledger_times
ORDER BY boot = %(boot)s, ledger_s
"""
_WRITE: Final = """
INSERT INTO ledger_times VALUES (%(boot)s, %(uptime_s)s, %(wall_s)s, %(ledger_s)s)
ON CONFLICT (boot) DO UPDATE SET uptime_s = EXCLUDED.uptime_s, wall_s = EXCLUDED.wall_s,
    ledger_s = greatest(ledger_times.ledger_s, EXCLUDED.ledger_s)
"""
# Machines that were started again leave rows behind. The latest ones suffice.
_CLEAR: Final = """
DELETE FROM ledger_times
WHERE boot NOT IN (SELECT boot FROM ledger_times ORDER BY ledger_s DESC LIMIT 100)
"""
_JUMPED: Final = "INSERT INTO clock_jumps (from_s, to_s) VALUES (%(from_s)s, %(to_s)s)"
_RECORD_EVERY_S: Final = 60.0


def advance(db: "psycopg.Connection[Any]", clock: Clock) -> tuple[int, ClockJump | None]:
    """Return the time of the ledger, and the jump of this machine's wall clock if there was one.

    A jump is recorded, so only one commit returns it.
    """
    wall_s, uptime = clock.now_s(), clock.uptime()
    rows = db.execute(_READ, {"boot": uptime.boot}).fetchall()
    ledger_s = max((row[3] for row in rows), default=wall_s)
    passed_s = jump = None
    if rows and rows[-1][0]:  # this machine's own row
        _, uptime_s, wall_before_s, own_s = rows[-1]
        passed_s = uptime.since(uptime.boot, uptime_s)
        jump = find_jump(wall_before_s, wall_s, passed_s=passed_s)
        ledger_s = max(ledger_s, own_s + (passed_s or 0.0))
    if jump is not None:
        db.execute(_JUMPED, {"from_s": jump.from_s, "to_s": jump.to_s})
    if passed_s is None or passed_s >= _RECORD_EVERY_S or jump is not None:
        clocks = {"boot": uptime.boot, "uptime_s": uptime.seconds, "wall_s": wall_s}
        db.execute(_WRITE, {**clocks, "ledger_s": ledger_s})
        db.execute(_CLEAR)
    return int(ledger_s), jump
