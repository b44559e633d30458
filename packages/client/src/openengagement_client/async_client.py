"""The asynchronous client of the Engagement API: `EngagementClient` for an event loop."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Self

from openengagement_client.answers import Answer
from openengagement_client.asking import ask, learn_clock
from openengagement_client.async_transport import AsyncTransport
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
from openengagement_client.transport import Options
from openengagement_client.windows import Time
from openengagement_client.writing import Summary, open_writer


class AsyncEngagementClient:
    """`EngagementClient` with the same methods as coroutines, for one event loop."""

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
        self._free = asyncio.Semaphore(options.concurrency)
        self._transport = AsyncTransport(options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    @property
    def rate_limits(self) -> dict[str, RateLimit]:
        """As `EngagementClient.rate_limits`."""
        return self._session.windows.seen

    async def totals(
        self,
        tweet_ids: Iterable[TweetId],
        engagement_types: Iterable[str],
        *,
        groupings: Groupings = None,
    ) -> Result:
        """As `EngagementClient.totals`."""
        return await self.run(totals_query(tweet_ids, engagement_types, groupings=groupings))

    async def last_28_hours(
        self,
        tweet_ids: Iterable[TweetId],
        engagement_types: Iterable[str],
        *,
        groupings: Groupings = None,
    ) -> Result:
        """As `EngagementClient.last_28_hours`."""
        return await self.run(last_28_hours_query(tweet_ids, engagement_types, groupings=groupings))

    async def historical(
        self,
        tweet_ids: Iterable[TweetId],
        engagement_types: Iterable[str],
        *,
        groupings: Groupings = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> Result:
        """As `EngagementClient.historical`."""
        return await self.run(
            historical_query(tweet_ids, engagement_types, groupings=groupings, start=start, end=end)
        )

    async def run(self, query: Query) -> Result:
        """As `EngagementClient.run`."""
        asked = [each async for each in self._answers(query, is_whole=True)]
        requests = [request for group, _ in asked for request in group.requests]
        answers = [answer for _, found in asked for answer in found]
        for _ in range(ALIGN_MAX):
            if not (stale := stale_answers(query, answers)):
                return Result(merge_answers(answers), query.groupings)
            for place in stale:
                answers[place] = await self._ask(requests[place])
        raise misaligned()

    async def parts(self, query: Query) -> AsyncIterator[Result]:
        """As `EngagementClient.parts`."""
        async for _, answers in self._answers(query, is_whole=False):
            yield Result(merge_answers(answers), query.groupings)

    async def write(
        self, query: Query, path: Path | str, *, name: str | None = None, resume: bool = False
    ) -> Summary:
        """As `EngagementClient.write`. The file is written in the event loop."""
        path = Path(path)
        query, place = begin_writing(path, query, resume=resume)
        if needs_pin(query):
            await self._transport.run(learn_clock(self._session))
            query = pin(query, self._session)
        place.pin(query.window)
        with open_writer(path, query, name=name, place=place) as writer:
            async for _, answers in self._answers(query, is_whole=False, skip=place.groups):
                writer.add(Result(merge_answers(answers), query.groupings))
            return writer.summary

    async def _answers(
        self, query: Query, *, is_whole: bool, skip: int = 0
    ) -> AsyncIterator[tuple[Group, list[Answer]]]:
        """Yield the answers to each group in order, with a bounded number of requests ahead."""
        run = Run(query, is_whole=is_whole)
        if run.needs_clock:
            await self._transport.run(learn_clock(self._session))
        pending: deque[tuple[Group, list[asyncio.Task[Answer]]]] = deque()
        try:
            for group in islice(run.groups(self._session), skip, None):
                pending.append((group, [asyncio.create_task(self._ask(r)) for r in group.requests]))
                while sum(len(tasks) for _, tasks in pending) > 2 * self._concurrency:
                    yield await _finish(*pending[0])
                    pending.popleft()
            while pending:
                yield await _finish(*pending[0])
                pending.popleft()
        finally:
            await _cancel(list(chain.from_iterable(tasks for _, tasks in pending)))

    async def _ask(self, request: Request) -> Answer:
        async with self._free:
            answer = await self._transport.run(ask(request, self._session))
        self._options.on_answer()
        return answer


async def _finish(group: Group, tasks: list[asyncio.Task[Answer]]) -> tuple[Group, list[Answer]]:
    return group, await asyncio.gather(*tasks)


async def _cancel(tasks: list[asyncio.Task[Answer]]) -> None:
    """End the tasks that still run, and take the exceptions of those that failed."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
