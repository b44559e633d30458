"""The only reader of wall time, so that every rule about time can be tested with a chosen one."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time as Unix seconds, with their fraction."""

    def now_s(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        return time.time()
