"""The whole UTC hours that an answer covers, and the times it echoes (api.md 1.3, 8.9, 8.10)."""

from dataclasses import dataclass, replace
from typing import Final

from openengagement.engagement.types import (
    DAY_S,
    HOUR_S,
    Endpoint,
    ceil_hour,
    format_time,
    hour_of,
    parse_time,
)
from openengagement.errors import InvalidField

WINDOW_MAX_S: Final = 28 * DAY_S
LAST_HOURS_S: Final = 28 * HOUR_S
CLOCK_SKEW_S: Final = 300  # the clock of a client may be this far ahead of ours


@dataclass(frozen=True, slots=True)
class Window:
    """The hour buckets `start_hour` <= hour < `end_hour`, and the times that the answer shows."""

    start_hour: int
    end_hour: int
    start: str
    end: str

    @property
    def hours(self) -> int:
        """The number of hours."""
        return self.end_hour - self.start_hour


def parse_window(
    endpoint: Endpoint, start: str | None, *, end: str | None, now_s: float, floor_s: int
) -> Window | None:
    """Parse the window of a request. Return None for `/totals`.

    Only `/historical` uses `start` and `end`. `floor_s` is the oldest start, in Unix seconds.

    Raises:
        InvalidField: a date cannot be parsed, or the dates break a rule.
    """
    if endpoint is Endpoint.TOTALS:
        return None
    if endpoint is Endpoint.LAST_28_HOURS:
        return _whole_hours(hour_of(now_s - LAST_HOURS_S), ceil_hour(now_s))
    start_s = None if start is None else _parse_field("start", start)
    end_s = None if end is None else _parse_field("end", end)
    return _historical(start_s, end_s, now_s=now_s, floor_s=floor_s)


def _historical(
    start_s: float | None, end_s: float | None, *, now_s: float, floor_s: int
) -> Window:
    latest_s = ceil_hour(now_s + CLOCK_SKEW_S) * HOUR_S
    if end_s is not None and end_s > latest_s:
        raise InvalidField("end: lies in the future")
    until_s = now_s if end_s is None else end_s
    if start_s is None:
        # The default is four weeks before `end`. Without `end` it is four weeks before the end of
        # the current hour, as a captured answer shows.
        base_s = ceil_hour(now_s) * HOUR_S if end_s is None else end_s
        start_s = base_s - WINDOW_MAX_S
        if end_s is None:
            start_s = max(start_s, floor_s)
    elif until_s - start_s > WINDOW_MAX_S:
        raise InvalidField("start: lies more than 4 weeks (28 days) before end")
    if start_s >= until_s:
        raise InvalidField("start: must lie before end")
    if start_s < floor_s:
        raise InvalidField(f"start: lies before {format_time(floor_s)}, the oldest time served")
    rounded = _whole_hours(hour_of(start_s), ceil_hour(until_s))
    return rounded if end_s is not None else replace(rounded, end=format_time(now_s))


def _whole_hours(start_hour: int, end_hour: int) -> Window:
    return Window(
        start_hour, end_hour, format_time(start_hour * HOUR_S), format_time(end_hour * HOUR_S)
    )


def _parse_field(name: str, text: str) -> float:
    try:
        return parse_time(text)
    except ValueError as error:
        raise InvalidField(f"{name}: {error}") from None
