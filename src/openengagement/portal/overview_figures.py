"""The figures of the overview, from sums over a period and the period before. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from openengagement.engagement.counters import Ints
from openengagement.engagement.types import ENGAGEMENT_TYPES, HOUR_S, TYPE_NAMES
from openengagement.language.current import current
from openengagement.language.current import gettext as _
from openengagement.portal.periods import Period, describe_hour, week_hours
from openengagement.portal.series import (
    LABELS,
    RATE,
    RATE_OF,
    TIMED_TYPES,
    Number,
    format_number,
    rate_of,
)

# The metrics in the ledger, in its order.
MAIN: Final = (
    *("impressions", "engagements", RATE, "favorites", "retweets", "replies"),
    *("url_clicks", "user_follows"),
)
METRICS: Final = (*TIMED_TYPES, RATE)
BEST_SHOWN: Final = 8
_TIMES_MIN: Final = 10  # from this factor on, a change is written as a factor
_FILLED_MIN: Final = 24  # hours of the week with engagement that a heat map needs
_LEVELS: Final = 6
_HOURS_A_DAY: Final = 24

_ROLLED_UP: Final = tuple(
    each.name for each in ENGAGEMENT_TYPES if each.rolls_up and each.name in TIMED_TYPES
)
_NUMBERS: Final = {name: number for number, name in enumerate(TYPE_NAMES)}


@dataclass(frozen=True, slots=True)
class Change:
    """The change from the period before. `direction` is up, down or empty."""

    direction: str
    text: str


@dataclass(frozen=True, slots=True)
class Figure:
    """The figure of one metric, and that of the period before; None where there is none."""

    name: str
    label: str
    value: Number
    before: Number
    change: Change


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of the period: its metric, and that of the same part of the period before."""

    label: str
    hour: int
    value: Number
    before: Number
    running: bool


@dataclass(frozen=True, slots=True)
class Heat:
    """Engagements an hour by hour of the week, `rows[day][hour]`, and their levels from 0 to 6.

    `hours` are the times of day at which the hours begin.
    """

    days: Sequence[str]
    hours: Sequence[str]
    rows: Sequence[Sequence[float]]
    levels: Sequence[Sequence[int]]
    best: str
    best_value: float


def value_of(sums: Ints, metric: str) -> Number:
    """Return a metric of sums by type number; None for a rate without impressions."""
    if metric == RATE:
        return rate_of(*(int(sums[_NUMBERS[name]]) for name in RATE_OF))
    return int(sums[_NUMBERS[metric]])


def make_figures(now: Ints, before: Ints | None) -> dict[str, Figure]:
    """Make the figure of every metric. `now` and `before` are `[hour, type number]`."""
    sums = now.sum(axis=0)
    sums_before = None if before is None else before.sum(axis=0)
    figures = {}
    for metric in METRICS:
        value = value_of(sums, metric)
        earlier = None if sums_before is None else value_of(sums_before, metric)
        change = describe_change(value, earlier)
        figures[metric] = Figure(metric, LABELS[metric], value, earlier, change)
    return figures


def describe_change(value: Number, before: Number) -> Change:
    """Describe a change: in percent, as a factor, or in points of a rate; else as a dash."""
    if value is None or before is None:
        return Change("", "—")
    if isinstance(value, float) or isinstance(before, float):
        points = round(100 * (value - before), 2)
        text = current().formats.fixed(abs(points), 2)
        return Change(_direction(points), _("%(points)s pt", points=text))
    if before <= 0 or value < 0:
        return Change("up", _("new")) if value > 0 and before == 0 else Change("", "—")
    if value >= _TIMES_MIN * before:
        return Change("up", f"\N{MULTIPLICATION SIGN}{format_number(value // before)}")
    percent = round(100 * (value - before) / before, 1)
    return Change(_direction(percent), current().formats.percent(abs(percent) / 100, 1))


def _direction(difference: float) -> str:
    if not difference:
        return ""
    return "up" if difference > 0 else "down"


def make_bars(metric: str, period: Period, *, now: Ints, before: Ints | None) -> list[Bar]:
    """Make the bars of a metric. `now` and `before` are `[hour, type number]`."""
    values = make_values(metric, period, hours=now)
    earlier = [None] * len(values) if before is None else make_values(metric, period, hours=before)
    edges = period.edges
    return [
        Bar(
            label=_label(edges[at], edges[at + 1], period=period),
            hour=edges[at],
            value=value,
            before=earlier[at],
            running=period.running and at == len(values) - 1,
        )
        for at, value in enumerate(values)
    ]


def make_values(metric: str, period: Period, *, hours: Ints) -> Sequence[Number]:
    """Make the values of the bars that have begun. `hours` is `[hour, type number]`."""
    ends = np.array(period.edges[:-1], np.int64) - period.start_hour
    starts = ends[ends < len(hours)]
    names = RATE_OF if metric == RATE else (metric,)
    columns = [
        np.add.reduceat(hours[:, _NUMBERS[name]], starts).tolist() if len(starts) else []
        for name in names
    ]
    if metric == RATE:
        return [rate_of(*pair) for pair in zip(*columns, strict=True)]
    values: Sequence[Number] = columns[0]
    return values


def _label(hour: int, end: int, *, period: Period) -> str:
    zone, width = period.zone, period.bar_hours
    if width >= _HOURS_A_DAY:
        return period.describe(hour, end, hourly=False)
    start = describe_hour(hour, zone=zone)
    if width == 1:
        return f"{start}{zone.suffix}"
    last = current().formats.hour(end * HOUR_S, zone.rules)
    return _("%(first)s to %(last)s", first=start, last=last) + zone.suffix


def find_best(by_tweet: Ints, metric: str) -> list[int]:
    """Return the indexes of the best Tweets by a metric, the best first; only positive figures.

    Of equal ones, the first comes first.
    """
    if metric == RATE:
        engagements, impressions = (by_tweet[:, _NUMBERS[name]] for name in RATE_OF)
        seen = impressions > 0
        keys = np.where(seen, engagements / np.where(seen, impressions, 1), 0)
    else:
        keys = by_tweet[:, _NUMBERS[metric]]
    order = np.argsort(-keys, kind="stable")[:BEST_SHOWN]
    return [int(index) for index in order if keys[index] > 0]


def make_heat(period: Period, now: Ints) -> Heat | None:
    """Average the engagements by hour of the week; None if too few hours of the week have some.

    The running hour is left out.
    """
    whole = len(now) - int(period.running)
    end_hour = period.start_hour + whole
    hours = np.array(week_hours(period.start_hour, end_hour, zone=period.zone), np.int64)
    seen = np.bincount(hours, minlength=168)
    sums = np.bincount(hours, now[:whole, _NUMBERS["engagements"]], minlength=168)
    averages = np.maximum(sums, 0) / np.maximum(seen, 1)
    if not seen.all() or np.count_nonzero(averages) < _FILLED_MIN:
        return None
    levels = np.ceil(_LEVELS * averages / averages.max()).astype(np.int64)
    best = int(averages.argmax())
    day, hour = divmod(best, _HOURS_A_DAY)
    minute = period.zone.at(end_hour * HOUR_S).minute
    days, starts = current().formats.weekdays(), _hours_of_day(minute)
    return Heat(
        days,
        starts[:-1],
        averages.reshape(7, _HOURS_A_DAY).tolist(),
        levels.reshape(7, _HOURS_A_DAY).tolist(),
        _(
            "%(day)s %(first)s to %(last)s",
            day=days[day],
            first=starts[hour],
            last=starts[hour + 1],
        ),
        float(averages[best]),
    )


def _hours_of_day(minute: int) -> list[str]:
    """Write when the hours of a day begin and end, in a zone that may be half an hour off."""
    starts = (hour * HOUR_S + 60 * minute for hour in range(_HOURS_A_DAY + 1))
    return [current().formats.hour(at_s) for at_s in starts]


@dataclass(frozen=True, slots=True)
class Action:
    """A kind of engagement and its share: of all engagements, and of the largest kind."""

    figure: Figure
    share: float
    length: float


def list_actions(figures: Mapping[str, Figure]) -> list[Action]:
    """List the kinds of engagement that happened, the most frequent first."""
    found = [(int(figures[name].value or 0), figures[name]) for name in _ROLLED_UP]
    found = sorted((each for each in found if each[0] > 0), key=lambda each: -each[0])
    whole = int(figures["engagements"].value or 0)
    most = found[0][0] if found else 0
    return [
        Action(figure, value / whole if whole > 0 else 0, value / most) for value, figure in found
    ]
