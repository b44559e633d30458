"""Check the arguments of a query once: Tweets, engagement types, groupings and a window."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Self

from openengagement_client.endpoints import (
    DAY,
    DIMENSIONS,
    DIMENSIONS_MAX,
    HISTORICAL,
    HOUR,
    LAST_28_HOURS,
    RESERVED,
    TOTALS,
    TWEET,
    TYPE,
    Endpoint,
)
from openengagement_client.errors import InvalidQuery
from openengagement_client.windows import Time, Window, parse_window, resolve_window

TweetId = str | int
GroupBy = tuple[str, ...]
# None, the dimensions of one grouping, or groupings by name, with or without the wire's "group_by".
Groupings = Sequence[str] | Mapping[str, Sequence[str] | Mapping[str, Sequence[str]]] | None

_TWEET_ID_MAX: Final = 2**63 - 1
_UNNAMED: Final = "counts"  # the name of a grouping that is given by its dimensions alone
_TOTALS_DEFAULT: Final = {"totals": (TWEET, TYPE)}
_TIMED_DEFAULT: Final = {"by hour": (TWEET, TYPE, DAY, HOUR)}


@dataclass(frozen=True, slots=True)
class Query:
    """A question of any size. `tweet_ids` may be a generator: it is read as the query runs."""

    endpoint: Endpoint
    tweet_ids: Iterable[TweetId]
    engagement_types: tuple[str, ...]
    groupings: Mapping[str, GroupBy]
    window: Window = field(default_factory=Window)

    @property
    def is_open_ended(self) -> bool:
        """Tell whether the window would be another one if the query ran later."""
        return self.endpoint is HISTORICAL and not (self.window.start and self.window.end)

    def fixed(self, now: datetime) -> Self:
        """Return the query with the window that it has at this time of the server.

        Raises:
            InvalidQuery: the window begins in the future.
        """
        return replace(self, window=resolve_window(self.window, now))


def totals_query(
    tweet_ids: Iterable[TweetId], engagement_types: Iterable[str], *, groupings: Groupings = None
) -> Query:
    """Ask for the counts since each Tweet was posted.

    Raises:
        InvalidQuery: the types or groupings cannot be sent.
    """
    return _make_query(TOTALS, tweet_ids, types=engagement_types, groupings=groupings)


def last_28_hours_query(
    tweet_ids: Iterable[TweetId], engagement_types: Iterable[str], *, groupings: Groupings = None
) -> Query:
    """Ask for the counts of the last 28 hours.

    Raises:
        InvalidQuery: the types or groupings cannot be sent.
    """
    return _make_query(LAST_28_HOURS, tweet_ids, types=engagement_types, groupings=groupings)


def historical_query(
    tweet_ids: Iterable[TweetId],
    engagement_types: Iterable[str],
    *,
    groupings: Groupings = None,
    start: Time | None = None,
    end: Time | None = None,
) -> Query:
    """Ask for the counts from `start` to `end`, of any length. Without both: the last 28 days.

    Raises:
        InvalidQuery: the types, groupings or times cannot be sent.
    """
    window = parse_window(start, end)
    return _make_query(
        HISTORICAL, tweet_ids, types=engagement_types, groupings=groupings, window=window
    )


def _make_query(
    endpoint: Endpoint,
    tweet_ids: Iterable[TweetId],
    *,
    types: Iterable[str],
    groupings: Groupings,
    window: Window | None = None,
) -> Query:
    if isinstance(tweet_ids, str):  # it would be read as ids of one digit
        tweet_ids = [tweet_ids]
    unique = (types,) if isinstance(types, str) else tuple(dict.fromkeys(types))
    if not unique:
        raise InvalidQuery("name at least one engagement type")
    default = _TIMED_DEFAULT if endpoint.is_timed else _TOTALS_DEFAULT
    named = parse_groupings(groupings, default=default)
    return Query(endpoint, tweet_ids, unique, named, window or Window())


def parse_groupings(groupings: Groupings, *, default: Mapping[str, GroupBy]) -> dict[str, GroupBy]:
    """Read groupings in any of their forms. A sequence of dimensions is one, named `counts`.

    Raises:
        InvalidQuery: a name or a dimension is not possible.
    """
    if groupings is None:
        return dict(default)
    if not isinstance(groupings, Mapping):
        return {_UNNAMED: _parse_group_by(_UNNAMED, groupings)}
    if not groupings:
        raise InvalidQuery("name at least one grouping")
    return {name: _parse_group_by(name, value) for name, value in groupings.items()}


def _parse_group_by(name: str, value: Sequence[str] | Mapping[str, Sequence[str]]) -> GroupBy:
    if name in RESERVED:
        raise InvalidQuery(f"{name!r} cannot be the name of a grouping: the answer uses it")
    given = value.get("group_by", ()) if isinstance(value, Mapping) else value
    group_by = (given,) if isinstance(given, str) else tuple(given)
    group_by = tuple(part.lower() for part in group_by)
    if not 1 <= len(group_by) <= DIMENSIONS_MAX or len(set(group_by)) < len(group_by):
        raise InvalidQuery(f"{name!r} needs one to four different dimensions, not {group_by}")
    if unknown := [part for part in group_by if part not in DIMENSIONS]:
        raise InvalidQuery(f"{name!r} has unknown dimensions: {', '.join(unknown)}")
    return group_by


def parse_tweet_ids(tweet_ids: Iterable[TweetId]) -> Iterator[str]:
    """Read ids as the server will name them: decimal text without blanks and leading zeros.

    Raises:
        InvalidQuery: one is not a whole number from 1 to 2^63-1.
    """
    for given in tweet_ids:
        text = str(given).strip()
        if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= _TWEET_ID_MAX:
            raise InvalidQuery(f"{given!r} is not the id of a Tweet")
        yield text.lstrip("0")
