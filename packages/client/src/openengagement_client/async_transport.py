"""Perform the steps of `exchange` with httpx, in an event loop."""

import asyncio
from collections.abc import Generator
from typing import TypeVar

from openengagement_client.bodies import BrokenBody
from openengagement_client.calls import Outcome, Send, Wait
from openengagement_client.transport import (
    Incoming,
    Options,
    describe_failure,
    httpx_settings,
)

Done = TypeVar("Done")


class AsyncTransport:
    """Sends requests over pooled connections, in one event loop."""

    def __init__(self, options: Options) -> None:
        import httpx  # noqa: PLC0415 - slow, see above

        self._options = options
        self._errors = (httpx.HTTPError, httpx.InvalidURL, BrokenBody)
        self._client = httpx.AsyncClient(**httpx_settings(options))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def run(self, steps: Generator[Send | Wait, Outcome, Done]) -> Done:
        """Perform the steps until they end, and return their result."""
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                result: Done = done.value
                return result
            if isinstance(step, Wait):
                self._options.on_wait(step.seconds, step.reason)
                await asyncio.sleep(step.seconds)
                outcome = None
            else:
                outcome = await self._send(step)

    async def _send(self, step: Send) -> Outcome:
        incoming = Incoming(self._options)
        try:
            async with self._client.stream(
                step.method, step.url, headers=dict(step.headers), content=step.body
            ) as response:
                async for piece in response.aiter_raw():
                    incoming.add(piece)
            return incoming.reply(response)
        except self._errors as error:
            return describe_failure(error)
