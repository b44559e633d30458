"""The overview of an account: how all of its Tweets did in a period, and in the one before."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from openengagement.engagement.types import HOUR_S, format_time
from openengagement.errors import ApiError
from openengagement.language.current import gettext as _
from openengagement.portal.account_figures import AccountFigures, AccountSums
from openengagement.portal.bar_charts import draw_bars, draw_spark
from openengagement.portal.csv_files import csv_response
from openengagement.portal.figure_faults import NOT_NOW
from openengagement.portal.overview_figures import (
    MAIN,
    METRICS,
    find_best,
    list_actions,
    make_bars,
    make_figures,
    make_heat,
    make_values,
    value_of,
)
from openengagement.portal.page_request import PageRequest
from openengagement.portal.periods import (
    CUSTOM,
    DEFAULT,
    Period,
    describe_until,
    list_periods,
    read_period,
)
from openengagement.portal.rendering import PageRenderer, Refusal
from openengagement.portal.series import LABELS, RATE, format_number
from openengagement.portal.tweet_views import TweetViews
from openengagement.portal.zones import describe_other, read_zone

PATH: Final = "/overview"
_CHART_SPAN: Final = timedelta(days=27)  # from the first day to the last one
_HOURLY_SPAN: Final = timedelta(days=7)
_SIDE: Final = ("favorites", "retweets", RATE)  # beside the metric that ranks the best Tweets


class Overview:
    """Handlers of `/overview`."""

    def __init__(
        self, renderer: PageRenderer, figures: AccountFigures, *, views: TweetViews
    ) -> None:
        self._renderer = renderer
        self._figures = figures
        self._views = views

    def show(self, request: PageRequest) -> Response:
        """`GET /overview`."""
        period = self._read_period(request)
        view, path = _kept(request.query, period), request.base + PATH
        context: dict[str, Any] = {
            "title": request.titled(_("Overview"), _("Overview")),
            "scripts": ("page.js", "overview.js", "heat_map.js"),
            "pictures": True,
            **_controls(view, period, path=path),
        }
        if self._figures.is_protected(request.author_id):
            return self._render(request, {**context, "state": "protected"})
        try:
            sums = self._figures.read(request.author_id, period)
        except (ApiError, OverflowError) as error:
            return self._refuse(request, error)
        if not sums.tweets:
            return self._render(request, {**context, "state": "empty"})
        until = describe_until(self._figures.now_s(), period.zone)
        more = {"state": "figures", "counted_until": until}
        described = self._describe(view, period, sums=sums, path=path)
        return self._render(request, context | more | described)

    def export(self, request: PageRequest) -> Response:
        """`GET /overview.csv`: every metric of the period, by the parts of the chart."""
        period = self._read_period(request)
        if self._figures.is_protected(request.author_id):
            return self.show(request)
        try:
            sums = self._figures.read(request.author_id, period)
        except (ApiError, OverflowError) as error:
            return self._refuse(request, error)
        header = [_("from (UTC)"), *(LABELS[name] for name in METRICS)]
        first, last = (
            period.zone.at(hour * HOUR_S).date()
            for hour in (period.start_hour, period.end_hour - 1)
        )
        name = f"overview-{first}-{last}.csv"
        return csv_response(request.file_name(name), header, rows=_lines(period, sums))

    def _read_period(self, request: PageRequest) -> Period:
        figures = self._figures
        zone = read_zone(request.query, request.cookies)
        return read_period(request.query, now_s=figures.now_s(), floor_s=figures.floor_s, zone=zone)

    def _describe(
        self, view: Mapping[str, str], period: Period, *, sums: AccountSums, path: str
    ) -> dict[str, Any]:
        """Build the context of the figures."""
        metric, ranked_by = _metric(view, "metric"), _metric(view, "by")
        figures = make_figures(sums.by_hour, sums.before)
        bars = make_bars(metric, period, now=sums.by_hour, before=sums.before)
        start_s, end_s = period.start_hour * HOUR_S, period.end_hour * HOUR_S
        rest = [figures[name] for name in METRICS if name not in MAIN]
        return {
            "tweets": len(sums.tweets),
            "more": sums.more,
            "published": sum(start_s <= tweet.created_at_s < end_s for tweet in sums.tweets),
            "headline": figures[metric],
            "chart": draw_bars(bars, period, is_rate=metric == RATE),
            "ledger": [
                {
                    "figure": figures[name],
                    "spark": draw_spark(make_values(name, period, hours=sums.by_hour)),
                    "href": _link(path, view, metric=name),
                    "current": name == metric,
                }
                for name in MAIN
            ],
            "rest": [each for each in rest if each.value or each.before],
            "uncounted": [each.label for each in rest if not each.value and not each.before],
            "best": self._rank(sums, ranked_by, days=_chart_days(view, period)),
            "ranked_by": ranked_by,
            "list_query": urlencode({**_list_view(view, period), "sort": ranked_by}),
            "side": [(name, LABELS[name]) for name in _SIDE if name != ranked_by],
            "metrics": {name: LABELS[name] for name in METRICS},
            "heat": make_heat(period, sums.by_hour),
            "actions": list_actions(figures),
            "engagements": figures["engagements"],
            "csv": f"{path}.csv?{urlencode(view)}",
        }

    def _rank(
        self, sums: AccountSums, metric: str, *, days: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """Describe the best Tweets of the period by a metric. `days` are those of their charts."""
        found = find_best(sums.by_tweet, metric)
        described = self._views.describe([sums.tweets[at] for at in found])
        values = [value_of(sums.by_tweet[at], metric) or 0 for at in found]
        return [
            {
                "tweet": tweet,
                "value": value,
                "share": value / values[0],
                "chart": urlencode({"tweet_ids": tweet.tweet_id, "metric": metric, **days}),
                "side": {name: value_of(sums.by_tweet[at], name) for name in _SIDE},
            }
            for tweet, value, at in zip(described.values(), values, found, strict=True)
        ]

    def _render(self, request: PageRequest, context: Mapping[str, Any]) -> Response:
        status = 400 if context["period"].faults else 200
        shown = {"number": format_number, **context}
        return self._renderer.render(request, "overview", context=shown, status=status)

    def _refuse(self, request: PageRequest, error: ApiError | OverflowError) -> Response:
        heading = _("The figures cannot be shown now")
        if isinstance(error, OverflowError):
            text = _("A sum is too large for this server.")
            return self._renderer.refuse(request, Refusal(500, heading, text))
        refusal = Refusal(error.status, heading, NOT_NOW)
        return self._renderer.refuse(request, refusal)


def _metric(view: Mapping[str, str], name: str) -> str:
    given = view.get(name, "")
    return given if given in METRICS else METRICS[0]


def _kept(query: Mapping[str, str], period: Period) -> dict[str, str]:
    """Return the parameters of a view that its links keep, without a period that has faults."""
    names = ("metric", "by", "zone", *(() if period.faults else ("period", "first", "last")))
    return {name: query[name][:40] for name in names if query.get(name)}


def _link(path: str, view: Mapping[str, str], **changes: str) -> str:
    """Return the address of a view with changes."""
    return f"{path}?{urlencode({**view, **changes})}"


def _list_view(view: Mapping[str, str], period: Period) -> dict[str, str]:
    """Return the parameters of the list of Tweets over the same period."""
    kept = {name: view[name] for name in ("first", "last", "zone") if name in view}
    return {"period": DEFAULT if period.faults else period.name, **kept}


def _chart_days(view: Mapping[str, str], period: Period) -> dict[str, str]:
    """Return the parameters of a chart over a period, or over its last 28 days."""
    zone = {"zone": view["zone"]} if "zone" in view else {}
    if period.name == "28h":
        return zone
    last = period.zone.at((period.end_hour - 1) * HOUR_S).date()  # as in `describe_span`
    first = max(period.zone.at(period.start_hour * HOUR_S).date(), last - _CHART_SPAN)
    by = "hour" if last - first < _HOURLY_SPAN else "day"
    return {"start": first.isoformat(), "end": last.isoformat(), "by": by, **zone}


def _controls(view: Mapping[str, str], period: Period, *, path: str) -> dict[str, Any]:
    """Build the context of the switch between periods."""
    kept = {name: value for name, value in view.items() if name in {"metric", "by", "zone"}}
    days = {name: value for name, value in view.items() if name not in kept}
    return {
        "period": period,
        "periods": list_periods(period.name, path=path, kept=kept),
        "is_custom": period.name == CUSTOM,
        "kept": kept,
        "kept_period": days,
        "zone": period.zone,
        "other_zone": describe_other(period.zone, view, path=path),
    }


def _lines(period: Period, sums: AccountSums) -> Iterator[Sequence[object]]:
    """Yield the rows of the file."""
    series = [make_values(name, period, hours=sums.by_hour) for name in METRICS]
    for hour, *values in zip(period.edges, *series, strict=False):
        numbers = [float(f"{each:.6g}") if isinstance(each, float) else each for each in values]
        yield [format_time(hour * HOUR_S), *numbers]
