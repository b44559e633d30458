"""The basic types of the domain: endpoints, engagement types, ids, times and hour buckets."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, NamedTuple, cast

import msgspec

HOUR_S: Final = 3600
DAY_S: Final = 86_400
ID_MAX: Final = 2**63 - 1
_PLAIN_IDS: Final = msgspec.json.Decoder(list[Annotated[int, msgspec.Meta(gt=0, le=ID_MAX)]])
# A snowflake id contains its time of creation, in milliseconds since this one.
SNOWFLAKE_EPOCH_MS: Final = 1_288_834_974_657
SNOWFLAKE_SHIFT: Final = 22  # bits below the milliseconds


class Endpoint(StrEnum):
    """An endpoint of the API (api.md 1)."""

    TOTALS = "totals"
    LAST_28_HOURS = "28hr"
    HISTORICAL = "historical"

    @property
    def timed(self) -> bool:
        """Whether the endpoint answers by the hour, over a window."""
        return self is not Endpoint.TOTALS


class Dimension(StrEnum):
    """A dimension that an answer can be grouped by (api.md 1.2)."""

    TWEET = "tweet.id"
    TYPE = "engagement.type"
    DAY = "engagement.day"
    HOUR = "engagement.hour"


@dataclass(frozen=True, slots=True)
class EngagementType:
    """A metric. An app alone may read the totals of a `public` one.

    If it `rolls_up`, its events count as `engagements` too.
    """

    name: str
    public: bool = False
    rolls_up: bool = True


# api.md 2.1. Stores keep the index of a type in this list, so only append to it.
ENGAGEMENT_TYPES: Final = (
    EngagementType("impressions", rolls_up=False),
    EngagementType("engagements", rolls_up=False),
    EngagementType("favorites", public=True),
    EngagementType("retweets", public=True),
    EngagementType("replies", public=True),
    EngagementType("quote_tweets", public=True),
    EngagementType("video_views", public=True, rolls_up=False),
    EngagementType("media_views", rolls_up=False),
    EngagementType("media_engagements"),
    EngagementType("url_clicks"),
    EngagementType("hashtag_clicks"),
    EngagementType("detail_expands"),
    EngagementType("permalink_clicks"),
    EngagementType("app_install_attempts"),
    EngagementType("app_opens"),
    EngagementType("email_tweet"),
    EngagementType("user_follows"),
    EngagementType("user_profile_clicks"),
)
TYPE_NAMES: Final = tuple(metric.name for metric in ENGAGEMENT_TYPES)

# The types of events: every metric but the derived one, and interactions without a metric.
OTHER_ENGAGEMENTS: Final = "other_engagements"
EVENT_TYPES: Final = (*(name for name in TYPE_NAMES if name != "engagements"), OTHER_ENGAGEMENTS)


class Tweet(NamedTuple):
    """A registered Tweet. `created_at_s` is in Unix seconds."""

    tweet_id: int
    author_id: int
    created_at_s: int
    deleted: bool


def parse_decimal(text: str, *, maximum: int) -> int | None:
    """Parse a whole number from 0 to `maximum`, in ASCII digits. Return None for any other text."""
    # Check the length before `int` runs: a very long text must cost nothing.
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(maximum))):
        return None
    number = int(text)
    return number if number <= maximum else None


def parse_id(value: str | int) -> int:
    """Parse a positive 63-bit id from its wire form, a decimal string or an integer.

    Raises:
        ValueError: any other value.
    """
    number = parse_decimal(value, maximum=ID_MAX) if isinstance(value, str) else value
    if number is None or not 0 < number <= ID_MAX:
        raise ValueError("is not a decimal number of at most 63 bits")
    return number


def parse_plain_ids(values: Sequence[str | int]) -> tuple[int, ...] | None:
    """Parse many ids together, which is faster than `parse_id`, and drop repeats.

    Return None if a value is not a string, or not a valid id.
    """
    texts = cast("Sequence[str]", values)
    try:
        digits = "".join(texts)
        # The test of bytes is faster: that of text looks each character up in Unicode's tables.
        if not (digits.isascii() and digits.encode().isdigit()):
            return None
        ids = _PLAIN_IDS.decode(f"[{','.join(texts)}]")
    except (TypeError, msgspec.DecodeError):
        return None
    return tuple(dict.fromkeys(ids))


def hour_of(time_s: float) -> int:
    """Return the hour bucket of a Unix time: whole hours since 1970."""
    return int(time_s // HOUR_S)


def ceil_hour(time_s: float) -> int:
    """Return the first hour bucket that starts at or after a Unix time."""
    return int(-(-time_s // HOUR_S))


_FRACTION_MIN: Final = 1e-6
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:?\d\d))?", re.ASCII
)


def parse_time(text: str) -> float:
    """Parse a wire time (api.md 1.3) to Unix seconds.

    The form is `2015-07-01T12:24:00Z`, also with a fraction or an offset. A date alone means its
    midnight in UTC.

    Raises:
        ValueError: the text has another form, or the time does not exist.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("is not a time such as 2015-07-01T12:24:00Z or 2015-07-01")
    day, time, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time or '00:00:00'}{zone or 'Z'}")
        whole = int(moment.astimezone(UTC).timestamp())
    except (ValueError, OverflowError):
        raise ValueError("is not a time that exists") from None
    if not fraction or not int(fraction[1:]):
        return whole
    # A float of today's seconds is exact to microseconds. A finer fraction would round to 0 or 1.
    return whole + min(max(float(fraction), _FRACTION_MIN), 1 - _FRACTION_MIN)


def utc_datetime(time_s: float) -> datetime:
    """Convert Unix seconds to a datetime in UTC."""
    return datetime.fromtimestamp(time_s, UTC)


def format_time(time_s: float) -> str:
    """Format Unix seconds as `YYYY-MM-DDTHH:MM:SSZ`, without a fraction."""
    return utc_datetime(int(time_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


def snowflake(time_s: float) -> int:
    """Return the first snowflake id of a time in Unix seconds."""
    return (int(time_s * 1000) - SNOWFLAKE_EPOCH_MS) << SNOWFLAKE_SHIFT
