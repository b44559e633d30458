"""Comparisons of invented Tweets, for the style guide: every form and state. Pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from openengagement.engagement.types import DAY_S, HOUR_S, format_time, hour_of, utc_datetime
from openengagement.portal.chart_figures import shape_chart
from openengagement.portal.chart_views import ChartView, describe_chart
from openengagement.portal.series import RATE, ChartQuery, read_chart_query
from openengagement.portal.zones import UTC_ZONE

_DAYS: Final = {"start": "2026-11-01", "end": "2026-11-07"}  # any: they only choose the endpoint
# Name of the state -> number of Tweets, length in hours, and parameters of the chart.
_STATES: Final[Mapping[str, tuple[int, int, Mapping[str, str]]]] = {
    "Lines, the hour still counting": (3, 28, {}),
    "The largest lines and the rest": (8, 28, {}),
    "A rate": (2, 28, {"metric": RATE}),
    "Running totals": (2, 28, {"cumulative": "yes"}),
    "Bars of one Tweet, the day still counting": (1, 7 * 24, _DAYS),
    "Stacked bars": (4, 7 * 24, {**_DAYS, "draw": "stacked"}),
    "Stacked areas": (4, 72, {**_DAYS, "by": "hour", "draw": "stacked"}),
    "Nothing": (2, 28, {"metric": "app_opens"}),
}


def make_comparisons(now_s: float) -> dict[str, ChartView]:
    """Draw every form of a comparison, with its name."""
    return {
        name: _make(tweets, hours, given=given, now_s=now_s)
        for name, (tweets, hours, given) in _STATES.items()
    }


def _make(tweets: int, hours: int, *, given: Mapping[str, str], now_s: float) -> ChartView:
    ids = [str(number) for number in range(1, tweets + 1)]
    query = read_chart_query({"tweet_ids": ",".join(ids), **given}.items())
    chart = shape_chart(query, _answer(query, hours, now_s=now_s))
    names = [f"Tweet {name}" for name in chart.columns]
    return describe_chart(query, chart, names=names, zone=UTC_ZONE, now_s=now_s)


def _answer(query: ChartQuery, hours: int, *, now_s: float) -> dict[str, Any]:
    """Make an answer of the API: counts that rise, and fall again from hour to hour."""
    last = hour_of(now_s)
    starts = [hour * HOUR_S for hour in range(last - hours + 1, last + 1)]
    if not query.hourly:
        starts = sorted({start - start % DAY_S for start in starts})
    lines = {tweet: _lines(query, int(tweet), length=len(starts)) for tweet in query.tweet_ids}
    sums = {
        tweet: {name: sum(line) for name, line in each.items()} for tweet, each in lines.items()
    }
    return {
        "start": format_time(starts[0]),
        "end": format_time(now_s),
        "chart": {tweet: _by_time(starts, each, query=query) for tweet, each in lines.items()},
        "ranking": sums,
        "total": {name: sum(each[name] for each in sums.values()) for name in query.types},
    }


def _lines(query: ChartQuery, tweet: int, *, length: int) -> dict[str, list[int]]:
    """Make the counts of a Tweet. Of a rate, the second count is the greater one."""
    return {
        name: [_count(name, tweet, at=at) * (1 + 20 * place) for at in range(length)]
        for place, name in enumerate(query.types)
    }


def _count(metric: str, tweet: int, *, at: int) -> int:
    return 0 if metric == "app_opens" else 400 // tweet + 97 * ((at * (tweet + 2)) % 7)


def _by_time(
    starts: Sequence[int], lines: Mapping[str, Sequence[int]], *, query: ChartQuery
) -> dict[str, Any]:
    """Nest counts as the API does: by day, or by day and hour."""
    tree: dict[str, Any] = {name: {} for name in lines}
    for name, line in lines.items():
        for start, count in zip(starts, line, strict=True):
            at = utc_datetime(start)
            day = at.date().isoformat()
            if query.hourly:
                tree[name].setdefault(day, {})[f"{at:%H}"] = str(count)
            else:
                tree[name][day] = str(count)
    return tree
