"""What a chart shows: a question for the API, and the shape of its answer. Pure.

Every figure comes out of an answer of the API as it is; what is worked out here beyond it are
running sums, and engagements over impressions.
"""

from collections.abc import Iterable, Mapping, Sequence
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
    utc_datetime,
)

RATE: Final = "engagement_rate"
RATE_OF: Final = ("engagements", "impressions")
# What the wire's names mean to people.
LABELS: Final = {
    "impressions": "Impressions",
    "engagements": "Engagements",
    "favorites": "Likes",
    "retweets": "Retweets",
    "replies": "Replies",
    "quote_tweets": "Quote Tweets",
    "video_views": "Video views",
    "media_views": "Media views",
    "media_engagements": "Media engagements",
    "url_clicks": "Link clicks",
    "hashtag_clicks": "Hashtag clicks",
    "detail_expands": "Detail expands",
    "permalink_clicks": "Permalink clicks",
    "app_install_attempts": "App install attempts",
    "app_opens": "App opens",
    "email_tweet": "Shares by email",
    "user_follows": "Follows",
    "user_profile_clicks": "Profile clicks",
    RATE: "Engagement rate",
}
TOTALS_TYPES: Final = tuple(name for name in TYPE_NAMES if name in ACCESS[Endpoint.TOTALS])
TIMED_TYPES: Final = tuple(name for name in TYPE_NAMES if name in ACCESS[Endpoint.HISTORICAL])
CHART_GROUPINGS: Final = 3  # how many a chart's request has
_TOO_OLD_FOR_VIEWS: Final = "unsupported_for_video_views_tweet_ids"

Number = int | float | None  # None where there is nothing to tell


@dataclass(frozen=True, slots=True)
class Question:
    """What a chart is asked for, as it stands in its address; the API judges it.

    Without `start` and `end` it is about the last 28 hours.
    """

    tweet_ids: tuple[str, ...]
    metric: str
    start: str
    end: str
    hourly: bool
    each: bool  # a line for each Tweet, or one for all together
    cumulative: bool

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
        """The query of its address; a change to nothing leaves a parameter out."""
        asked = {
            "tweet_ids": ",".join(self.tweet_ids),
            "metric": self.metric,
            "start": self.start,
            "end": self.end,
            "by": "hour" if self.hourly else "day",
            "show": "each" if self.each else "together",
            "cumulative": "yes" if self.cumulative else "",
        }
        return {name: value for name, value in (asked | changes).items() if value}


def read_question(pairs: Iterable[tuple[str, str]]) -> Question:
    """Read an address's query: `tweet_ids` may be repeated, hold commas, or both."""
    every = list(pairs)
    given = dict(every)
    start, end = given.get("start", "").strip(), given.get("end", "").strip()
    return Question(
        read_tweet_ids(every),
        given.get("metric") or "impressions",
        start,
        end,
        hourly=given.get("by") == "hour" or not (start or end),
        each=given.get("show") != "together",
        cumulative=given.get("cumulative") == "yes",
    )


def read_tweet_ids(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The Tweets that a query names, without repeats, whatever they look like."""
    named = (value.split(",") for name, value in pairs if name == "tweet_ids")
    return tuple(dict.fromkeys(each.strip() for ids in named for each in ids if each.strip()))


def build_request(question: Question, *, today: date) -> dict[str, Any]:
    """The API's request behind a chart; `today` is the day in UTC."""
    times = ["engagement.type", "engagement.day", *(["engagement.hour"] if question.hourly else [])]
    request: dict[str, Any] = {
        "tweet_ids": list(question.tweet_ids),
        "engagement_types": list(question.types),
        "groupings": {
            "chart": {"group_by": ["tweet.id", *times] if question.each else times},
            "ranking": {"group_by": ["tweet.id", "engagement.type"]},
            "total": {"group_by": ["engagement.type"]},
        },
    }
    if question.start:
        request["start"] = question.start
    if end := _until(question.end, today):
        request["end"] = end
    return request


def day_of(time_s: float) -> date:
    """Return the UTC day of a Unix time."""
    return utc_datetime(time_s).date()


def _until(last: str, today: date) -> str:
    """The API's `end`, which is left out of the answer, for a last day that people mean to see.

    Today ends now, which is what the API takes when it is told nothing. What is no plain day goes
    to the API as it is.
    """
    try:
        day = date.fromisoformat(last)
        return "" if day == today else (day + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError):
        return last


@dataclass(frozen=True, slots=True)
class Rank:
    """A Tweet's place among those of a chart."""

    tweet_id: str
    value: Number


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart's figures: a row for each time, with a number for each column.

    Times are the API's keys, `2026-11-21` or `2026-11-21 09:00`, in UTC; `start_s` is the first of
    them in Unix seconds, and the next comes `step_s` later.
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
    errors: list[str]


def shape_chart(question: Question, answer: Mapping[str, Any]) -> Chart:
    """The figures of a chart from the API's answer to `build_request`."""
    too_old = set(answer.get(_TOO_OLD_FOR_VIEWS, ()))
    trees = answer["chart"] if question.each else {"": answer["chart"]}
    times = _read_times(next(iter(trees.values()))[question.types[0]], hourly=question.hourly)
    columns = [
        _nothing(len(times)) if name in too_old else _read_line(question, tree)
        for name, tree in trees.items()
    ]
    ranking = [
        Rank(tweet_id, None if tweet_id in too_old else _fold(question, counts))
        for tweet_id, counts in answer["ranking"].items()
    ]
    first = f"{times[0].replace(' ', 'T')}:00Z" if question.hourly else times[0]
    everyone = f"All {len(ranking)} Tweets together" if len(ranking) > 1 else ranking[0].tweet_id
    return Chart(
        window_start_s=parse_time(answer["start"]),
        window_end_s=parse_time(answer["end"]),
        start_s=int(parse_time(first)),
        step_s=HOUR_S if question.hourly else DAY_S,
        columns=[name or everyone for name in trees],
        times=times,
        rows=list(zip(*columns, strict=True)),
        ranking=sort_by(ranking, [rank.value for rank in ranking]),
        total=_fold(question, answer["total"]),
        unavailable=list(answer.get("unavailable_tweet_ids", ())),
        too_old=sorted(too_old),
        errors=list(answer.get("errors", ())),
    )


def _read_times(days: Mapping[str, Any], *, hourly: bool) -> list[str]:
    if not hourly:
        return list(days)
    return [f"{day} {hour}:00" for day, hours in days.items() for hour in hours]


def _read_line(question: Question, tree: Mapping[str, Any]) -> list[Number]:
    """A column's numbers in the order of time, of one Tweet or of all together."""
    lines: list[Iterable[int]] = []
    for name in question.types:
        days = tree[name].values()
        texts = (text for hours in days for text in hours.values()) if question.hourly else days
        counts = map(int, texts)
        lines.append(accumulate(counts) if question.cumulative else counts)
    if question.metric == RATE:
        return [rate_of(*pair) for pair in zip(*lines, strict=True)]
    return list(lines[0])


def _nothing(length: int) -> list[Number]:
    return [None] * length


def _fold(question: Question, counts: Mapping[str, str]) -> Number:
    numbers = [int(counts[name]) for name in question.types]
    return rate_of(*numbers) if question.metric == RATE else numbers[0]


def rate_of(engagements: int | None, impressions: int | None) -> float | None:
    """Engagements over impressions, None where nothing was seen."""
    if engagements is None or impressions is None or impressions <= 0:
        return None
    return engagements / impressions


def sort_by(items: Sequence[Any], keys: Sequence[Number], *, ascending: bool = False) -> list[Any]:
    """Sort by numbers, the greatest first; where there is none comes last either way."""
    told = [(key, item) for key, item in zip(keys, items, strict=True) if key is not None]
    told.sort(key=lambda pair: pair[0], reverse=not ascending)
    untold = [item for key, item in zip(keys, items, strict=True) if key is None]
    return [item for _, item in told] + untold


def show_number(value: Number) -> str:
    """A count with separators, a rate in percent, a dash for nothing."""
    if value is None:
        return "—"
    return f"{value:.2%}" if isinstance(value, float) else f"{value:,}"


def write_csv(question: Question, chart: Chart) -> str:
    """The same figures as CSV (RFC 4180), counts and rates as plain numbers.

    Nothing in it is anybody's own words, and no cell begins as a formula would: headings begin with
    a letter, times with a digit, and what begins with a minus is a number.
    """
    unit = "hour" if question.hourly else "day"
    # An id alone would be a number to a spreadsheet, which keeps 15 digits of it.
    names = [f"Tweet {name}" if name.isdigit() else name for name in chart.columns]
    lines = [[f"{unit} (UTC)", *(f"{question.metric}: {name}" for name in names)]]
    lines += [
        [
            time,
            *(
                "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
                for value in row
            ),
        ]
        for time, row in zip(chart.times, chart.rows, strict=True)
    ]
    return "".join(f"{','.join(line)}\r\n" for line in lines)
