"""The style guide: every component in every state. Only the sandbox has this page."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from starlette.responses import Response

from openengagement.engagement.types import TYPE_NAMES
from openengagement.portal.bar_charts import BarChart, draw_bars, draw_spark
from openengagement.portal.charts import SCRIPTS
from openengagement.portal.overview_figures import Heat, make_bars, make_heat, make_values
from openengagement.portal.page_request import PageRequest
from openengagement.portal.periods import Period, list_periods, read_period
from openengagement.portal.rendering import PageRenderer
from openengagement.portal.sample_charts import make_comparisons
from openengagement.portal.series import RATE
from openengagement.portal.tweet_views import TweetView

PATH: Final = "/style-guide"
_COLOURS: Final = (
    *("ink", "ink-soft", "accent", "danger", "edge", "line", "bar", "now", "up", "down", "wash"),
    *(f"hue-{number}" for number in range(6)),
    *(f"h{level}" for level in range(7)),
)
_TYPE: Final = ("meta", "small", "body", "large", "page-title", "title", "headline")
_SPACE: Final = tuple(f"s{number}" for number in range(1, 8))


class StyleGuide:
    """Handler of `/style-guide`."""

    def __init__(self, renderer: PageRenderer, *, now_s: Callable[[], float]) -> None:
        self._renderer = renderer
        self._now_s = now_s

    def show(self, request: PageRequest) -> Response:
        """`GET /style-guide`."""
        now_s = self._now_s()
        month = read_period({}, now_s=now_s, floor_s=0)
        tweet = TweetView("20", int(now_s), "just setting up", "just setting up", "", "", "")
        wordless = replace(tweet, name="20", text="")
        context: dict[str, Any] = {
            "title": "Style guide",
            "scripts": (*SCRIPTS, "heat_map.js"),
            "colours": _COLOURS,
            "type_scale": _TYPE,
            "spaces": _SPACE,
            "charts_shown": _draw_charts(now_s),
            "spark": draw_spark(make_values("favorites", month, hours=_hours(month))),
            "heats": _make_heats(month),
            "comparisons": make_comparisons(now_s),
            "tweets": (tweet, wordless),
            "app": {"owner": "alice", "website": "https://example.com"},
            "period": read_period({"period": "custom"}, now_s=now_s, floor_s=0),
            "periods": list_periods("28d", path="/overview", kept={}),
        }
        return self._renderer.render(request, "style_guide", context=context)


def _draw_charts(now_s: float) -> dict[str, BarChart]:
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


def _make_heats(period: Period) -> dict[str, Heat | None]:
    """Make a heat map with a daily rhythm, one with a single peak, and none for a lack of hours."""
    hours = _hours(period)
    peak, few = np.zeros_like(hours) + 1, np.zeros_like(hours)
    peak[200] = 100
    few[:9] = 1
    return {
        "A daily rhythm": make_heat(period, hours),
        "A single peak": make_heat(period, peak),
        "Too few hours": make_heat(period, few),
    }


def _hours(period: Period) -> np.ndarray:
    """Make counts that rise and fall with the hour of the day, the same on every visit."""
    at = np.arange(period.end_hour - period.start_hour)
    counts = 40 + 30 * np.sin(at * np.pi / 12) + at % 7
    hours = np.zeros((len(at), len(TYPE_NAMES)), np.int64)
    for name, factor in (("impressions", 100), ("engagements", 2), ("favorites", 1)):
        hours[:, TYPE_NAMES.index(name)] = factor * counts + at % (factor + 1)
    return hours
