"""The wall clock, and real time. No other module reads them, so that tests can replace them.

The wall clock may be set forward or back at any moment. So records that must not expire too early
are kept by real time: the time since the machine started. No change of the wall clock moves it.
"""

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

# A smaller difference between the wall clock and real time is an ordinary correction.
JUMP_S: Final = 60
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_UPTIME: Final = Path("/proc/uptime")  # includes the time that the machine was suspended
_PROCESS_ID: Final = uuid4().hex


@dataclass(frozen=True, slots=True)
class Uptime:
    """The seconds since a start of the machine. `boot` identifies the start."""

    boot: str
    seconds: float

    def since(self, boot: str, seconds: float) -> float | None:
        """Return the time since an earlier moment, None if the machine was restarted in between."""
        passed = self.seconds - seconds
        return passed if self.boot == boot and passed >= 0 else None


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The wall clock was set from one Unix time to another."""

    from_s: float
    to_s: float


def find_jump(before_s: float, now_s: float, *, passed_s: float | None) -> ClockJump | None:
    """Compare the wall clock with real time, which is None if the machine was restarted.

    After a restart, only a step back is a jump.
    """
    expected_s = before_s + passed_s if passed_s is not None else max(before_s, now_s)
    return ClockJump(expected_s, now_s) if abs(now_s - expected_s) > JUMP_S else None


class Clock(Protocol):
    """A source of the current time."""

    def now_s(self) -> float:
        """Return the current Unix time in seconds, with a fraction."""
        ...

    def uptime(self) -> Uptime:
        """Return the real time since the machine started."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now_s(self) -> float:
        return time.time()

    def uptime(self) -> Uptime:
        boot = boot_id() or _PROCESS_ID
        if _UPTIME.exists():
            return Uptime(boot, float(_UPTIME.read_text().split()[0]))
        return Uptime(boot, time.monotonic())


class JumpWatch:
    """Remembers for `kept_s` that the wall clock jumped."""

    def __init__(self, clock: Clock, *, kept_s: float) -> None:
        self._clock = clock
        self._kept_s = kept_s
        self._offset_s = self._read_offset()
        self._jumped_at_s: float | None = None  # by the uptime

    def is_steady(self) -> bool:
        """Whether the clock has not jumped, between two calls, in the last `kept_s`."""
        offset_s, uptime_s = self._read_offset(), self._clock.uptime().seconds
        if abs(offset_s - self._offset_s) > JUMP_S:
            self._jumped_at_s = uptime_s
        self._offset_s = offset_s
        return self._jumped_at_s is None or uptime_s - self._jumped_at_s > self._kept_s

    def _read_offset(self) -> float:
        return self._clock.now_s() - self._clock.uptime().seconds


@cache
def boot_id() -> str | None:
    """Return the id of this start of the machine. None if the system has no such id."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else None
