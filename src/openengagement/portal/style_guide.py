"""The style guide: every component in every state. Only the sandbox has this page."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from starlette.responses import Response

from openengagement.portal.charts import SCRIPTS
from openengagement.portal.page_request import PageRequest
from openengagement.portal.periods import list_periods, read_period
from openengagement.portal.rendering import PageRenderer
from openengagement.portal.sample_charts import make_comparisons
from openengagement.portal.sample_figures import make_charts, make_heats, make_spark
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
        tweet = TweetView("20", int(now_s), "just setting up", "just setting up", "", "", "")
        wordless = replace(tweet, name="20", text="")
        context: dict[str, Any] = {
            "title": "Style guide",
            "scripts": (*SCRIPTS, "heat_map.js"),
            "colours": _COLOURS,
            "type_scale": _TYPE,
            "spaces": _SPACE,
            "charts_shown": make_charts(now_s),
            "spark": make_spark(now_s),
            "heats": make_heats(now_s),
            "comparisons": make_comparisons(now_s),
            "tweets": (tweet, wordless),
            "app": {"owner": "alice", "website": "https://example.com"},
            "period": read_period({"period": "custom"}, now_s=now_s, floor_s=0),
            "periods": list_periods("28d", path="/overview", kept={}),
        }
        return self._renderer.render(request, "style_guide", context=context)
