"""The figures of a chart: the API request behind it, and its series. Pure functions.

Every figure is taken from the API's answer. Only running sums and the engagement rate are computed
here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from typing import Any, Final

from openengagement.engagement.access import ACCESS
from openengagement.engagement.types import (
    DAY_S,
    HOUR_S,
    TYPE_NAMES,
    Endpoint,
    parse_time,
)
from openengagement.http.forms import given_once
from openengagement.language.current import current, gettext_noop, ngettext
from openengagement.language.current import gettext as _

RATE: Final = "engagement_rate"
RATE_OF: Final = ("engagements", "impressions")
# Metric on the wire -> name for people.
_LABELS: Final[Mapping[str, str]] = {
    "impressions": gettext_noop("Impressions"),
    "engagements": gettext_noop("Engagements"),
    "favorites": gettext_noop("{Likes}"),
    "retweets": gettext_noop("{Retweets}"),
    "replies": gettext_noop("{Replies}"),
    "quote_tweets": gettext_noop("{Quotes}"),
    "video_views": gettext_noop("Video views"),
    "media_views": gettext_noop("Media views"),
    "media_engagements": gettext_noop("Media engagements"),
    "url_clicks": gettext_noop("Link clicks"),
    "hashtag_clicks": gettext_noop("Hashtag clicks"),
    "detail_expands": gettext_noop("Detail expands"),
    "permalink_clicks": gettext_noop("Permalink clicks"),
    "app_install_attempts": gettext_noop("App install attempts"),
    "app_opens": gettext_noop("App opens"),
    "email_tweet": gettext_noop("Shares by email"),
    "user_follows": gettext_noop("Follows"),
    "user_profile_clicks": gettext_noop("Profile clicks"),
    RATE: gettext_noop("Engagement rate"),
}


class _Labels(Mapping[str, str]):
    """The names of metrics in the language of the request."""

    def __getitem__(self, metric: str) -> str:
        return current().gettext(_LABELS[metric])

    def __iter__(self) -> Iterator[str]:
        return iter(_LABELS)

    def __len__(self) -> int:
        return len(_LABELS)


LABELS: Final = _Labels()
TOTALS_TYPES: Final = tuple(name for name in TYPE_NAMES if name in ACCESS[Endpoint.TOTALS])
TIMED_TYPES: Final = tuple(name for name in TYPE_NAMES if name in ACCESS[Endpoint.HISTORICAL])
LINES_MAX: Final = 6  # of a chart, unless every line is asked for
CHART_GROUPINGS: Final = 3  # how many a chart's request has
_TOO_OLD_FOR_VIEWS: Final = "unsupported_for_video_views_tweet_ids"

Number = int | float | None  # None where no figure is available


@dataclass(frozen=True, slots=True)
class ChartQuery:
    """The parameters of a chart, as read from its URL. The API validates them.

    Without `start` and `end`, the chart shows the last 28 hours.
    """

    tweet_ids: tuple[str, ...]
    metric: str
    start: str
    end: str
    hourly: bool
    per_tweet: bool  # one line per Tweet, not one for all of them together
    cumulative: bool
    stacked: bool = False  # areas on each other, not lines; `can_stack` tells whether they fit
    every_line: bool = False  # not the largest ones and the sum of the rest
    zone: str = ""  # of the axis: UTC, or empty for the reader's

    @property
    def can_stack(self) -> bool:
        """Whether the lines add up to a whole: rates do not."""
        return self.metric != RATE and self.per_tweet and len(self.tweet_ids) > 1

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint.HISTORICAL if self.start or self.end else Endpoint.LAST_28_HOURS

    @property
    def types(self) -> tuple[str, ...]:
        return RATE_OF if self.metric == RATE else (self.metric,)

    @property
    def label(self) -> str:
        return LABELS.get(self.metric, self.metric)

    def parameters(self, **changes: str) -> dict[str, str]:
        """Return the parameters of this chart's URL. A change to empty text removes a parameter."""
        parameters = {
            "tweet_ids": ",".join(self.tweet_ids),
            "metric": self.metric,
            "start": self.start,
            "end": self.end,
            "by": "hour" if self.hourly else "day",
            "show": "each" if self.per_tweet else "together",
            "cumulative": "yes" if self.cumulative else "",
            "draw": "stacked" if self.stacked else "",
            "lines": "all" if self.every_line else "",
            "zone": self.zone,
        }
        return {name: value for name, value in (parameters | changes).items() if value}


def read_chart_query(pairs: Iterable[tuple[str, str]]) -> ChartQuery:
    """Read the parameters of a chart. `tweet_ids` may be repeated, hold commas, or both."""
    pairs = list(pairs)
    given = given_once(pairs)
    start, end = given.get("start", "").strip(), given.get("end", "").strip()
    return ChartQuery(
        read_tweet_ids(pairs),
        given.get("metric") or "impressions",
        start,
        end,
        hourly=given.get("by") == "hour" or not (start or end),
        per_tweet=given.get("show") != "together",
        cumulative=given.get("cumulative") == "yes",
        stacked=given.get("draw") == "stacked",
        every_line=given.get("lines") == "all",
        zone="UTC" if given.get("zone") == "UTC" else "",
    )


def read_tweet_ids(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """List the Tweet ids of a URL's query, without repeats. The API validates them."""
    lists = (value.split(",") for name, value in pairs if name == "tweet_ids")
    return tuple(dict.fromkeys(text.strip() for ids in lists for text in ids if text.strip()))


def build_request(query: ChartQuery, *, today: date) -> dict[str, Any]:
    """Build the API request behind a chart. `today` is the present day in UTC."""
    times = ["engagement.type", "engagement.day", *(["engagement.hour"] if query.hourly else [])]
    request: dict[str, Any] = {
        "tweet_ids": list(query.tweet_ids),
        "engagement_types": list(query.types),
        "groupings": {
            "chart": {"group_by": ["tweet.id", *times] if query.per_tweet else times},
            "ranking": {"group_by": ["tweet.id", "engagement.type"]},
            "total": {"group_by": ["engagement.type"]},
        },
    }
    if query.start:
        request["start"] = query.start
    if end := _parse_end(query.end, today):
        request["end"] = end
    return request


def _parse_end(last: str, today: date) -> str:
    """Return the API's `end`, which is exclusive, for the last day that a person wants to see.

    Today needs no `end`, because the API ends at the present by default. Text that is not a date
    goes to the API unchanged.
    """
    try:
        day = date.fromisoformat(last)
        return "" if day == today else (day + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError):
        return last


@dataclass(frozen=True, slots=True)
class Rank:
    """A Tweet of a chart and its total."""

    tweet_id: str
    value: Number


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart's figures: one row per time, with one number per column.

    `times` are days or hours in UTC, `2026-11-21` or `2026-11-21 09:00`. `start_s` is the first of
    them in Unix seconds, and `step_s` their distance. The window is that of the API's answer.
    `unavailable`, `too_old` and `foreign` are ids; a foreign Tweet is somebody else's.
    """

    window_start_s: float
    window_end_s: float
    start_s: int
    step_s: int
    columns: list[str]
    times: list[str]
    rows: list[tuple[Number, ...]]
    ranking: list[Rank]
    total: Number
    unavailable: list[str]
    too_old: list[str]
    foreign: list[str]


def shape_chart(query: ChartQuery, answer: Mapping[str, Any]) -> Chart:
    """Build a chart from the API's answer to `build_request`."""
    too_old = set(answer.get(_TOO_OLD_FOR_VIEWS, ()))
    unavailable = list(answer.get("unavailable_tweet_ids", ()))
    trees = answer["chart"] if query.per_tweet else {"": answer["chart"]}
    times = _read_times(next(iter(trees.values()))[query.types[0]], hourly=query.hourly)
    columns = [
        [None] * len(times) if name in too_old else _read_line(query, tree)
        for name, tree in trees.items()
    ]
    ranking = [
        Rank(tweet_id, None if tweet_id in too_old else _fold(query, counts))
        for tweet_id, counts in answer["ranking"].items()
    ]
    first = f"{times[0].replace(' ', 'T')}:00Z" if query.hourly else times[0]
    together = _together(len(ranking)) if len(ranking) > 1 else ranking[0].tweet_id
    return Chart(
        window_start_s=parse_time(answer["start"]),
        window_end_s=parse_time(answer["end"]),
        start_s=int(parse_time(first)),
        step_s=HOUR_S if query.hourly else DAY_S,
        columns=[name or together for name in trees],
        times=times,
        rows=list(zip(*columns, strict=True)),
        ranking=sort_by_number(ranking, [rank.value for rank in ranking]),
        total=_fold(query, answer["total"]),
        unavailable=unavailable,
        too_old=sorted(too_old),
        foreign=[
            each for each in query.tweet_ids if each not in {*answer["ranking"], *unavailable}
        ],
    )


def _together(count: int) -> str:
    return ngettext("%(count)s {tweet}", "All %(count)s {tweets} together", count)


def _read_times(days: Mapping[str, Any], *, hourly: bool) -> list[str]:
    if not hourly:
        return list(days)
    return [f"{day} {hour}:00" for day, hours in days.items() for hour in hours]


def _read_line(query: ChartQuery, tree: Mapping[str, Any]) -> list[Number]:
    """Read the numbers of a column in the order of time."""
    lines: list[Iterable[int]] = []
    for name in query.types:
        days = tree[name].values()
        texts = (text for hours in days for text in hours.values()) if query.hourly else days
        counts = map(int, texts)
        lines.append(accumulate(counts) if query.cumulative else counts)
    if query.metric == RATE:
        return [rate_of(*pair) for pair in zip(*lines, strict=True)]
    return list(lines[0])


def _fold(query: ChartQuery, counts: Mapping[str, str]) -> Number:
    numbers = [int(counts[name]) for name in query.types]
    return rate_of(*numbers) if query.metric == RATE else numbers[0]


def rate_of(engagements: Number, impressions: Number) -> float | None:
    """Return engagements divided by impressions; None without impressions."""
    if engagements is None or impressions is None or impressions <= 0:
        return None
    return engagements / impressions


def sort_by_number(
    items: Sequence[Any], keys: Sequence[Number], *, ascending: bool = False
) -> list[Any]:
    """Sort by numbers, the greatest first. Items without a number come last in both directions."""
    known = [(key, item) for key, item in zip(keys, items, strict=True) if key is not None]
    known.sort(key=lambda pair: pair[0], reverse=not ascending)
    unknown = [item for key, item in zip(keys, items, strict=True) if key is None]
    return [item for _, item in known] + unknown


def format_number(value: Number) -> str:
    """Format a number for people: a rate in percent, a missing number as a dash."""
    if value is None:
        return "—"
    formats = current().formats
    return formats.percent(value) if isinstance(value, float) else formats.number(value)


def chart_table(
    query: ChartQuery, chart: Chart, *, names: Sequence[str]
) -> tuple[list[str], list[list[object]]]:
    """Return the header and the rows of a chart's CSV file. `names` are those of the columns."""
    unit = _("hour (UTC)") if query.hourly else _("day (UTC)")
    header = [unit, *(f"{query.metric}: {name}" for name in names)]
    rows: list[list[object]] = [
        [time, *(float(f"{value:.6g}") if isinstance(value, float) else value for value in row)]
        for time, row in zip(chart.times, chart.rows, strict=True)
    ]
    return header, rows
