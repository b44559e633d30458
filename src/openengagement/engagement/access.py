"""Who may read what: one table, and the decision made from it (api.md 2.1, 3.2, 4.3)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from openengagement.engagement.types import (
    DAY_S,
    TYPE_NAMES,
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
    """What one engagement type asks on one endpoint, and which type it counts.

    A Tweet older than `age_days` has no count.
    """

    counted: str
    context: Context
    age_days: int | None = None


def _rules(*types: str, context: Context, age_days: int | None = None) -> dict[str, Rule]:
    return {name: Rule(name, context, age_days) for name in types}


_VIDEO_AGE_DAYS: Final = 1800
_TIMED: Final = {
    **_rules(*(name for name in TYPE_NAMES if name != "quote_tweets"), context=Context.USER),
    **_rules("video_views", context=Context.USER, age_days=_VIDEO_AGE_DAYS),
    # The old name (before October 2017) that clients still send, answered under that name.
    "media_clicks": Rule("media_engagements", Context.USER),
}
# THE table. A type that is not listed is not served by that endpoint.
ACCESS: Final[Mapping[Endpoint, Mapping[str, Rule]]] = {
    Endpoint.TOTALS: {
        **_rules("impressions", "engagements", context=Context.USER, age_days=90),
        **_rules("favorites", "retweets", "replies", "quote_tweets", context=Context.APP_ONLY),
        **_rules("video_views", context=Context.APP_ONLY, age_days=_VIDEO_AGE_DAYS),
    },
    Endpoint.LAST_28_HOURS: _TIMED,
    Endpoint.HISTORICAL: _TIMED,
}

_AGE_ARRAYS: Final[Mapping[int | None, str]] = {
    90: "unsupported_for_impressions_engagements_tweet_ids",
    _VIDEO_AGE_DAYS: "unsupported_for_video_views_tweet_ids",
}


class Decision(msgspec.Struct, frozen=True):
    """What may be read: the Tweets in the order asked, cells that stay zero, and what to report."""

    tweet_ids: tuple[int, ...]
    author_ids: frozenset[int]  # of these Tweets
    zeroed: Mapping[str, frozenset[int]]  # counted type -> Tweets too old for it
    arrays: Mapping[str, tuple[str, ...]]
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that bear on the decision (api.md 0)."""

    forbidden_text: str = "tweets"
    partial_ownership: bool = False


def decide_access(
    types: Mapping[str, Rule],
    tweets: Mapping[int, Tweet | None],
    *,
    user_id: int | None,
    now_s: float,
    policy: Policy,
) -> Decision:
    """Decide a whole request before any counter is read.

    `types` holds the rule of each type asked for; `tweets`, in the order asked, each Tweet that may
    be shown at all and None for the rest (unknown, deleted, protected); `user_id` is the owner of
    the access token, None for an app alone. The order of refusals is api.md 3.4's.

    Raises:
        TweetsUnavailable, ForbiddenTweets, ForbiddenMetrics, TweetsTooOld
    """
    served = [tweet for tweet in tweets.values() if tweet is not None]
    unavailable = tuple([str(tweet_id) for tweet_id, tweet in tweets.items() if tweet is None])
    if not served:
        raise TweetsUnavailable(unavailable)
    author_ids = frozenset({each.author_id for each in served})
    foreign = [] if user_id is None else [each for each in served if each.author_id != user_id]
    if foreign and (not policy.partial_ownership or len(foreign) == len(served)):
        raise ForbiddenTweets(*_forbidden_texts(foreign, policy.forbidden_text))
    if foreign:
        served = [tweet for tweet in served if tweet.author_id == user_id]
        author_ids &= {user_id}
    private = [name for name, rule in types.items() if rule.context is Context.USER]
    if user_id is None and private:
        raise ForbiddenMetrics(private)
    arrays = {"unavailable_tweet_ids": unavailable} if unavailable else {}
    zeroed = _too_old(types.values(), served, now_s=now_s)
    for rule in types.values() if zeroed else ():
        if old := zeroed.get(rule.counted):
            ids = tuple(str(each.tweet_id) for each in served if each.tweet_id in old)
            arrays[_AGE_ARRAYS[rule.age_days]] = ids
    too_old = _age_errors(zeroed, now_s)
    errors = (*(_forbidden_texts(foreign, policy.forbidden_text) if foreign else ()), *too_old)
    if too_old and all(len(zeroed.get(rule.counted, ())) == len(served) for rule in types.values()):
        raise TweetsTooOld(*errors, arrays=arrays)
    tweet_ids = tuple([each.tweet_id for each in served])
    return Decision(tweet_ids, author_ids, zeroed, arrays, errors)


def _too_old(
    rules: Iterable[Rule], tweets: Sequence[Tweet], *, now_s: float
) -> dict[str, frozenset[int]]:
    """For each counted type with an age limit: the Tweets past it, where there are any."""
    zeroed = {}
    first_s = min([each.created_at_s for each in tweets])
    for rule in rules:
        if rule.age_days is None:
            continue
        oldest_s = now_s - rule.age_days * DAY_S
        if first_s < oldest_s:
            old = frozenset(each.tweet_id for each in tweets if each.created_at_s < oldest_s)
            zeroed[rule.counted] = old
    return zeroed


def _age_errors(zeroed: Mapping[str, frozenset[int]], now_s: float) -> tuple[str, ...]:
    """The 90-day message; the rule for old videos is told by its array alone (api.md 3.2)."""
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
