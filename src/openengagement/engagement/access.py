"""Who may read what: one table, and the decision made from it (contract 2.1, 3.2, 4.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from openengagement.engagement.types import (
    DAY_S,
    ENGAGEMENT_TYPES,
    Endpoint,
    Tweet,
    format_time,
)
from openengagement.errors import ForbiddenMetrics, ForbiddenTweets, TweetsTooOld, TweetsUnavailable


class Context(Enum):
    """What a metric asks of the caller: an app alone, or the Tweet's owner."""

    APP_ONLY = "app-only"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one engagement type asks on one endpoint. A Tweet older than `age_days` has no count."""

    context: Context
    age_days: int | None = None


_TIMED: Final = {
    each.name: Rule(Context.USER) for each in ENGAGEMENT_TYPES if each.name != "quote_tweets"
}
# THE table. A type that is not listed is not served by that endpoint.
ACCESS: Final[Mapping[Endpoint, Mapping[str, Rule]]] = {
    Endpoint.TOTALS: {
        "impressions": Rule(Context.USER, age_days=90),
        "engagements": Rule(Context.USER, age_days=90),
        "favorites": Rule(Context.APP_ONLY),
        "retweets": Rule(Context.APP_ONLY),
        "replies": Rule(Context.APP_ONLY),
        "quote_tweets": Rule(Context.APP_ONLY),
        "video_views": Rule(Context.APP_ONLY, age_days=1800),
    },
    Endpoint.LAST_28_HOURS: {**_TIMED, "video_views": Rule(Context.USER, age_days=1800)},
    Endpoint.HISTORICAL: {**_TIMED, "video_views": Rule(Context.USER, age_days=1800)},
}

_AGE_ARRAYS: Final = {
    90: "unsupported_for_impressions_engagements_tweet_ids",
    1800: "unsupported_for_video_views_tweet_ids",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What may be read: the Tweets in the order asked, cells that stay zero, and what to report."""

    tweet_ids: tuple[int, ...]
    zeroed: Mapping[str, frozenset[int]]  # counted type -> Tweets too old for it
    arrays: Mapping[str, tuple[str, ...]]
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that bear on the decision (contract 0)."""

    forbidden_text: str = "tweets"
    partial_ownership: bool = False


def decide_access(
    endpoint: Endpoint,
    types: Mapping[str, str],
    tweets: Mapping[int, Tweet | None],
    *,
    user_id: int | None,
    now_s: float,
    policy: Policy,
) -> Decision:
    """Decide a whole request before any counter is read.

    `types` maps names asked to names counted; `tweets` holds, in the order asked, each Tweet that
    may be shown at all, None for the rest (unknown, deleted, protected); `user_id` is the owner of
    the access token, None for an app alone. The order of refusals is contract 3.4's.

    Raises:
        TweetsUnavailable, ForbiddenTweets, ForbiddenMetrics, TweetsTooOld
    """
    served = [tweet for tweet in tweets.values() if tweet is not None]
    unavailable = tuple(str(tweet_id) for tweet_id, tweet in tweets.items() if tweet is None)
    if not served:
        raise TweetsUnavailable(unavailable)
    foreign = [] if user_id is None else [each for each in served if each.author_id != user_id]
    if foreign and (not policy.partial_ownership or len(foreign) == len(served)):
        raise ForbiddenTweets(*_forbidden_texts(foreign, policy.forbidden_text))
    served = [tweet for tweet in served if tweet not in foreign]
    if user_id is None:
        _require_app_only(endpoint, types)
    arrays = {"unavailable_tweet_ids": unavailable} if unavailable else {}
    zeroed = _too_old(endpoint, types, served, now_s)
    for counted, ids in zeroed.items():
        name = _AGE_ARRAYS[ACCESS[endpoint][counted].age_days or 0]
        arrays[name] = tuple(str(each.tweet_id) for each in served if each.tweet_id in ids)
    errors = _age_errors(zeroed, now_s)
    if errors and all(len(zeroed.get(name, ())) == len(served) for name in types.values()):
        raise TweetsTooOld(*errors, arrays=arrays)
    if foreign:
        errors = (*_forbidden_texts(foreign, policy.forbidden_text), *errors)
    return Decision(tuple(tweet.tweet_id for tweet in served), zeroed, arrays, errors)


def _require_app_only(endpoint: Endpoint, types: Mapping[str, str]) -> None:
    rules = ACCESS[endpoint]
    private = [name for name, counted in types.items() if rules[counted].context is Context.USER]
    if private:
        raise ForbiddenMetrics(private)


def _too_old(
    endpoint: Endpoint, types: Mapping[str, str], tweets: Sequence[Tweet], now_s: float
) -> dict[str, frozenset[int]]:
    zeroed = {}
    for counted in types.values():
        age_days = ACCESS[endpoint][counted].age_days
        if age_days is not None:
            oldest_s = now_s - age_days * DAY_S
            old = frozenset(each.tweet_id for each in tweets if each.created_at_s < oldest_s)
            if old:
                zeroed[counted] = old
    return zeroed


def _age_errors(zeroed: Mapping[str, frozenset[int]], now_s: float) -> tuple[str, ...]:
    """The 90-day message; the 1800-day rule for videos is told by its array alone (contract 3.2)."""
    if not zeroed.keys() & {"impressions", "engagements"}:
        return ()
    oldest = format_time(now_s - 90 * DAY_S)
    return (
        f"Impressions & engagements for tweets older than 90 days ({oldest}) are not supported",
    )


def _forbidden_texts(foreign: Sequence[Tweet], wording: str) -> list[str]:
    if wording == "tweets":
        return [f"Forbidden to access tweets: {', '.join(str(each.tweet_id) for each in foreign)}"]
    authors: dict[int, list[str]] = {}
    for tweet in foreign:
        authors.setdefault(tweet.author_id, []).append(str(tweet.tweet_id))
    return [
        f"Forbidden to access tweets for author id {author_id}: {', '.join(ids)}"
        for author_id, ids in authors.items()
    ]
