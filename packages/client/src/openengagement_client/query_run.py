"""Prepare the requests of a query, and collect their responses. Without I/O, for both clients."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final

from openengagement_client.endpoints import HISTORICAL, LAST_28_HOURS
from openengagement_client.errors import UnexpectedAnswer
from openengagement_client.planning import Group, Request, plan_groups, split_groupings
from openengagement_client.queries import Query, parse_tweet_ids
from openengagement_client.responses import DataResponse
from openengagement_client.results import Result
from openengagement_client.sessions import Session
from openengagement_client.windows import WINDOW_MAX, parse_time

# How often Tweets are asked again because an hour began between two requests.
_REPEATS_MAX: Final = 3


class QueryRun:
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
        query = self._query
        if query.endpoint is not HISTORICAL or not query.is_open_ended:
            return False
        return query.window.start is not None or not self._is_one_request

    def groups(self, session: Session) -> Iterator[Group]:
        """Plan the requests."""
        query = self._query
        if self.needs_clock:
            fixed = query.fixed(session.clock.now())
            if not self._is_one_request or fixed.window.length > WINDOW_MAX:
                query = fixed
        return plan_groups(query, self._tweet_ids)


class Collected:
    """The responses to all requests of a query, which must have the same window.

    The window of `/28hr` moves on when an hour begins. Requests whose responses have an older
    window than others must be sent again.
    """

    def __init__(self, query: Query, groups: Iterable[tuple[Group, list[DataResponse]]]) -> None:
        self._query = query
        self._requests: list[Request] = []
        self._responses: list[DataResponse] = []
        for group, responses in groups:
            self._requests += group.requests
            self._responses += responses
        self._repeats = 0

    def stale(self) -> list[tuple[int, Request]]:
        """Return the requests to send again, with their numbers.

        Raises:
            UnexpectedAnswer: the windows never agree.
        """
        if self._query.endpoint is not LAST_28_HOURS:
            return []
        starts = [parse_time(response.start) for response in self._responses]
        newest = max((start for start in starts if start is not None), default=None)
        stale = [
            (index, self._requests[index])
            for index, start in enumerate(starts)
            if start is not None and newest is not None and start < newest
        ]
        self._repeats += bool(stale)
        if self._repeats > _REPEATS_MAX:
            raise UnexpectedAnswer("the answers to several requests have different windows")
        return stale

    def replace(self, index: int, response: DataResponse) -> None:
        """Take the response to a request that was sent again."""
        self._responses[index] = response

    def result(self) -> Result:
        """Merge the responses."""
        return Result.merged(self._responses, self._query.groupings)
