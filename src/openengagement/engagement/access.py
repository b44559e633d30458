"""Access to metrics: a table of rules, and the decision made from it (api.md 2.1, 3.2, 4.3)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import Final

import msgspec

from openengagement.engagement.types import (
    DAY_S,
    ENGAGEMENT_TYPES,
    TYPE_NAMES,
    Endpoint,
    Tweet,
    format_time,
)
from openengagement.errors import ForbiddenMetrics, ForbiddenTweets, TweetsTooOld, TweetsUnavailable


class Context(Enum):
    """The authentication that a metric needs: an app is enough, or the owner of the Tweet."""

    APP_ONLY = "app-only"
    USER = "user"


@dataclass(frozen=True, slots=True)
class AgeLimit:
    """Tweets older than `days` have no count.

    `array` is the field of the answer that lists them. `error` is the message for them, with `{}`
    for the earliest time that is served, or empty.
    """

    days: int
    array: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class AccessRule:
    """The access to one engagement type on one endpoint.

    `counted` names the counter that is read. Without `age`, Tweets of any age have a count.
    """

    counted: str
    context: Context
    age: AgeLimit | None = None


def _rules_for(*types: str, context: Context, age: AgeLimit | None = None) -> dict[str, AccessRule]:
    return {name: AccessRule(name, context, age) for name in types}


_IMPRESSIONS_AGE: Final = AgeLimit(
    90,
    "unsupported_for_impressions_engagements_tweet_ids",
    "Impressions & engagements for tweets older than 90 days ({}) are not supported",
)
# Old videos have an array but no message (api.md 3.2).
_VIDEO_AGE: Final = AgeLimit(1800, "unsupported_for_video_views_tweet_ids")
_TIMED: Final = {
    **_rules_for(*(name for name in TYPE_NAMES if name != "quote_tweets"), context=Context.USER),
    **_rules_for("video_views", context=Context.USER, age=_VIDEO_AGE),
    # The old name, until October 2017. Clients still send it, and their answers show it.
    "media_clicks": AccessRule("media_engagements", Context.USER),
}
# An endpoint does not serve the types that are not listed here.
ACCESS: Final[Mapping[Endpoint, Mapping[str, AccessRule]]] = {
    Endpoint.TOTALS: {
        **_rules_for("impressions", "engagements", context=Context.USER, age=_IMPRESSIONS_AGE),
        **_rules_for(*(t.name for t in ENGAGEMENT_TYPES if t.public), context=Context.APP_ONLY),
        **_rules_for("video_views", context=Context.APP_ONLY, age=_VIDEO_AGE),
    },
    Endpoint.LAST_28_HOURS: _TIMED,
    Endpoint.HISTORICAL: _TIMED,
}

_TWEET_ID: Final = attrgetter("tweet_id")
_AUTHOR_ID: Final = attrgetter("author_id")
_CREATED_AT_S: Final = attrgetter("created_at_s")

# The fields of an answer that list Tweets which are too old.
AGE_ARRAYS: Final = frozenset(
    rule.age.array for rules in ACCESS.values() for rule in rules.values() if rule.age
)


class Decision(msgspec.Struct, frozen=True):
    """The part of a request that is served.

    `tweet_ids` are the Tweets to read, in the order of the request, and `author_ids` their authors.
    `zeroed` maps a counted type to the Tweets that are too old for it: their counts stay zero.
    `arrays` (field name -> Tweet ids) and `errors` are fields of the answer.
    """

    tweet_ids: tuple[int, ...]
    author_ids: frozenset[int]
    zeroed: Mapping[str, frozenset[int]]
    arrays: Mapping[str, tuple[str, ...]]
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that affect the decision; docs/settings.md explains them."""

    forbidden_text: str = "tweets"
    partial_ownership: bool = False


def decide_access(
    types: Mapping[str, AccessRule],
    tweets: Mapping[int, Tweet | None],
    *,
    user_id: int | None,
    now_s: float,
    policy: Policy,
) -> Decision:
    """Decide about a whole request before any counter is read.

    `types` maps the requested types to their rules. `tweets` maps the requested ids, in order, to
    their Tweets, or to None if a Tweet may not be shown. `user_id` is the user of the access token,
    None for an app alone. Errors are raised in the order of api.md 3.4.

    Raises:
        TweetsUnavailable: no Tweet may be shown.
        ForbiddenTweets: the user does not own the Tweets.
        ForbiddenMetrics: an app alone requests private metrics.
        TweetsTooOld: every Tweet is too old for every type.
    """
    served = [*filter(None, tweets.values())]
    hidden = [] if len(served) == len(tweets) else [each for each in tweets if not tweets[each]]
    unavailable = tuple(map(str, hidden))
    if not served:
        raise TweetsUnavailable(unavailable)
    author_ids = frozenset(map(_AUTHOR_ID, served))
    all_own = user_id is None or author_ids == {user_id}
    foreign = [] if all_own else [tweet for tweet in served if tweet.author_id != user_id]
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
        if rule.age and (old := zeroed.get(rule.counted)):
            ids = tuple(str(tweet.tweet_id) for tweet in served if tweet.tweet_id in old)
            arrays[rule.age.array] = ids
    too_old = _age_errors(types.values(), zeroed, now_s=now_s) if zeroed else ()
    errors = (*(_forbidden_texts(foreign, policy.forbidden_text) if foreign else ()), *too_old)
    if too_old and all(len(zeroed.get(rule.counted, ())) == len(served) for rule in types.values()):
        raise TweetsTooOld(*errors, arrays=arrays)
    tweet_ids = tuple(map(_TWEET_ID, served))
    return Decision(tweet_ids, author_ids, zeroed, arrays, errors)


def _too_old(
    rules: Iterable[AccessRule], tweets: Sequence[Tweet], *, now_s: float
) -> dict[str, frozenset[int]]:
    """Map each counted type that has Tweets older than its age limit to these Tweets."""
    zeroed = {}
    first_s = min(map(_CREATED_AT_S, tweets))
    for rule in rules:
        if rule.age is None:
            continue
        oldest_s = now_s - rule.age.days * DAY_S
        if first_s < oldest_s:
            old = frozenset(tweet.tweet_id for tweet in tweets if tweet.created_at_s < oldest_s)
            zeroed[rule.counted] = old
    return zeroed


def _age_errors(
    rules: Iterable[AccessRule], zeroed: Mapping[str, frozenset[int]], *, now_s: float
) -> tuple[str, ...]:
    """Make the messages of the age limits that a Tweet exceeds."""
    exceeded = dict.fromkeys(rule.age for rule in rules if rule.age and rule.counted in zeroed)
    return tuple(
        age.error.format(format_time(now_s - age.days * DAY_S)) for age in exceeded if age.error
    )


def _forbidden_texts(foreign: Sequence[Tweet], wording: str) -> list[str]:
    if wording == "tweets":
        ids = ", ".join(str(tweet.tweet_id) for tweet in foreign)
        return [f"Forbidden to access tweets: {ids}"]
    authors: dict[int, list[str]] = {}
    for tweet in foreign:
        authors.setdefault(tweet.author_id, []).append(str(tweet.tweet_id))
    return [
        f"Forbidden to access tweets for author id {author_id}: {', '.join(tweet_ids)}"
        for author_id, tweet_ids in authors.items()
    ]
