"""Periods of the overview: from which hour to which, and the period before. Pure functions.

Hours and days are in UTC, as in the API.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

from openengagement.engagement.types import HOUR_S, ceil_hour, hour_of, utc_datetime
from openengagement.engagement.window import LAST_HOURS_S
from openengagement.language.current import current, gettext_noop
from openengagement.language.current import gettext as _

DAY_HOURS: Final = 24
CUSTOM: Final = "custom"
DEFAULT: Final = "28d"
_DAYS: Final = {"7d": 7, "28d": 28, "90d": 90}
NAMES: Final = {  # marked, not translated
    "28h": gettext_noop("28 hours"),
    "7d": gettext_noop("7 days"),
    "28d": gettext_noop("28 days"),
    "90d": gettext_noop("90 days"),
}
_CUSTOM_DAYS_MAX: Final = 366
# Longest period in hours -> hours of a bar.
_BARS: Final = ((48, 1), (8 * DAY_HOURS, 6), (100 * DAY_HOURS, DAY_HOURS))
_WEEK_HOURS: Final = 7 * DAY_HOURS


@dataclass(frozen=True, slots=True)
class Period:
    """The hours `start_hour` <= hour < `end_hour`, and how the page shows them.

    `full_hours` is the length of the whole period. If it is `running`, it ends later than the
    hours so far. `first` and `last` are days of a custom period. `faults` maps a field of its form
    to what is wrong with it; the period is then the default one.
    """

    name: str
    start_hour: int
    end_hour: int
    full_hours: int
    running: bool
    first: str = ""
    last: str = ""
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def before(self) -> tuple[int, int]:
        """The period before, to the same point: its first hour, and the hour after its last."""
        return self.start_hour - self.full_hours, self.end_hour - self.full_hours

    @property
    def bar_hours(self) -> int:
        """The hours of a bar."""
        return next((bar for most, bar in _BARS if self.full_hours <= most), _WEEK_HOURS)

    @property
    def text(self) -> str:
        """The days or hours of the period, for people."""
        return describe_span(self.start_hour, self.end_hour, hourly=self.bar_hours == 1)

    @property
    def before_text(self) -> str:
        """The days or hours of the period before, for people."""
        return describe_span(*self.before, hourly=self.bar_hours == 1)


def read_period(given: Mapping[str, str], *, now_s: float, floor_s: int) -> Period:
    """Read the period from a URL's query. An unknown name means the default."""
    name = given.get("period", "")
    if name == CUSTOM:
        return _read_custom(given, now_s=now_s, floor_s=floor_s)
    if name == "28h":
        start, end = hour_of(now_s - LAST_HOURS_S), ceil_hour(now_s)
        return Period("28h", start, end, end - start, running=True)
    name = name if name in _DAYS else DEFAULT
    start = (hour_of(now_s) // DAY_HOURS - _DAYS[name] + 1) * DAY_HOURS
    return Period(name, start, ceil_hour(now_s), _DAYS[name] * DAY_HOURS, running=True)


def _read_custom(given: Mapping[str, str], *, now_s: float, floor_s: int) -> Period:
    today, floor = utc_datetime(now_s).date(), utc_datetime(floor_s).date()
    first, last = _parse_day(given.get("first", "")), _parse_day(given.get("last", ""))
    faults = {}
    if first is None:
        faults["first"] = _("Write a date, such as 2026-11-01.")
    elif not floor <= first <= today:
        faults["first"] = _("Choose a day from %(first)s to today.", first=describe_day(floor))
    if last is None:
        faults["last"] = _("Write a date, such as 2026-11-28.")
    elif last > today:
        faults["last"] = _("Choose a day that has begun.")
    elif first and last < first:
        faults["last"] = _("Choose the first day or a later one.")
    elif first and (last - first).days >= _CUSTOM_DAYS_MAX:
        faults["last"] = _("Choose at most %(count)s days.", count=_CUSTOM_DAYS_MAX)
    if first is None or last is None or faults:
        default = read_period({}, now_s=now_s, floor_s=floor_s)
        # A field for dates cannot hold any other text.
        texts = {
            "first": first.isoformat() if first else "",
            "last": last.isoformat() if last else "",
        }
        return Period(
            CUSTOM,
            default.start_hour,
            default.end_hour,
            default.full_hours,
            running=True,
            faults=faults,
            **texts,
        )
    start, end = _first_hour(first), _first_hour(last + timedelta(1))
    return Period(
        CUSTOM,
        start,
        min(end, ceil_hour(now_s)),
        end - start,
        running=last == today,
        first=first.isoformat(),
        last=last.isoformat(),
    )


def _parse_day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _first_hour(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) // HOUR_S


def describe_day(day: date) -> str:
    """Write a date for people: `1 Nov 2026`."""
    return current().formats.day(day)


def describe_hour(hour: int) -> str:
    """Write the start of an hour for people: `28 Nov, 17:00`."""
    return current().formats.short_moment(hour * HOUR_S)


def describe_span(start_hour: int, end_hour: int, *, hourly: bool) -> str:
    """Write a span for people: days, or hours."""
    if not hourly:
        days = (utc_datetime(at_s).date() for at_s in (start_hour * HOUR_S, end_hour * HOUR_S - 1))
        return current().formats.span(*days)
    first, last = describe_hour(start_hour), describe_hour(end_hour)
    return _("%(first)s to %(last)s UTC", first=first, last=last)


def week_hours(start_hour: int, end_hour: int) -> list[int]:
    """Return the hour of the week of each hour, from 0, Monday 00:00 UTC, to 167."""
    monday = 4 * DAY_HOURS  # 1 January 1970 was a Thursday
    return [(hour - monday) % _WEEK_HOURS for hour in range(start_hour, end_hour)]
