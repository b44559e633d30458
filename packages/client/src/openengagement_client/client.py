"""The synchronous client of the Engagement API."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Self

from openengagement_client.fetching import fetch, fetch_clock
from openengagement_client.planning import Group, Request
from openengagement_client.queries import Query
from openengagement_client.query_methods import QueryMethods
from openengagement_client.query_run import Collected, QueryRun
from openengagement_client.responses import DataResponse
from openengagement_client.results import Result
from openengagement_client.transport import Transport
from openengagement_client.writing import Summary, begin_writing, open_writer


class EngagementClient(QueryMethods[Result]):
    """Reads metrics: any number of Tweets, any length of time.

    `url` and `credentials` that are not given come from `profile`, the environment or `.env`, as
    `load_profile` says. Close the client, or use it in a `with` statement. Threads may share it.

    Raises:
        ConfigurationError: there is no URL, or it or the profile is unusable.
    """

    def _open(self) -> None:
        self._transport = Transport(self._options)
        self._pool = ThreadPoolExecutor(self._options.concurrency, "engagement-client")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the requests in progress, and close all connections."""
        self._transport.stop()
        self._pool.shutdown(cancel_futures=True)
        self._transport.close()

    def run(self, query: Query) -> Result:
        collected = Collected(query, self._responses(query, is_whole=True))
        while stale := collected.stale():
            for index, request in stale:
                collected.replace(index, self._fetch(request))
        return collected.result()

    def parts(self, query: Query) -> Iterator[Result]:
        """Run a query and yield a result for each group of 250 or 25 Tweets, in their order.

        The memory needed does not grow with the number of Tweets. `query.tweet_ids` may be a
        generator. Groupings without `tweet.id` have the sums of each group.

        Raises:
            EngagementError: as `errors.py` says.
        """
        for _, responses in self._responses(query, is_whole=False):
            yield Result.merged(responses, query.groupings)

    def write(
        self,
        query: Query,
        path: Path | str,
        *,
        name: str | None = None,
        format: str | None = None,
        resume: bool = False,
    ) -> Summary:
        """Write the rows of a grouping to a file, group by group.

        `format` is `ndjson`, `csv` or `parquet`, which needs pyarrow. By default the ending of the
        file tells. The file appears when it is complete. If NDJSON or CSV is interrupted, the same
        query for the same Tweets goes on with `resume`.

        Raises:
            EngagementError: as `errors.py` says.
            InvalidQuery: the grouping has no `tweet.id`, there is no such format, or there is
                nothing to resume.
            OSError: the file cannot be written.
        """
        path = Path(path)
        query, checkpoint = begin_writing(path, query, format=format, resume=resume)
        if query.is_open_ended:
            self._transport.run(fetch_clock(self._session))
            query = query.fixed(self._session.clock.now())
        with open_writer(path, query, name=name, checkpoint=checkpoint) as writer:
            for _, responses in self._responses(query, is_whole=False, skip=checkpoint.groups):
                writer.add(Result.merged(responses, query.groupings))
            return writer.summary

    def _responses(
        self, query: Query, *, is_whole: bool, skip: int = 0
    ) -> Iterator[tuple[Group, list[DataResponse]]]:
        """Yield the responses to each group in order, with a bounded number of requests ahead."""
        run = QueryRun(query, is_whole=is_whole)
        if run.needs_clock:
            self._transport.run(fetch_clock(self._session))
        pending: deque[tuple[Group, list[Future[DataResponse]]]] = deque()
        try:
            for group in islice(run.groups(self._session), skip, None):
                pending.append((group, [self._pool.submit(self._fetch, r) for r in group.requests]))
                while sum(len(futures) for _, futures in pending) > 2 * self._options.concurrency:
                    yield _finish(*pending.popleft())
            while pending:
                yield _finish(*pending.popleft())
        finally:
            for future in chain.from_iterable(futures for _, futures in pending):
                future.cancel()

    def _fetch(self, request: Request) -> DataResponse:
        response = self._transport.run(fetch(request, self._session))
        self._options.on_answer()
        return response


def _finish(group: Group, futures: list[Future[DataResponse]]) -> tuple[Group, list[DataResponse]]:
    """Wait for the responses of a group. After a failure, cancel those that have not begun."""
    try:
        return group, [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()
