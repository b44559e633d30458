"""Endpoints, engagement types, ids, times, hour buckets: the words all else is said in."""

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
# First millisecond of the ids that carry their time of creation (Twitter's snowflake epoch).
SNOWFLAKE_EPOCH_MS: Final = 1_288_834_974_657


class Endpoint(StrEnum):
    """The three endpoints; `timed` ones answer by the hour over a window (api.md 1)."""

    TOTALS = "totals"
    LAST_28_HOURS = "28hr"
    HISTORICAL = "historical"

    @property
    def timed(self) -> bool:
        return self is not Endpoint.TOTALS


class Dimension(StrEnum):
    """What an answer can be grouped by, in the wire's words (api.md 1.2)."""

    TWEET = "tweet.id"
    TYPE = "engagement.type"
    DAY = "engagement.day"
    HOUR = "engagement.hour"


@dataclass(frozen=True, slots=True)
class EngagementType:
    """One metric: whether anyone may read it, and whether its events roll up into `engagements`."""

    name: str
    public: bool = False
    rolls_up: bool = True


# api.md 2.1. The order is the order of columns in the stores.
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
TYPE_NAMES: Final = tuple(each.name for each in ENGAGEMENT_TYPES)
BY_NAME: Final = {each.name: each for each in ENGAGEMENT_TYPES}

# What an event may be: every metric but the derived one, and interactions without one of their own.
OTHER_ENGAGEMENTS: Final = "other_engagements"
EVENT_TYPES: Final = (*(name for name in TYPE_NAMES if name != "engagements"), OTHER_ENGAGEMENTS)


class Tweet(NamedTuple):
    """A registered Tweet as the stores know it. `created_at_s` is Unix seconds."""

    tweet_id: int
    author_id: int
    created_at_s: int
    deleted: bool


def parse_decimal(text: str, *, maximum: int) -> int | None:
    """Read a whole number from untrusted text: ASCII digits, from 0 to `maximum`.

    Return None for any other text. The digits are counted before `int` reads them, so that a very
    long text costs nothing.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(maximum))):
        return None
    number = int(text)
    return number if number <= maximum else None


def parse_id(value: str | int) -> int:
    """Read a positive 63-bit id from its wire form, a decimal string or an integer.

    Raises:
        ValueError: any other value.
    """
    number = parse_decimal(value, maximum=ID_MAX) if isinstance(value, str) else value
    if number is None or not 0 < number <= ID_MAX:
        raise ValueError("is not a decimal number of at most 63 bits")
    return number


def parse_plain_ids(values: Sequence[str | int]) -> tuple[int, ...] | None:
    """What `parse_id` makes of each, once each, all in one go.

    None when one of them is no text, or is refused.
    """
    texts = cast("Sequence[str]", values)
    try:
        digits = "".join(texts)
        if not (digits.isascii() and digits.isdecimal()):
            return None
        ids = _PLAIN_IDS.decode(f"[{','.join(texts)}]")
    except (TypeError, msgspec.DecodeError):
        return None
    return tuple(dict.fromkeys(ids))


def format_ids(ids: Sequence[int]) -> list[str]:
    """The decimal text of each, all in one go."""
    return msgspec.json.encode(ids)[1:-1].decode().split(",") if ids else []


def hour_of(time_s: float) -> int:
    """The hour bucket that a Unix time falls into: whole hours since 1970."""
    return int(time_s // HOUR_S)


def ceil_hour(time_s: float) -> int:
    """The first hour bucket that starts at or after a Unix time."""
    return int(-(-time_s // HOUR_S))


_FRACTION_MIN: Final = 1e-6
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:?\d\d))?", re.ASCII
)


def parse_time(text: str) -> float:
    """Unix seconds from a wire time (api.md 1.3).

    `2015-07-01T12:24:00Z`, fractions and offsets allowed, or a bare date meaning its midnight UTC.

    Raises:
        ValueError: any other form, or a time that does not exist.
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
    # As fine as a float holds beside today's seconds; never so fine that rounding eats it.
    return whole + min(max(float(fraction), _FRACTION_MIN), 1 - _FRACTION_MIN)


def utc_datetime(time_s: float) -> datetime:
    """Convert Unix seconds to a datetime in UTC."""
    return datetime.fromtimestamp(time_s, UTC)


def format_time(time_s: float) -> str:
    """Unix seconds in the wire's form, `YYYY-MM-DDTHH:MM:SSZ`; a fraction is dropped."""
    return utc_datetime(int(time_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


def snowflake(time_s: float) -> int:
    """The first id of a moment, Unix seconds: its milliseconds above the lowest 22 bits."""
    return (int(time_s * 1000) - SNOWFLAKE_EPOCH_MS) << 22
