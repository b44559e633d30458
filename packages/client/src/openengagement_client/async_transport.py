"""Perform steps with httpx, in an event loop."""

import asyncio
from collections.abc import Callable
from functools import partial

from openengagement_client.errors import TransportError
from openengagement_client.http_messages import Done, HttpRequest, Outcome, Steps, Wait
from openengagement_client.transport import (
    Options,
    ResponseReader,
    describe_failure,
    httpx_arguments,
    httpx_errors,
)


class AsyncTransport:
    """Sends requests over pooled connections, in one event loop."""

    def __init__(self, options: Options) -> None:
        import httpx  # noqa: PLC0415 - slow, see transport.py

        self._options = options
        self._errors = httpx_errors()
        self._client = httpx.AsyncClient(**httpx_arguments(options))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def run(self, steps: Steps[Done]) -> Done:
        """Perform the steps until they end, and return their result.

        The steps receive the exceptions of this transport, so that they can keep what is not sent.
        """
        advance: Callable[[], HttpRequest | Wait] = partial(next, steps)
        try:
            while True:
                step = advance()
                try:
                    outcome = await self._perform(step)
                except TransportError as error:
                    advance = partial(steps.throw, error)
                else:
                    advance = partial(steps.send, outcome)
        except StopIteration as done:
            result: Done = done.value
            return result

    async def _perform(self, step: HttpRequest | Wait) -> Outcome:
        if isinstance(step, Wait):
            self._options.on_wait(step.seconds, step.reason)
            await asyncio.sleep(step.seconds)
            return None
        if self._client.is_closed:
            raise TransportError("the client was closed")
        return await self._send(step)

    async def _send(self, step: HttpRequest) -> Outcome:
        reader = ResponseReader(self._options)
        try:
            async with self._client.stream(
                step.method, step.url, headers=dict(step.headers), content=step.body
            ) as response:
                async for piece in response.aiter_raw():
                    reader.add(piece)
            return reader.read(response)
        except self._errors as error:
            return describe_failure(error)
