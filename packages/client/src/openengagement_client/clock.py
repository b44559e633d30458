"""The server's clock, as far as its `Date` headers tell. The only module that reads wall time."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

# A `Date` outside is a fault of the server, and would make times that cannot be computed with.
_EARLIEST, _LATEST = datetime(2006, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
# `Date` has whole seconds and the answer travels, so a smaller difference means nothing.
_NOISE_S: Final = 2.0


def parse_http_date(text: str) -> float | None:
    """Read a date of HTTP (RFC 9110, 5.6.7) as Unix seconds. Return None if it is none."""
    try:
        at = parsedate_to_datetime(text)
    except (OverflowError, ValueError):
        return None
    return at.replace(tzinfo=at.tzinfo or UTC).timestamp()


class ServerClock:
    """This machine's clock, corrected by the last `Date` of the server."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._offset_s = 0.0
        self.is_known = False

    def now_s(self) -> float:
        """Return the server's time in Unix seconds."""
        return self._wall() + self._offset_s

    def now(self) -> datetime:
        """Return the server's time, in whole seconds."""
        return datetime.fromtimestamp(int(self.now_s()), UTC)

    def observe(self, date: str | None) -> None:
        """Learn from the `Date` header of an answer that has just arrived."""
        at_s = None if date is None else parse_http_date(date)
        if at_s is None or not _EARLIEST.timestamp() <= at_s < _LATEST.timestamp():
            return
        offset_s = at_s - self._wall()
        self.is_known = True
        self._offset_s = offset_s if abs(offset_s) > _NOISE_S else 0.0
