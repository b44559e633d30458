"""The platform's client: registers accounts and Tweets, and sends events."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

from openengagement_client.batches import Batch, BatchLimits, compress, make_key
from openengagement_client.calls import Call, Reply
from openengagement_client.credentials import Credentials, load_profile
from openengagement_client.errors import ConfigurationError, NotFound, UnexpectedAnswer
from openengagement_client.event_sender import EventSender
from openengagement_client.exchange import exchange
from openengagement_client.reports import BatchReport, parse_report
from openengagement_client.retrying import RetryPolicy
from openengagement_client.sessions import LOOPBACK, Session, check_url
from openengagement_client.spool import Spool
from openengagement_client.transport import Options, Transport

Record = Mapping[str, Any]

_PATH: Final = "/platform/v1/"
_NDJSON: Final = {"content-type": "application/x-ndjson"}


class PlatformClient:
    """Sends a platform's data. Threads may share it.

    The platform key is an argument, or comes from a profile, the environment (`PLATFORM_KEY`) or
    `.env`, as `load_profile` says.

    Raises:
        ConfigurationError: there is no URL or no key.
    """

    def __init__(
        self,
        url: str | None = None,
        platform_key: str | None = None,
        *,
        profile: str | None = None,
        policy: RetryPolicy | None = None,
        options: Options | None = None,
    ) -> None:
        options = options or Options()
        given = Credentials(platform_key=platform_key) if platform_key else None
        found = load_profile(url, given, profile=profile)
        if not (key := found.credentials.platform_key):
            raise ConfigurationError("no platform key: pass it, or set PLATFORM_KEY")
        base = check_url(found.url, allow_plain_http=options.allow_plain_http)
        self._compresses = urlsplit(base).hostname not in LOOPBACK
        self._session = Session(base, _bearer(key), policy or RetryPolicy())
        self._options = options
        self._transport = Transport(options)

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
        self._transport.close()

    def register_accounts(self, accounts: Iterable[Record]) -> BatchReport:
        """Register accounts or change them: `id`, `screen_name`, `protected`.

        Raises:
            ApiError: the server refused the whole batch.
            TransportError: no answer arrived.
        """
        return self._send("accounts", Batch(encode_records(accounts), make_key()))

    def register_tweets(self, tweets: Iterable[Record]) -> BatchReport:
        """Register Tweets or change them: `id`, `author_id`, `created_at`, `video_id`, `deleted`.

        Raises:
            ApiError: the server refused the whole batch.
            TransportError: no answer arrived.
        """
        return self._send("tweets", Batch(encode_records(tweets), make_key()))

    def delete_tweet(self, tweet_id: str | int) -> bool:
        """Make a Tweet unavailable. Return False if it is not registered.

        Raises:
            ApiError: the server refused the call.
            TransportError: no answer arrived.
        """
        try:
            self._call(Call("DELETE", f"{_PATH}tweets/{quote(str(tweet_id), safe='')}"))
        except NotFound:
            return False
        return True

    def usage(self, month: str | None = None) -> dict[str, Any]:
        """Return the usage of every app in a month, such as `2026-11`; by default in this one.

        Raises:
            ApiError: the server refused the call.
            TransportError: no answer arrived.
        """
        query = f"?month={quote(month)}" if month else ""
        found = self._call(Call("GET", f"{_PATH}usage{query}", expects_json=True)).content
        if not isinstance(found, dict):
            raise UnexpectedAnswer("the usage is not a JSON object")
        return found

    def send_batch(self, batch: Batch) -> BatchReport:
        """Send a batch of events, and again under the same key after transient failures.

        Raises:
            ApiError: the server refused the whole batch.
            TransportError: no answer arrived.
        """
        return self._send("events", batch)

    def sender(
        self, limits: BatchLimits | None = None, *, spool: Path | str | None = None
    ) -> EventSender:
        """Open a sender of events. While the server is away, batches wait in the folder `spool`."""
        return EventSender(
            self.send_batch,
            limits or BatchLimits(),
            spool=Spool(Path(spool)) if spool is not None else None,
            concurrency=self._options.concurrency,
        )

    def _send(self, what: str, batch: Batch) -> BatchReport:
        body, headers = batch.body, {**_NDJSON, "idempotency-key": batch.key}
        if self._compresses:
            body, headers["content-encoding"] = compress(body)
        reply = self._call(Call("POST", _PATH + what, body, headers, expects_json=True))
        return parse_report(reply.content, first_line=batch.first_line)

    def _call(self, call: Call) -> Reply:
        reply = self._transport.run(exchange(call, self._session))
        if not reply.is_success:
            raise reply.error()
        return reply


def encode_records(records: Iterable[Record]) -> bytes:
    """Encode records as NDJSON."""
    encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
    return b"".join([encode(dict(record)).encode() + b"\n" for record in records])


def _bearer(key: str) -> Callable[..., str]:
    return lambda _method, **_rest: f"Bearer {key}"
