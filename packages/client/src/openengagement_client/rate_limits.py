"""Follow the six rate-limit headers, so that requests wait before the server has to refuse them.

`x-per-minute-limit`, `-remaining` and `-reset`, and the same per second. Resets are Unix seconds of
the server's clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final

_PERIODS_S: Final = {"minute": 60.0, "second": 1.0}
# A reset is given in whole seconds, and the server's clock is known to a second.
_MARGIN_S: Final = 0.25
# More digits than those of any Unix time are no number, but an attack on the conversion.
_DIGITS_MAX: Final = 18
# A window that no answer has shown yet is asked about again after this time.
_GUESS_S: Final = 1.0


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
        values = [
            headers.get(f"x-per-{unit}-{what}", "") for what in ("limit", "remaining", "reset")
        ]
        if all(value.strip().isdecimal() and len(value) <= _DIGITS_MAX for value in values):
            limit, remaining, reset = map(int, values)
            found[unit] = RateLimit(limit, remaining, reset)
    return found


class RateLimitWindows:
    """The windows of one server, shared by all requests to it. Threads may share it too."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._windows: dict[str, RateLimit] = {}
        self._guessed: set[str] = set()  # units whose window no answer has shown yet

    @property
    def seen(self) -> dict[str, RateLimit]:
        """The windows as they are now, by unit; empty before the first answer."""
        with self._lock:
            return dict(self._windows)

    def reserve(self, now_s: float) -> float:
        """Take one request from every window. If one is used up, take none; return the seconds."""
        with self._lock:
            waits = [self._wait_s(unit, now_s) for unit in self._windows]
            if wait_s := max(waits, default=0.0):
                return wait_s
            for unit, window in self._windows.items():
                self._windows[unit] = replace(window, remaining=window.remaining - 1)
            return 0.0

    def _wait_s(self, unit: str, now_s: float) -> float:
        window = self._windows[unit]
        if now_s >= window.reset_s:
            window = self._windows[unit] = _next_window(window, unit, now_s=now_s)
            self._guessed.add(unit)
        if window.remaining > 0:
            return 0.0
        wait_s = window.reset_s - now_s + _MARGIN_S
        return min(wait_s, _GUESS_S) if unit in self._guessed else wait_s

    def observe(self, headers: Mapping[str, str]) -> None:
        """Learn from an answer. Answers may arrive in another order than their requests."""
        with self._lock:
            for unit, new in parse_rate_limits(headers).items():
                known = None if unit in self._guessed else self._windows.get(unit)
                if known is None or known.reset_s < new.reset_s:
                    self._windows[unit] = new
                elif known.reset_s == new.reset_s:
                    remaining = min(known.remaining, new.remaining)
                    self._windows[unit] = replace(new, remaining=remaining)
                self._guessed.discard(unit)


def _next_window(window: RateLimit, unit: str, *, now_s: float) -> RateLimit:
    """Guess the window that is open now: after a reset, all requests are allowed again."""
    period_s = _PERIODS_S[unit]
    past = (now_s - window.reset_s) // period_s + 1
    return RateLimit(window.limit, window.limit, window.reset_s + past * period_s)
