"""The wall clock. No other module reads it, so that tests can replace it."""

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
