"""Follow the six rate-limit headers, so that requests wait before the server has to refuse them.

`x-per-minute-limit`, `-remaining` and `-reset`, and the same per second. Resets are Unix seconds of
the server's clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final

_PERIODS_S: Final = {"minute": 60.0, "second": 1.0}
# A reset is given in whole seconds, and the server's clock is known to a second.
_MARGIN_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One window as an answer showed it."""

    limit: int
    remaining: int
    reset_s: float


def parse_rate_limits(headers: Mapping[str, str]) -> dict[str, RateLimit]:
    """Read the windows whose three headers are whole numbers, by their units."""
    found = {}
    for unit in _PERIODS_S:
        values = [headers.get(f"x-per-{unit}-{what}", "") for what in ("limit", "remaining", "reset")]
        if all(value.strip().isdecimal() for value in values):
            limit, remaining, reset = map(int, values)
            found[unit] = RateLimit(limit, remaining, reset)
    return found


class RateLimitWindows:
    """The windows of one server, shared by all requests to it. Threads may share it too."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._windows: dict[str, RateLimit] = {}

    @property
    def seen(self) -> dict[str, RateLimit]:
        """The windows as they are now, by unit; empty before the first answer."""
        with self._lock:
            return dict(self._windows)

    def reserve(self, now_s: float) -> float:
        """Take one request from every window. If one is used up, take none; return the seconds."""
        with self._lock:
            windows = {unit: _renew(each, unit, now_s) for unit, each in self._windows.items()}
            used_up = [each for each in windows.values() if each.remaining <= 0]
            if used_up:
                return max(each.reset_s for each in used_up) - now_s + _MARGIN_S
            self._windows = {
                unit: RateLimit(each.limit, each.remaining - 1, each.reset_s)
                for unit, each in windows.items()
            }
            return 0.0

    def observe(self, headers: Mapping[str, str]) -> None:
        """Learn from an answer. Answers may arrive in another order than their requests."""
        found = parse_rate_limits(headers)
        with self._lock:
            for unit, new in found.items():
                known = self._windows.get(unit)
                if known is not None and known.reset_s == new.reset_s:
                    new = RateLimit(new.limit, min(known.remaining, new.remaining), new.reset_s)
                if known is None or known.reset_s <= new.reset_s:
                    self._windows[unit] = new


def _renew(window: RateLimit, unit: str, now_s: float) -> RateLimit:
    """Return the window that is open now. After its reset, all requests are allowed again."""
    if now_s < window.reset_s:
        return window
    period_s = _PERIODS_S[unit]
    past = (now_s - window.reset_s) // period_s + 1
    return RateLimit(window.limit, window.limit, window.reset_s + past * period_s)
