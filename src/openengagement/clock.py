"""The only module that reads wall time, so that tests can replace the clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """A source of the current time."""

    def now_s(self) -> float:
        """Return the current Unix time in seconds, with a fraction."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now_s(self) -> float:
        return time.time()
