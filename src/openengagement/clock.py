"""The wall clock, and real time. No other module reads them, so that tests can replace them.

The wall clock may be set forward or back at any moment. Whatever must not be forgotten too early is
therefore kept by real time: the time since the machine started, which no change of the clock moves.
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


@dataclass(frozen=True, slots=True)
class Uptime:
    """The seconds since a start of the machine. `boot` identifies the start."""

    boot: str
    seconds: float

    def since(self, boot: str, seconds: float) -> float | None:
        """Return the time since an earlier moment, None if the machine has started in between."""
        passed = self.seconds - seconds
        return passed if self.boot == boot and passed >= 0 else None


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
        if _UPTIME.exists():
            return Uptime(boot_id(), float(_UPTIME.read_text().split()[0]))
        return Uptime(boot_id(), time.monotonic())


@cache
def boot_id() -> str:
    """Identify this start of the machine. Without such an id, each process has its own."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else uuid4().hex
