"""The server's clock, as far as its `Date` headers tell. The only module that reads wall time."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

# `Date` has whole seconds and the answer travels, so a smaller difference means nothing.
_NOISE_S: Final = 2.0


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
        if date is None:
            return
        try:
            at = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        offset_s = at - self._wall()
        self.is_known = True
        self._offset_s = offset_s if abs(offset_s) > _NOISE_S else 0.0
