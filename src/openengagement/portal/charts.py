"""Charts of an author's Tweets: one metric over the last 28 hours, or over up to 28 days."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from openengagement.errors import ApiError
from openengagement.language.current import gettext as _
from openengagement.language.current import ngettext
from openengagement.portal.api_figures import ApiFigures
from openengagement.portal.chart_figures import (
    Chart,
    build_request,
    chart_table,
    fit_zone,
    shape_chart,
)
from openengagement.portal.chart_views import describe_chart
from openengagement.portal.csv_files import csv_response
from openengagement.portal.figure_faults import find_figure_faults
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import NO_FAULTS, PageRenderer, redirect
from openengagement.portal.series import (
    LABELS,
    RATE,
    TIMED_TYPES,
    ChartQuery,
    format_number,
    read_chart_query,
)
from openengagement.portal.tweet_views import TweetView, TweetViews
from openengagement.portal.zones import Zone, describe_other, read_zone
from openengagement.stores.contract import TweetStore

_PATH: Final = "/explore/compare"
SCRIPTS: Final = (
    "page.js",
    "vendor/uPlot.iife.min.js",
    "chart_parts.js",
    "chart_options.js",
    "chart.js",
)


class Charts:
    """Handlers of `/explore/compare`."""

    def __init__(
        self,
        renderer: PageRenderer,
        figures: ApiFigures,
        *,
        tweets: TweetStore,
        views: TweetViews,
        now_s: Callable[[], float],
    ) -> None:
        self._renderer = renderer
        self._figures = figures
        self._tweets = tweets
        self._views = views
        self._now_s = now_s

    def show(self, request: PageRequest) -> Response:
        """`GET /explore/compare`."""
        query = read_chart_query(request.query_pairs)
        if not query.tweet_ids:
            return redirect(f"{request.base}/explore?pick=none")
        zone = self._fit_zone(request, query)
        try:
            chart = self._read_chart(query, request.author_id, zone=zone)
        except ApiError as error:
            return self._refuse(request, query, error=error)
        described = self._describe(chart)
        names, now_s = _name_columns(chart, described), self._now_s()
        context = {
            "zone": zone,
            "other_zone": describe_other(zone, query.parameters(), path=request.base + _PATH),
            "scripts": SCRIPTS,
            "pictures": True,
            "faults": NO_FAULTS,
            "chart": chart,
            "view": describe_chart(query, chart, names=names, zone=zone, now_s=now_s),
            "too_old": [described[tweet_id].name for tweet_id in chart.too_old],
            "file": request.file_name(_file_name(query, chart)),
            "window_s": [chart.window_start_s, chart.window_end_s],
            "ranking": _rank(chart, described),
            "csv": f"{request.base}{_PATH}.csv?{urlencode(query.parameters())}",
            "request": self._figures.describe_request(
                query.endpoint, self._build_request(query, zone), origin=request.origin
            ),
        }
        return self._renderer.render(
            request, "explore_compare", context=self._controls(request, query) | context
        )

    def export(self, request: PageRequest) -> Response:
        """`GET /explore/compare.csv`: the figures of the chart as a file."""
        query = read_chart_query(request.query_pairs)
        if not query.tweet_ids:
            return redirect(f"{request.base}/explore")
        zone = self._fit_zone(request, query)
        try:
            chart = self._read_chart(query, request.author_id, zone=zone)
        except ApiError as error:
            return self._refuse(request, query, error=error)
        name = f"{_file_name(query, chart)}.csv"
        names = _name_columns(chart, self._describe(chart), linked=True)
        header, rows = chart_table(query, chart, names=names, zone=zone)
        return csv_response(request.file_name(name), header, rows=rows)

    def _fit_zone(self, request: PageRequest, query: ChartQuery) -> Zone:
        zone = read_zone(request.query, request.cookies)
        return fit_zone(query, zone, now_s=self._now_s())

    def _build_request(self, query: ChartQuery, zone: Zone) -> dict[str, Any]:
        return build_request(query, now_s=self._now_s(), zone=zone)

    def _read_chart(self, query: ChartQuery, account_id: int, *, zone: Zone) -> Chart:
        request = self._build_request(query, zone)
        answer = self._figures.read(query.endpoint, request, account_id=account_id)
        return shape_chart(query, answer, zone=zone)

    def _refuse(self, request: PageRequest, query: ChartQuery, *, error: ApiError) -> Response:
        """Show the page with what is wrong instead of a chart. The form keeps its values."""
        protected = self._figures.is_protected(request.author_id)
        context = {"scripts": (), "faults": find_figure_faults(error), "protected": protected}
        return self._renderer.render(
            request,
            "explore_compare",
            context=self._controls(request, query) | context,
            status=error.status,
        )

    def _controls(self, request: PageRequest, query: ChartQuery) -> dict[str, Any]:
        """Build the context of the form and of the tabs for common time windows."""
        zone = read_zone(request.query, request.cookies)
        today = zone.at(self._now_s()).date()
        spans = {_("Last 28 hours"): None, _("7 days"): 6, _("28 days"): 27}
        tabs, path = [], request.base + _PATH
        for title, days in spans.items():
            start = (today - timedelta(days)).isoformat() if days else ""
            end = today.isoformat() if days else ""
            link = _link(path, query, start=start, end=end, by="day" if days else "")
            current = (query.start, query.end) == (start, end)
            tabs.append({"title": title, "href": link, "current": current})
        choose = urlencode({"tweet_ids": ",".join(query.tweet_ids)})
        count = len(query.tweet_ids)
        title = ngettext(
            "%(label)s of %(count)s {tweet}",
            "%(label)s of %(count)s {tweets}",
            count,
            label=query.label,
        )
        return {
            "title": request.titled(title, title),
            "query": query,
            "readers_zone": zone,
            "tabs": tabs,
            "metrics": {name: LABELS[name] for name in (*TIMED_TYPES, RATE)},
            "today": today.isoformat(),
            "other_lines": _link(path, query, lines="" if query.every_line else "all"),
            "choose": f"{request.base}/explore?{choose}",
        }

    def _describe(self, chart: Chart) -> dict[str, TweetView]:
        tweets = self._tweets.read_tweets([int(rank.tweet_id) for rank in chart.ranking])
        return self._views.describe([*tweets.values()])


def _link(path: str, query: ChartQuery, **changes: str) -> str:
    """Return the address of a chart with changes."""
    return f"{path}?{urlencode(query.parameters(**changes))}"


def _file_name(query: ChartQuery, chart: Chart) -> str:
    first, last = (chart.times.labels[at][:10] for at in (0, -1))
    return f"{query.metric}-{first}-{last}"


def _name_columns(
    chart: Chart, described: Mapping[str, TweetView], *, linked: bool = False
) -> list[str]:
    """Name the columns of a chart. If `linked`, add the link of each Tweet, or its id."""
    names = []
    for column in chart.columns:
        if (tweet := described.get(column)) is None:
            names.append(column)
            continue
        # Spreadsheets read a bare id as a number and keep only 15 of its digits.
        numbered = _("{Tweet} %(id)s", id=column)
        link = tweet.url or (numbered if tweet.line else "")
        name = tweet.name if tweet.line else numbered
        names.append(f"{name} {link}".strip() if linked else tweet.name)
    return names


def _rank(chart: Chart, described: Mapping[str, TweetView]) -> list[dict[str, Any]]:
    """List the chart's Tweets by their total in its window."""
    most = max((rank.value or 0 for rank in chart.ranking), default=0)
    return [
        {
            "tweet": described[rank.tweet_id],
            "value": format_number(rank.value),
            "share": max(0, rank.value or 0) / most if most > 0 else 0,
        }
        for rank in chart.ranking
    ]
