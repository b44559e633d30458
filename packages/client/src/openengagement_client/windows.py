"""Times and windows of `/historical`: any length of time, cut into pieces of at most 28 days."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from openengagement_client.errors import InvalidQuery

WINDOW_MAX: Final = timedelta(days=28)
_HOUR: Final = timedelta(hours=1)
Time = str | date | datetime


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` up to, and without, `end`. None means: let the server choose."""

    start: datetime | None = None
    end: datetime | None = None

    @property
    def length(self) -> timedelta:
        """The time between the ends. Both must be given."""
        assert self.start is not None
        assert self.end is not None
        return self.end - self.start

    @property
    def fields(self) -> dict[str, str]:
        """The fields of a request body."""
        given = (("start", self.start), ("end", self.end))
        return {name: format_time(time) for name, time in given if time is not None}


def parse_time(value: Time | None) -> datetime | None:
    """Read a time. Without a zone it is UTC; a date alone is its first moment.

    Raises:
        InvalidQuery: the text is not an ISO 8601 time.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise InvalidQuery(
                f"{value!r} is not a time; write it as 2026-11-26T09:00:00Z or 2026-11-26"
            ) from None
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def parse_window(start: Time | None, end: Time | None) -> Window:
    """Read the ends of a window.

    Raises:
        InvalidQuery: a time is malformed, or `start` is not before `end`.
    """
    window = Window(parse_time(start), parse_time(end))
    if window.start is not None and window.end is not None and window.start >= window.end:
        raise InvalidQuery(f"start {format_time(window.start)} must lie before end")
    return window


def format_time(time: datetime) -> str:
    """Format a time as the wire does. A fraction of a second stays, for the server to round."""
    text = time.isoformat(timespec="microseconds" if time.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def floor_hour(time: datetime) -> datetime:
    """Return the beginning of the hour."""
    return time.replace(minute=0, second=0, microsecond=0)


def ceil_hour(time: datetime) -> datetime:
    """Return the end of the hour, or the time itself at the beginning of an hour."""
    floor = floor_hour(time)
    return floor if floor == time else floor + _HOUR


def resolve_window(window: Window, now: datetime) -> Window:
    """Fill in the missing ends by the rules of `/historical`, so that every request has the same.

    Without `end` it is `now`; without `start` it is 28 days earlier. If both are missing, `start`
    is 28 days before the end of the current hour.

    Raises:
        InvalidQuery: `start` is in the future.
    """
    end = window.end or now
    start = window.start or (window.end or ceil_hour(now)) - WINDOW_MAX
    if start >= end:
        raise InvalidQuery(f"start {format_time(start)} must lie before now")
    return Window(start, end)


def split_window(window: Window) -> Iterator[Window]:
    """Cut a window into pieces of at most 28 days.

    It is cut at midnights, so that each day lies in one piece. If there are several pieces, the
    first has at least 27 days, so it has every hour of the day.
    """
    start, end = window.start, window.end
    if start is None or end is None or end - start <= WINDOW_MAX:
        yield window
        return
    start = floor_hour(start)
    while end - start > WINDOW_MAX:
        cut = (start + WINDOW_MAX).replace(hour=0)
        yield Window(start, cut)
        start = cut
    yield Window(start, end)
