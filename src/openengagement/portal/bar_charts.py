"""The geometry of the overview's chart, as its template draws it in SVG. Pure functions.

Positions are in percent of the chart's width and height, so that it fits every screen without a
script. `y` counts from the top.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from openengagement.engagement.types import HOUR_S
from openengagement.language.current import current
from openengagement.language.current import gettext as _
from openengagement.portal.overview_figures import Bar
from openengagement.portal.periods import DAY_HOURS, Period
from openengagement.portal.series import Number, format_number

_LINE_FROM: Final = 40  # bars: from then on, the period before is a line
_TICKS_MAX: Final = 4
_LABELS: Final = 5
_RATE_UNIT: Final = 0.0001  # ticks of rates are multiples of it
_FILLED: Final = 0.68  # of the width of a bar's place


@dataclass(frozen=True, slots=True)
class Column:
    """A bar and its place. `top_before` is the top of the same part of the period before."""

    bar: Bar
    left: float
    width: float
    middle: float
    top: float
    top_before: float | None
    title: str


@dataclass(frozen=True, slots=True)
class BarChart:
    """A chart. `ticks` are labels of the value axis from top to bottom, evenly spaced.

    `labels` are pairs of the time axis: place and text. If `is_line`, the metric is drawn as the
    path `line`, otherwise as bars. `line_before` is the path of the period before, empty if each
    bar shows it. Paths are in a square of 100 by 100.
    """

    columns: Sequence[Column]
    ticks: Sequence[str]
    labels: Sequence[tuple[float, str]]
    is_line: bool
    line: str
    line_running: str
    line_before: str

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened."""
        return not any(column.bar.value for column in self.columns)


def draw_bars(bars: Sequence[Bar], period: Period, *, is_rate: bool) -> BarChart:
    """Draw the bars of a period. A rate is a line."""
    slots = max(len(bars), len(period.edges) - 1)
    most = max((each for bar in bars for each in (bar.value, bar.before) if each), default=0)
    step, count = _steps(most, is_rate=is_rate)
    top = step * count
    columns = [_column(bar, place, slots=slots, top=top) for place, bar in enumerate(bars)]
    as_line = len(bars) > _LINE_FROM or is_rate
    done = [column for column in columns if not column.bar.running]
    return BarChart(
        columns=columns,
        ticks=[_tick(step * number, is_rate=is_rate) for number in range(count, -1, -1)],
        labels=_time_labels(bars, slots, period=period),
        is_line=is_rate,
        line=_path([(each.middle, each.top) for each in done if each.bar.value is not None]),
        line_running=_path(
            [(each.middle, each.top) for each in columns[-2:] if each.bar.value is not None]
            if columns and columns[-1].bar.running
            else []
        ),
        line_before=_path(
            [(each.middle, each.top_before) for each in columns if each.top_before is not None]
        )
        if as_line
        else "",
    )


def draw_spark(numbers: Sequence[Number]) -> str:
    """Draw the path of a sparkline in a square of 100 by 100."""
    values = [number or 0 for number in numbers]
    most = max(values, default=0)
    if most <= 0:
        return "M0 98H100"
    step = 100 / max(1, len(values) - 1)
    return _path([(step * at, 98 - 94 * max(0, value) / most) for at, value in enumerate(values)])


def _column(bar: Bar, place: int, *, slots: int, top: float) -> Column:
    slot = 100 / slots
    has_before = bar.before is not None and bar.before > 0
    return Column(
        bar,
        left=round(slot * (place + (1 - _FILLED) / 2), 3),
        width=round(slot * _FILLED, 3),
        middle=round(slot * (place + 0.5), 3),
        top=_height(bar.value, top),
        top_before=_height(bar.before, top) if has_before else None,
        title=_title(bar),
    )


def _title(bar: Bar) -> str:
    value = format_number(bar.value)
    if bar.running:
        value = _("%(value)s so far", value=value)
    if bar.before is not None:
        value = _(
            "%(value)s (period before: %(before)s)", value=value, before=format_number(bar.before)
        )
    return f"{bar.label}: {value}"


def _height(value: Number, top: float) -> float:
    return round(max(0.0, 100 - 100 * max(0, value or 0) / top), 3)


def _steps(most: float, *, is_rate: bool) -> tuple[float, int]:
    """Choose the distance of the ticks, whole for counts, and their number above zero."""
    unit = _RATE_UNIT if is_rate else 1
    least = round(most / unit, 6)
    step = 1
    for tenths in (20, 25, 20) * 20:
        if step * _TICKS_MAX >= least:
            break
        step = step * tenths // 10
    return step * unit, max(1, -int(-least // step))


def _tick(value: float, *, is_rate: bool) -> str:
    formats = current().formats
    return formats.tick(value) if is_rate else formats.compact(int(value))


def _time_labels(bars: Sequence[Bar], slots: int, *, period: Period) -> list[tuple[float, str]]:
    """Label some of the times. Blocks of hours are labelled by their day, at its start."""
    bar_hours = period.bar_hours
    each = DAY_HOURS // bar_hours if 1 < bar_hours < DAY_HOURS else 1
    every = each * -(-slots // (each * _LABELS))
    offset = 0 if each > 1 else (len(bars) - 1) % every
    return [
        (round(100 * (place + 0.5) / slots, 3), _time_label(bar.hour, period))
        for place, bar in enumerate(bars)
        if place % every == offset
    ]


def _time_label(hour: int, period: Period) -> str:
    formats, at_s, rules = current().formats, hour * HOUR_S, period.zone.rules
    return formats.hour(at_s, rules) if period.bar_hours == 1 else formats.short_day(at_s, rules)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "".join(f"{'L' if at else 'M'}{x:.2f} {y:.2f}" for at, (x, y) in enumerate(points))
