"""Names, limits and times of the wire, copied by hand from the contract, not from the code."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FOUR_WEEKS = 28 * DAY
OLDEST_START = datetime(2014, 9, 1, tzinfo=UTC)
SNOWFLAKE_EPOCH_MS = 1288834974657

ENDPOINTS = ("totals", "28hr", "historical")
TOTALS_TYPES = (
    "impressions",
    "engagements",
    "favorites",
    "retweets",
    "replies",
    "quote_tweets",
    "video_views",
)
TIMED_TYPES = (
    "impressions",
    "engagements",
    "favorites",
    "retweets",
    "replies",
    "video_views",
    "media_views",
    "media_engagements",
    "url_clicks",
    "hashtag_clicks",
    "detail_expands",
    "permalink_clicks",
    "app_install_attempts",
    "app_opens",
    "email_tweet",
    "user_follows",
    "user_profile_clicks",
)
PUBLIC_TYPES = ("favorites", "retweets", "replies", "quote_tweets", "video_views")
ALIASES = {"media_clicks": "media_engagements"}
EVENT_TYPES = (*(t for t in TIMED_TYPES if t != "engagements"), "quote_tweets", "other_engagements")
NEVER_ROLLED_UP = ("impressions", "media_views", "video_views")

TWEET, TYPE, ON_DAY, AT_HOUR = "tweet.id", "engagement.type", "engagement.day", "engagement.hour"
DIMENSIONS = (TWEET, TYPE, ON_DAY, AT_HOUR)
TIME_DIMENSIONS = (ON_DAY, AT_HOUR)
FOUR_ITEM_ORDERS = ((TWEET, TYPE, ON_DAY, AT_HOUR), (TYPE, TWEET, ON_DAY, AT_HOUR))

IDS_MAX = {"totals": 250, "28hr": 25, "historical": 25}
GROUPINGS_MAX = 3
UNAVAILABLE = "unavailable_tweet_ids"
UNSUPPORTED_90 = "unsupported_for_impressions_engagements_tweet_ids"
UNSUPPORTED_1800 = "unsupported_for_video_views_tweet_ids"
RESERVED_NAMES = ("start", "end", "errors", UNAVAILABLE, UNSUPPORTED_90, UNSUPPORTED_1800)
RATE_HEADERS = tuple(
    f"x-per-{unit}-{what}"
    for unit in ("minute", "second")
    for what in ("limit", "remaining", "reset")
)

_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?(Z|[+-][0-9]{2}:[0-9]{2}))?"
)


def parse_time(text: str) -> datetime | None:
    """Parse the date forms of section 1.3; None for other texts."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        moment = datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    moment += timedelta(microseconds=int((fraction or "0").ljust(6, "0")))
    if zone not in (None, "Z"):
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
        moment += offset if zone[0] == "-" else -offset
    return moment


def show_time(moment: datetime) -> str:
    """Write a time in the output form of section 1.3."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def floor_hour(moment: datetime) -> datetime:
    """Round down to the full hour."""
    return moment.replace(minute=0, second=0, microsecond=0)


def ceil_hour(moment: datetime) -> datetime:
    """Round up to the full hour."""
    floor = floor_hour(moment)
    return floor if floor == moment else floor + HOUR


def snowflake_time(tweet_id: int) -> datetime:
    """Return the creation time in a snowflake id."""
    return datetime.fromtimestamp(0, UTC) + timedelta(
        milliseconds=(tweet_id >> 22) + SNOWFLAKE_EPOCH_MS
    )


@cache
def hour_keys(hour: datetime) -> tuple[str, str]:
    """Return the day key and the hour key of an hour."""
    return hour.strftime("%Y-%m-%d"), hour.strftime("%H")
