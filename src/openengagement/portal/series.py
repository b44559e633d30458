"""The metrics of charts and tables, their numbers, and what a chart asks for. Pure functions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from openengagement.engagement.access import ACCESS
from openengagement.engagement.types import TYPE_NAMES, Endpoint
from openengagement.http.forms import given_once
from openengagement.language.current import current, gettext_noop

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
_ZONE_LENGTH_MAX: Final = 99

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
    stacked: bool = False  # on each other, not lines; `can_stack` tells whether that fits
    every_line: bool = False  # not the largest ones and the sum of the rest
    zone: str = ""  # chosen instead of the reader's

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
        zone=given.get("zone", "")[:_ZONE_LENGTH_MAX],
    )


def read_tweet_ids(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """List the Tweet ids of a URL's query, without repeats. The API validates them."""
    lists = (value.split(",") for name, value in pairs if name == "tweet_ids")
    return tuple(dict.fromkeys(text.strip() for ids in lists for text in ids if text.strip()))


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
