"""The platform's client: registers accounts and Tweets, and sends events."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from openengagement_client.batches import Batch, BatchLimits
from openengagement_client.delivery import open_delivery
from openengagement_client.event_sender import EventSender
from openengagement_client.platform_calls import Record
from openengagement_client.platform_methods import PlatformMethods
from openengagement_client.reports import BatchReport
from openengagement_client.transport import Transport


class PlatformClient(PlatformMethods):
    """Sends a platform's data. Threads may share it.

    The platform key is an argument, or comes from a profile, the environment (`PLATFORM_KEY`) or
    `.env`, as `load_profile` says.

    Raises:
        ConfigurationError: there is no URL or no key.
    """

    def _open(self) -> None:
        self._transport = Transport(self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the requests in progress, and close all connections."""
        self._transport.stop()
        self._transport.close()

    def register_accounts(self, accounts: Iterable[Record]) -> BatchReport:
        """Register accounts or change them: `id`, `screen_name`, `protected`, `mail`.

        Raises:
            ApiError: the server refused the whole batch.
            TransportError: no answer arrived.
        """
        return self._transport.run(self._calls.register("accounts", accounts))

    def register_tweets(self, tweets: Iterable[Record]) -> BatchReport:
        """Register Tweets or change them: `id`, `author_id`, `created_at`, `video_id`, `deleted`.

        The server's pages show `text`, `url` and `thumbnail_url`.

        Raises:
            ApiError: the server refused the whole batch.
            TransportError: no answer arrived.
        """
        return self._transport.run(self._calls.register("tweets", tweets))

    def delete_tweet(self, tweet_id: str | int) -> bool:
        """Make a Tweet unavailable. Return False if it is not registered.

        Raises:
            ApiError: the server refused the call.
            TransportError: no answer arrived.
        """
        return self._transport.run(self._calls.delete_tweet(tweet_id))

    def usage(self, month: str | None = None) -> dict[str, Any]:
        """Return the usage of every app in a month, such as `2026-11`; by default in this one.

        Raises:
            ApiError: the server refused the call.
            TransportError: no answer arrived.
        """
        return self._transport.run(self._calls.usage(month))

    def send_batch(self, batch: Batch, *, kind: str = "events") -> BatchReport:
        """Send a batch, and again under the same key after transient failures.

        `kind` is `events`, `accounts` or `tweets`.

        Raises:
            ApiError: the server refused the whole batch.
            TransportError: no answer arrived.
        """
        return self._transport.run(self._calls.send(kind, batch))

    def sender(
        self, limits: BatchLimits | None = None, *, spool: Path | str | None = None
    ) -> EventSender:
        """Open a sender of events. While the server is away, batches wait in the folder `spool`."""
        return EventSender(
            self._transport.run,
            open_delivery(self._calls, spool),
            limits=limits or BatchLimits(),
            concurrency=self._options.concurrency,
        )
