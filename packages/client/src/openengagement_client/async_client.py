"""The asynchronous client of the Engagement API: `EngagementClient` for an event loop."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from itertools import chain, islice
from pathlib import Path
from typing import Self

from openengagement_client.async_transport import AsyncTransport
from openengagement_client.fetching import fetch, fetch_clock
from openengagement_client.planning import Group, Request
from openengagement_client.queries import Query
from openengagement_client.query_methods import QueryMethods
from openengagement_client.query_run import Collected, QueryRun
from openengagement_client.responses import DataResponse
from openengagement_client.results import Result
from openengagement_client.writing import Summary, begin_writing, open_writer


class AsyncEngagementClient(QueryMethods[Awaitable[Result]]):
    """`EngagementClient` with the same methods as coroutines, for one event loop."""

    def _open(self) -> None:
        self._slots = asyncio.Semaphore(self._options.concurrency)
        self._transport = AsyncTransport(self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def run(self, query: Query) -> Result:
        responses = [each async for each in self._responses(query, is_whole=True)]
        collected = Collected(query, responses)
        while stale := collected.stale():
            for index, request in stale:
                collected.replace(index, await self._fetch(request))
        return collected.result()

    async def parts(self, query: Query) -> AsyncIterator[Result]:
        """As `EngagementClient.parts`."""
        async for _, responses in self._responses(query, is_whole=False):
            yield Result.merged(responses, query.groupings)

    async def write(
        self,
        query: Query,
        path: Path | str,
        *,
        name: str | None = None,
        format: str | None = None,
        resume: bool = False,
    ) -> Summary:
        """As `EngagementClient.write`. The file is written in the event loop."""
        path = Path(path)
        query, checkpoint = begin_writing(path, query, format=format, resume=resume)
        if query.is_open_ended:
            await self._transport.run(fetch_clock(self._session))
            query = query.fixed(self._session.clock.now())
        with open_writer(path, query, name=name, checkpoint=checkpoint) as writer:
            skip = checkpoint.groups
            async for _, responses in self._responses(query, is_whole=False, skip=skip):
                writer.add(Result.merged(responses, query.groupings))
            return writer.summary

    async def _responses(
        self, query: Query, *, is_whole: bool, skip: int = 0
    ) -> AsyncIterator[tuple[Group, list[DataResponse]]]:
        """Yield the responses to each group in order, with a bounded number of requests ahead."""
        run = QueryRun(query, is_whole=is_whole)
        if run.needs_clock:
            await self._transport.run(fetch_clock(self._session))
        pending: deque[tuple[Group, list[asyncio.Task[DataResponse]]]] = deque()
        try:
            for group in islice(run.groups(self._session), skip, None):
                tasks = [asyncio.create_task(self._fetch(each)) for each in group.requests]
                pending.append((group, tasks))
                while sum(len(tasks) for _, tasks in pending) > 2 * self._options.concurrency:
                    yield await _finish(*pending[0])
                    pending.popleft()
            while pending:
                yield await _finish(*pending[0])
                pending.popleft()
        finally:
            await _cancel(list(chain.from_iterable(tasks for _, tasks in pending)))

    async def _fetch(self, request: Request) -> DataResponse:
        async with self._slots:
            response = await self._transport.run(fetch(request, self._session))
        self._options.on_answer()
        return response


async def _finish(
    group: Group, tasks: list[asyncio.Task[DataResponse]]
) -> tuple[Group, list[DataResponse]]:
    return group, await asyncio.gather(*tasks)


async def _cancel(tasks: list[asyncio.Task[DataResponse]]) -> None:
    """End the tasks that still run, and take the exceptions of those that failed."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
