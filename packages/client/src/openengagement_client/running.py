"""Prepare the requests of a query, and check their answers. Without I/O, for both clients."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Final

from openengagement_client.answers import Answer
from openengagement_client.endpoints import HISTORICAL, LAST_28_HOURS
from openengagement_client.errors import UnexpectedAnswer
from openengagement_client.planning import Group, plan_groups, split_groupings
from openengagement_client.queries import Query, parse_tweet_ids
from openengagement_client.resuming import Place, digest_of, load_place
from openengagement_client.sessions import Session
from openengagement_client.windows import WINDOW_MAX, parse_time, resolve_window

# How often Tweets are asked again because an hour began between two requests.
ALIGN_MAX: Final = 3


class Run:
    """One run of a query: its ids are read as needed.

    Without `is_whole`, an id that comes again after others is asked again, since remembering all
    ids would need memory for each.
    """

    def __init__(self, query: Query, *, is_whole: bool) -> None:
        tweet_ids = parse_tweet_ids(query.tweet_ids)
        if is_whole:
            tweet_ids = iter(dict.fromkeys(tweet_ids))
        most = query.endpoint.tweets_max
        head = list(islice(tweet_ids, most + 1))
        self._tweet_ids = chain(head, tweet_ids)
        self._query = query
        is_one_batch = len(list(split_groupings(query.groupings))) == 1
        self._is_one_request = len(head) <= most and is_one_batch  # if it is one window

    @property
    def needs_clock(self) -> bool:
        """Tell whether several requests must agree on a time that only the server knows."""
        window = self._query.window
        if self._query.endpoint is not HISTORICAL or (window.start and window.end):
            return False
        return window.start is not None or not self._is_one_request

    def groups(self, session: Session) -> Iterator[Group]:
        """Plan the requests."""
        query = self._query
        if self.needs_clock:
            now = session.clock.now()
            window = resolve_window(query.window, now)
            assert window.start is not None
            assert window.end is not None
            if not self._is_one_request or window.end - window.start > WINDOW_MAX:
                query = replace(query, window=window)
        return plan_groups(query, self._tweet_ids)


def begin_writing(path: Path, query: Query, *, resume: bool) -> tuple[Query, Place]:
    """Return the query to run for a file, and the place where it begins.

    Raises:
        InvalidQuery: there is nothing to go on with.
    """
    if resume:
        place = load_place(path, query)
        return replace(query, window=place.window), place
    return query, Place(digest_of(query))


def needs_pin(query: Query) -> bool:
    """Tell whether the window would be another one if the query went on later."""
    window = query.window
    return query.endpoint is HISTORICAL and not (window.start and window.end)


def pin(query: Query, session: Session) -> Query:
    """Resolve the window by the server's clock."""
    return replace(query, window=resolve_window(query.window, session.clock.now()))


def stale_answers(query: Query, answers: list[Answer]) -> list[int]:
    """Return the places of answers whose window is older than that of another.

    The window of `/28hr` moves on when an hour begins.
    """
    if query.endpoint is not LAST_28_HOURS:
        return []
    starts = [parse_time(answer.start) for answer in answers]
    newest = max((start for start in starts if start is not None), default=None)
    return [
        place
        for place, start in enumerate(starts)
        if start is not None and newest is not None and start < newest
    ]


def misaligned() -> UnexpectedAnswer:
    """Build the error for windows that never agree."""
    return UnexpectedAnswer("the answers to several requests have different windows")
