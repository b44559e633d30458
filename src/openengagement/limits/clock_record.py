"""Record how a machine's wall clock was set, so that nonces do not expire too early."""

from typing import NamedTuple

from openengagement.clock import JUMP_S


class ClockRecord(NamedTuple):
    """A record of one machine's clock.

    An offset is the difference between the wall clock and real time, in seconds. It changes only
    when the clock is set.
    """

    lowest_s: float  # the lowest offset of the last while
    seen_s: float  # the real time at which it was seen
    last_s: float  # the newest offset


def note_clock(
    known: ClockRecord | None, *, now_s: float, uptime_s: float, window_s: int
) -> tuple[ClockRecord, float | None]:
    """Return the new record, and by how many seconds the clock jumped, None if it did not.

    Nonces expire by the lowest offset of the last two windows. So a clock that is set forward by
    mistake, and back again, removes nothing too early.
    """
    offset = now_s - uptime_s
    lowest, seen_s, last = known or (offset, uptime_s, offset)
    if offset < lowest + 1 or not 0 <= uptime_s - seen_s <= 2 * window_s + 1:
        lowest, seen_s = offset, uptime_s
    jumped_s = offset - last
    return ClockRecord(lowest, seen_s, offset), jumped_s if abs(jumped_s) > JUMP_S else None


def oldest_timestamp(record: ClockRecord, *, uptime_s: float, window_s: int) -> int:
    """Return the oldest timestamp that a request may still have, with a second to spare."""
    return max(0, int(record.lowest_s + uptime_s) - window_s - 1)
