"""The synchronous client of the Engagement API."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Self

from openengagement_client.answers import Answer
from openengagement_client.asking import ask, learn_clock
from openengagement_client.credentials import Credentials, load_profile
from openengagement_client.merging import merge_answers
from openengagement_client.planning import Group, Request
from openengagement_client.queries import (
    Groupings,
    Query,
    TweetId,
    historical_query,
    last_28_hours_query,
    totals_query,
)
from openengagement_client.rate_limits import RateLimit
from openengagement_client.results import Result
from openengagement_client.retrying import RetryPolicy
from openengagement_client.running import (
    ALIGN_MAX,
    Run,
    begin_writing,
    misaligned,
    needs_pin,
    pin,
    stale_answers,
)
from openengagement_client.sessions import open_session
from openengagement_client.transport import Options, Transport
from openengagement_client.windows import Time
from openengagement_client.writing import Summary, open_writer


class EngagementClient:
    """Reads metrics: any number of Tweets, any length of time.

    `url` and `credentials` that are not given come from `profile`, the environment or `.env`, as
    `load_profile` says. Close the client, or use it in a `with` statement. Threads may share it.

    Raises:
        ConfigurationError: there is no URL, or it or the profile is unusable.
    """

    def __init__(
        self,
        url: str | None = None,
        credentials: Credentials | None = None,
        *,
        profile: str | None = None,
        policy: RetryPolicy | None = None,
        options: Options | None = None,
    ) -> None:
        options = options or Options()
        found = load_profile(url, credentials, profile=profile)
        self._session = open_session(found, policy, allow_plain_http=options.allow_plain_http)
        self._options = options
        self._concurrency = options.concurrency
        self._transport = Transport(options)
        self._pool = ThreadPoolExecutor(options.concurrency, "engagement-client")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the requests in progress, and close all connections."""
        self._transport.stop()
        self._pool.shutdown(cancel_futures=True)
        self._transport.close()

    @property
    def rate_limits(self) -> dict[str, RateLimit]:
        """The app's rate limits by unit, `minute` and `second`, as the last answers showed them."""
        return self._session.windows.seen

    def totals(
        self,
        tweet_ids: Iterable[TweetId],
        engagement_types: Iterable[str],
        *,
        groupings: Groupings = None,
    ) -> Result:
        """Return the counts since each Tweet was posted.

        Raises:
            EngagementError: as `errors.py` says.
        """
        return self.run(totals_query(tweet_ids, engagement_types, groupings=groupings))

    def last_28_hours(
        self,
        tweet_ids: Iterable[TweetId],
        engagement_types: Iterable[str],
        *,
        groupings: Groupings = None,
    ) -> Result:
        """Return the counts of the last 28 hours.

        Raises:
            EngagementError: as `errors.py` says.
        """
        return self.run(last_28_hours_query(tweet_ids, engagement_types, groupings=groupings))

    def historical(
        self,
        tweet_ids: Iterable[TweetId],
        engagement_types: Iterable[str],
        *,
        groupings: Groupings = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> Result:
        """Return the counts from `start` to `end`, or of the last 28 days.

        Raises:
            EngagementError: as `errors.py` says.
        """
        return self.run(
            historical_query(tweet_ids, engagement_types, groupings=groupings, start=start, end=end)
        )

    def run(self, query: Query) -> Result:
        """Run a query and return one result, as if one request had asked for everything.

        Raises:
            EngagementError: as `errors.py` says.
        """
        asked = list(self._answers(query, is_whole=True))
        requests = [request for group, _ in asked for request in group.requests]
        answers = [answer for _, found in asked for answer in found]
        for _ in range(ALIGN_MAX):
            if not (stale := stale_answers(query, answers)):
                return Result(merge_answers(answers), query.groupings)
            for place in stale:
                answers[place] = self._ask(requests[place])
        raise misaligned()

    def parts(self, query: Query) -> Iterator[Result]:
        """Run a query and yield a result for each group of 250 or 25 Tweets, in their order.

        The memory needed does not grow with the number of Tweets. `query.tweet_ids` may be a
        generator. Groupings without `tweet.id` have the sums of each group.

        Raises:
            EngagementError: as `errors.py` says.
        """
        for _, answers in self._answers(query, is_whole=False):
            yield Result(merge_answers(answers), query.groupings)

    def write(
        self, query: Query, path: Path | str, *, name: str | None = None, resume: bool = False
    ) -> Summary:
        """Write the rows of a grouping to a `.ndjson`, `.csv` or `.parquet` file, group by group.

        The file appears when it is complete. If NDJSON or CSV is interrupted, the same query for
        the same Tweets goes on with `resume`. Parquet needs pyarrow.

        Raises:
            EngagementError: as `errors.py` says.
            InvalidQuery: the grouping has no `tweet.id`, the file has another ending, or there is
                nothing to resume.
        """
        path = Path(path)
        query, place = begin_writing(path, query, resume=resume)
        if needs_pin(query):
            self._transport.run(learn_clock(self._session))
            query = pin(query, self._session)
        place.pin(query.window)
        with open_writer(path, query, name=name, place=place) as writer:
            for _, answers in self._answers(query, is_whole=False, skip=place.groups):
                writer.add(Result(merge_answers(answers), query.groupings))
            return writer.summary

    def _answers(
        self, query: Query, *, is_whole: bool, skip: int = 0
    ) -> Iterator[tuple[Group, list[Answer]]]:
        """Yield the answers to each group in order, with a bounded number of requests ahead."""
        run = Run(query, is_whole=is_whole)
        if run.needs_clock:
            self._transport.run(learn_clock(self._session))
        pending: deque[tuple[Group, list[Future[Answer]]]] = deque()
        try:
            for group in islice(run.groups(self._session), skip, None):
                pending.append((group, [self._pool.submit(self._ask, r) for r in group.requests]))
                while sum(len(futures) for _, futures in pending) > 2 * self._concurrency:
                    yield _finish(*pending.popleft())
            while pending:
                yield _finish(*pending.popleft())
        finally:
            for future in chain.from_iterable(futures for _, futures in pending):
                future.cancel()

    def _ask(self, request: Request) -> Answer:
        answer = self._transport.run(ask(request, self._session))
        self._options.on_answer()
        return answer


def _finish(group: Group, futures: list[Future[Answer]]) -> tuple[Group, list[Answer]]:
    """Wait for the answers of a group. After a failure, cancel those that have not begun."""
    try:
        return group, [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()
