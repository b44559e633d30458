"""Read the JSON of an answer. A refusal that concerns only some Tweets becomes a response too."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from openengagement_client.endpoints import (
    DAY,
    HOUR,
    LAST_28_HOURS,
    TWEET,
    TYPE,
    UNAVAILABLE,
    UNSUPPORTED_TOTALS,
    UNSUPPORTED_VIDEO,
)
from openengagement_client.errors import (
    ApiError,
    BadRequest,
    ForbiddenTweets,
    InvalidQuery,
    Json,
    UnexpectedAnswer,
)
from openengagement_client.planning import Request
from openengagement_client.windows import ceil_hour, floor_hour, parse_time, resolve_window

# Counts are decimal text: {"111": {"favorites": "5"}}.
Tree = dict[str, Any]

# "Forbidden to access tweets: 1, 2". In 2016 "for author id 8" stood before the colon.
_FORBIDDEN: Final = re.compile(
    r"forbidden to access tweets(?: for author id \d+)?:\s*([\d,\s]+)", re.IGNORECASE
)

_TIME_KEYS: Final = {DAY: "%Y-%m-%d", HOUR: "%H"}


@dataclass(slots=True)
class DataResponse:
    """The content of one answer, or of several that were merged.

    Attributes:
        groupings: the nested objects of the wire, by the names of the groupings.
        start, end: the window as the server wrote it; None on `/totals`.
        messages: the texts of `errors`.
        unavailable: ids of Tweets that are unknown, deleted or protected.
        unsupported_totals: ids of Tweets too old for impressions and engagements.
        unsupported_video: ids of Tweets too old for video views.
        forbidden: ids of Tweets of other authors than the access token's user.
    """

    groupings: dict[str, Tree] = field(default_factory=dict)
    start: str | None = None
    end: str | None = None
    messages: list[str] = field(default_factory=list)
    unavailable: list[str] = field(default_factory=list)
    unsupported_totals: list[str] = field(default_factory=list)
    unsupported_video: list[str] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)


def parse_response(body: object, request: Request) -> DataResponse:
    """Read the body of a 200.

    Raises:
        UnexpectedAnswer: it is not an object with every grouping of the request, or a time is none.
    """
    if not isinstance(body, dict):
        raise UnexpectedAnswer("the answer is not a JSON object")
    missing = [name for name in request.groupings if not isinstance(body.get(name), dict)]
    if missing:
        raise UnexpectedAnswer(f"the answer lacks the groupings {missing}")
    response = _parse_lists(body)
    response.groupings = {name: body[name] for name in request.groupings}
    if request.endpoint.is_timed:
        response.start, response.end = (_time(body, name) for name in ("start", "end"))
    sent = set(request.tweet_ids)
    response.forbidden = [each for each in find_forbidden(response.messages) if each in sent]
    return response


def _time(body: Mapping[str, Any], name: str) -> str | None:
    """Return an end of the window, as the server wrote it."""
    text = body.get(name)
    try:
        parse_time(text)
    except (InvalidQuery, AttributeError, OverflowError):
        raise UnexpectedAnswer(f"{name!r} of the answer is not a time: {text!r}") from None
    return text


def empty_response(request: Request) -> DataResponse:
    """Return the response without any Tweet."""
    return DataResponse(groupings={name: {} for name in request.groupings})


def find_forbidden(messages: Iterable[str]) -> list[str]:
    """Return the ids that the messages of a 403 name, in either wording."""
    lists = (found for message in messages for found in _FORBIDDEN.findall(message))
    return [part for found in lists for part in re.findall(r"\d+", found)]


def response_from_refusal(
    error: ApiError, request: Request, *, tweet_ids: tuple[str, ...], now: datetime
) -> DataResponse:
    """Turn the refusal of a request for `tweet_ids`, none of which can be served, into a response.

    Tweets too old for every requested type have the count 0, as in an answer with other Tweets.
    `now` is the server's time, from which it chose a window that the request leaves open.

    Raises:
        ApiError: the refusal has another reason.
    """
    lists = error.body if isinstance(error.body, dict) else {}
    response = _parse_lists(lists)
    listed = {*response.unavailable, *response.unsupported_totals, *response.unsupported_video}
    if not isinstance(error, BadRequest) or not listed.issuperset(tweet_ids):
        raise error
    unavailable = set(response.unavailable)
    served = [each for each in tweet_ids if each not in unavailable]
    if served:
        window = _served_window(request, now)
        response.groupings = zero_groupings(request, served, window=window)
        response.start, response.end = (
            (_format(each) for each in window) if window else (None, None)
        )
    else:
        response.groupings, response.messages = empty_response(request).groupings, []
    return response


def remaining_ids(error: ForbiddenTweets, tweet_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ids without those that a 403 names.

    Raises:
        ForbiddenTweets: it names none of them.
    """
    forbidden = set(find_forbidden(error.messages))
    remaining = tuple(each for each in tweet_ids if each not in forbidden)
    if len(remaining) == len(tweet_ids):
        raise error
    return remaining


def zero_groupings(
    request: Request, tweet_ids: list[str], *, window: tuple[datetime, datetime] | None
) -> dict[str, Tree]:
    """Build the groupings of Tweets for which every count is 0."""
    hours = list(_hours(*window)) if window else []
    keys = {TWEET: tweet_ids, TYPE: request.engagement_types}
    return {
        name: _zero_tree(group_by, keys, hours=hours)
        for name, group_by in request.groupings.items()
    }


def _zero_tree(
    group_by: tuple[str, ...], keys: Mapping[str, Iterable[str]], *, hours: list[datetime]
) -> Json:
    if not group_by:
        return "0"
    first, rest = group_by[0], group_by[1:]
    if first in _TIME_KEYS:
        inside: dict[str, list[datetime]] = {}
        for hour in hours:
            inside.setdefault(hour.strftime(_TIME_KEYS[first]), []).append(hour)
        return {key: _zero_tree(rest, keys, hours=inside[key]) for key in sorted(inside)}
    return {key: _zero_tree(rest, keys, hours=hours) for key in keys[first]}


def _served_window(request: Request, now: datetime) -> tuple[datetime, datetime] | None:
    """Return the window that an answer would have: rounded outward to hours."""
    if not request.endpoint.is_timed:
        return None
    if request.endpoint is LAST_28_HOURS:
        return floor_hour(now - timedelta(hours=28)), ceil_hour(now)
    window = resolve_window(request.window, now)
    return floor_hour(window.start or now), ceil_hour(window.end or now)


def _hours(start: datetime, end: datetime) -> Iterator[datetime]:
    while start < end:
        yield start
        start += timedelta(hours=1)


def _format(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _parse_lists(body: Mapping[str, Any]) -> DataResponse:
    return DataResponse(
        messages=_texts(body, "errors"),
        unavailable=_texts(body, UNAVAILABLE),
        unsupported_totals=_texts(body, UNSUPPORTED_TOTALS),
        unsupported_video=_texts(body, UNSUPPORTED_VIDEO),
    )


def _texts(body: Mapping[str, Any], name: str) -> list[str]:
    found = body.get(name)
    return [str(each) for each in found] if isinstance(found, list) else []
