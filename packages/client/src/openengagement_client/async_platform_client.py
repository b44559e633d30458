"""The asynchronous client of the platform: `PlatformClient` for an event loop."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from openengagement_client.async_event_sender import AsyncEventSender
from openengagement_client.async_transport import AsyncTransport
from openengagement_client.batches import Batch, BatchLimits
from openengagement_client.delivery import open_delivery
from openengagement_client.platform_calls import Record
from openengagement_client.platform_methods import PlatformMethods
from openengagement_client.reports import BatchReport


class AsyncPlatformClient(PlatformMethods):
    """`PlatformClient` with the same methods as coroutines, for one event loop."""

    def _open(self) -> None:
        self._transport = AsyncTransport(self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def register_accounts(self, accounts: Iterable[Record]) -> BatchReport:
        """As `PlatformClient.register_accounts`."""
        return await self._transport.run(self._calls.register("accounts", accounts))

    async def register_tweets(self, tweets: Iterable[Record]) -> BatchReport:
        """As `PlatformClient.register_tweets`."""
        return await self._transport.run(self._calls.register("tweets", tweets))

    async def delete_tweet(self, tweet_id: str | int) -> bool:
        """As `PlatformClient.delete_tweet`."""
        return await self._transport.run(self._calls.delete_tweet(tweet_id))

    async def usage(self, month: str | None = None) -> dict[str, Any]:
        """As `PlatformClient.usage`."""
        return await self._transport.run(self._calls.usage(month))

    async def send_batch(self, batch: Batch, *, kind: str = "events") -> BatchReport:
        """As `PlatformClient.send_batch`."""
        return await self._transport.run(self._calls.send(kind, batch))

    def sender(
        self, limits: BatchLimits | None = None, *, spool: Path | str | None = None
    ) -> AsyncEventSender:
        """As `PlatformClient.sender`."""
        return AsyncEventSender(
            self._transport.run,
            open_delivery(self._calls, spool),
            limits=limits or BatchLimits(),
            concurrency=self._options.concurrency,
        )
