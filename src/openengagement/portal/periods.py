"""Periods of the overview: from which hour to which, and the period before. Pure functions.

Days are those of a time zone. They consist of whole hours in UTC, as in the API, so a day of a zone
that is half an hour off begins with the first whole hour of UTC in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Final
from urllib.parse import urlencode

from openengagement.engagement.types import DAY_S, HOUR_S, ceil_hour, hour_of
from openengagement.engagement.window import LAST_HOURS_S
from openengagement.language.current import current, gettext_noop
from openengagement.language.current import gettext as _
from openengagement.portal.zones import UTC_ZONE, Zone

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
# Longest period in hours -> hours of a bar. Days of a zone may have 25 hours.
_BARS: Final = ((49, 1), (8 * DAY_HOURS + 1, 6), (100 * DAY_HOURS + 1, DAY_HOURS))
_WEEK_HOURS: Final = 7 * DAY_HOURS


@dataclass(frozen=True)
class Period:
    """The hours `start_hour` <= hour < `end_hour`, and how the page shows them in its `zone`.

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
    zone: Zone = UTC_ZONE

    @property
    def before(self) -> tuple[int, int]:
        """The period before, to the same point: its first hour, and the hour after its last."""
        return self.start_hour - self.full_hours, self.end_hour - self.full_hours

    @property
    def bar_hours(self) -> int:
        """The hours of a bar."""
        return next((bar for most, bar in _BARS if self.full_hours <= most), _WEEK_HOURS)

    @cached_property
    def edges(self) -> Sequence[int]:
        """The first hour of each bar of the whole period, and the hour after it."""
        end = self.start_hour + self.full_hours
        if self.bar_hours == 1:
            return range(self.start_hour, end + 1)
        days = (end - self.start_hour + DAY_HOURS // 2) // DAY_HOURS
        first = self.zone.at(self.start_hour * HOUR_S).date()
        hours = range(0, DAY_HOURS, min(self.bar_hours, DAY_HOURS))
        starts = [
            first_hour(first + timedelta(day), hour, zone=self.zone)
            for day in range(0, days, max(1, self.bar_hours // DAY_HOURS))
            for hour in hours
        ]
        return [*starts, end]

    @property
    def text(self) -> str:
        """The days or hours of the period, for people."""
        return self.describe(self.start_hour, self.end_hour, hourly=self.bar_hours == 1)

    @property
    def before_text(self) -> str:
        """The days or hours of the period before, for people."""
        return self.describe(*self.before, hourly=self.bar_hours == 1)

    def describe(self, start_hour: int, end_hour: int, *, hourly: bool) -> str:
        """Write a span for people: days, or hours."""
        return describe_span(start_hour, end_hour, hourly=hourly, zone=self.zone)


def list_periods(current: str, *, path: str, kept: Mapping[str, str]) -> list[dict[str, object]]:
    """Describe the links of the switch between periods. They keep these parameters of the URL."""
    return [
        {
            "name": name,
            "label": _(label),
            "href": f"{path}?{urlencode({**kept, 'period': name})}",
            "current": name == current,
        }
        for name, label in NAMES.items()
    ]


def read_period(
    given: Mapping[str, str], *, now_s: float, floor_s: int, zone: Zone = UTC_ZONE
) -> Period:
    """Read the period from a URL's query. An unknown name means the default."""
    name = given.get("period", "")
    if name == CUSTOM:
        return _read_custom(given, now_s=now_s, floor_s=floor_s, zone=zone)
    if name == "28h":
        start, end = hour_of(now_s - LAST_HOURS_S), ceil_hour(now_s)
        return Period("28h", start, end, end - start, running=True, zone=zone)
    name = name if name in _DAYS else DEFAULT
    today = zone.at(now_s).date()
    start = first_hour(today - timedelta(_DAYS[name] - 1), zone=zone)
    end = first_hour(today + timedelta(1), zone=zone)
    # In the first minutes of a day of a zone that is half an hour off, no hour of it has begun.
    now_end = max(ceil_hour(now_s), start + 1)
    return Period(name, start, now_end, end - start, running=True, zone=zone)


def _read_custom(given: Mapping[str, str], *, now_s: float, floor_s: int, zone: Zone) -> Period:
    today, floor = zone.at(now_s).date(), zone.at(floor_s + DAY_S - 1).date()
    first, last = (
        day and begun_day(day, today=today)
        for day in (_parse_day(given.get("first", "")), _parse_day(given.get("last", "")))
    )
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
        default = read_period({}, now_s=now_s, floor_s=floor_s, zone=zone)
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
            zone=zone,
            **texts,
        )
    start, end = (first_hour(day, zone=zone) for day in (first, last + timedelta(1)))
    return Period(
        CUSTOM,
        start,
        max(min(end, ceil_hour(now_s)), start + 1),
        end - start,
        running=last == today,
        first=first.isoformat(),
        last=last.isoformat(),
        zone=zone,
    )


def begun_day(day: date, *, today: date) -> date:
    """Return today for tomorrow, else the day.

    A page in another zone, where tomorrow has begun, may link to one in this zone.
    """
    return today if day - today == timedelta(1) else day


def _parse_day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def first_hour(day: date, hour: int = 0, *, zone: Zone) -> int:
    """Return the first hour that begins at this local time or later.

    Raises:
        OverflowError, ValueError: the day is at the end of the calendar.
    """
    at = datetime(day.year, day.month, day.day, hour, tzinfo=zone.rules)
    return -(-int(at.timestamp()) // HOUR_S)


def describe_day(day: date) -> str:
    """Write a date for people: `1 Nov 2026`."""
    return current().formats.day(day)


def describe_until(now_s: float, zone: Zone) -> str:
    """Write until when a running hour or day is counted: `17:20`."""
    return current().formats.hour(now_s, zone.rules) + zone.suffix


def describe_hour(hour: int, *, zone: Zone = UTC_ZONE) -> str:
    """Write the start of an hour for people: `28 Nov, 17:00`."""
    return current().formats.short_moment(hour * HOUR_S, zone.rules)


def describe_span(start_hour: int, end_hour: int, *, hourly: bool, zone: Zone = UTC_ZONE) -> str:
    """Write a span for people: days, or hours."""
    if hourly:
        start, end = (describe_hour(hour, zone=zone) for hour in (start_hour, end_hour))
        return _("%(first)s to %(last)s", first=start, last=end) + zone.suffix
    # An hour of a zone that is half an hour off ends after midnight; it counts for the day before.
    first = zone.at(start_hour * HOUR_S).date()
    last = zone.at((end_hour - 1) * HOUR_S).date()
    return current().formats.span(first, last)


def week_hours(start_hour: int, end_hour: int, *, zone: Zone = UTC_ZONE) -> list[int]:
    """Return the hour of the week of each hour, from 0, Monday 00:00, to 167.

    An hour of a zone that is half an hour off counts for the hour of the week in which it begins.
    """
    monday = 4 * DAY_HOURS  # 1 January 1970 was a Thursday
    offsets = _offsets(start_hour, end_hour, zone=zone)
    return [
        (hour + offset // HOUR_S - monday) % _WEEK_HOURS
        for hour, offset in zip(range(start_hour, end_hour), offsets, strict=True)
    ]


def _offsets(start_hour: int, end_hour: int, *, zone: Zone) -> Sequence[int]:
    """Return the offset from UTC of each hour, in seconds."""
    if zone.is_utc:
        return [0] * (end_hour - start_hour)
    moments = (zone.at(hour * HOUR_S).utcoffset() for hour in range(start_hour, end_hour))
    return [int((offset or timedelta()).total_seconds()) for offset in moments]
