"""The three endpoints of the Engagement API, their limits, and the names on the wire."""

from dataclasses import dataclass
from typing import Final

GROUPINGS_MAX: Final = 3
DIMENSIONS_MAX: Final = 4

TWEET: Final = "tweet.id"
TYPE: Final = "engagement.type"
DAY: Final = "engagement.day"
HOUR: Final = "engagement.hour"
DIMENSIONS: Final = (TWEET, TYPE, DAY, HOUR)

UNAVAILABLE: Final = "unavailable_tweet_ids"
UNSUPPORTED_TOTALS: Final = "unsupported_for_impressions_engagements_tweet_ids"
UNSUPPORTED_VIDEO: Final = "unsupported_for_video_views_tweet_ids"
RESERVED: Final = ("start", "end", "errors", UNAVAILABLE, UNSUPPORTED_TOTALS, UNSUPPORTED_VIDEO)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: its path, and how many Tweets a request may name."""

    path: str
    tweets_max: int
    is_timed: bool


TOTALS: Final = Endpoint("/insights/engagement/totals", 250, is_timed=False)
LAST_28_HOURS: Final = Endpoint("/insights/engagement/28hr", 25, is_timed=True)
HISTORICAL: Final = Endpoint("/insights/engagement/historical", 25, is_timed=True)
