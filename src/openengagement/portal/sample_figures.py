"""Charts and heat maps of invented counts, for the style guide. Pure functions."""

import numpy as np

from openengagement.engagement.counters import Ints
from openengagement.engagement.types import TYPE_NAMES
from openengagement.portal.bar_charts import BarChart, draw_bars, draw_spark
from openengagement.portal.overview_figures import Heat, make_bars, make_heat, make_values
from openengagement.portal.periods import Period, read_period
from openengagement.portal.series import RATE


def make_spark(now_s: float) -> str:
    """Draw a sparkline."""
    month = read_period({}, now_s=now_s, floor_s=0)
    return draw_spark(make_values("favorites", month, hours=_hours(month)))


def make_charts(now_s: float) -> dict[str, BarChart]:
    """Draw every kind of chart of the overview."""

    def draw(name: str, metric: str) -> BarChart:
        period = read_period({"period": name}, now_s=now_s, floor_s=0)
        hours = _hours(period)
        bars = make_bars(metric, period, now=hours, before=hours // 2)
        return draw_bars(bars, period, is_rate=metric == RATE)

    return {
        "Bars of hours": draw("28h", "favorites"),
        "Bars of days": draw("28d", "favorites"),
        "Many bars": draw("90d", "favorites"),
        "A rate": draw("28d", RATE),
    }


def make_heats(now_s: float) -> dict[str, Heat | None]:
    """Make a heat map with a daily rhythm, one with a single peak, and none for a lack of hours."""
    period = read_period({}, now_s=now_s, floor_s=0)
    hours = _hours(period)
    peak, few = np.zeros_like(hours) + 1, np.zeros_like(hours)
    peak[200] = 100
    few[:9] = 1
    return {
        "A daily rhythm": make_heat(period, hours),
        "A single peak": make_heat(period, peak),
        "Too few hours": make_heat(period, few),
    }


def _hours(period: Period) -> Ints:
    """Make counts that rise and fall with the hour of the day, the same on every visit."""
    at = np.arange(period.end_hour - period.start_hour)
    counts = 40 + 30 * np.sin(at * np.pi / 12) + at % 7
    hours = np.zeros((len(at), len(TYPE_NAMES)), np.int64)
    for name, factor in (("impressions", 100), ("engagements", 2), ("favorites", 1)):
        hours[:, TYPE_NAMES.index(name)] = factor * counts + at % (factor + 1)
    return hours
