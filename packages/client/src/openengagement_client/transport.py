"""Perform the steps of `exchange` with httpx, in threads. `async_transport.py` has an event loop.

httpx is imported when the first client is made, because its import takes longer than that of
everything else in this package.
"""

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from openengagement_client.bodies import BODY_MAX_BYTES, BrokenBody, decode_body
from openengagement_client.calls import Failure, Outcome, Reply, Send, Wait
from openengagement_client.errors import TransportError

if TYPE_CHECKING:
    import ssl

    import httpx

Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Options:
    """How a client connects.

    Attributes:
        concurrency: requests in progress at a time.
        connect_timeout_s: to open a connection.
        read_timeout_s: between two pieces of an answer.
        answer_timeout_s: for a whole answer.
        verify: an SSL context for servers with a private certificate authority.
        allow_plain_http: allow `http://` to other machines.
        on_wait: is called with the seconds and the reason before each wait.
        on_answer: is called after each request of a query. Both may be called in several threads.
    """

    concurrency: int = 4
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    answer_timeout_s: float = 300.0
    verify: "ssl.SSLContext | bool" = True
    allow_plain_http: bool = False
    on_wait: Callable[[float, str], None] = lambda _seconds, _reason: None
    on_answer: Callable[[], None] = lambda: None


def httpx_settings(options: Options) -> dict[str, Any]:
    """Return the arguments of a client of httpx."""
    import httpx  # noqa: PLC0415 - slow, see above

    limits = httpx.Limits(
        max_connections=options.concurrency, max_keepalive_connections=options.concurrency
    )
    # Waiting for a free connection is no fault: the limit is ours.
    timeout = httpx.Timeout(options.read_timeout_s, connect=options.connect_timeout_s, pool=None)
    return {"limits": limits, "timeout": timeout, "verify": options.verify}


class Incoming:
    """Collects the body of an answer, within limits of size and time."""

    def __init__(self, options: Options) -> None:
        self._deadline_s = time.monotonic() + options.answer_timeout_s
        self._pieces: list[bytes] = []
        self._bytes = 0

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._bytes += len(piece)
        if self._bytes > BODY_MAX_BYTES:
            raise BrokenBody(f"the body has more than {BODY_MAX_BYTES} bytes")
        if time.monotonic() > self._deadline_s:
            raise BrokenBody("the answer takes too long")

    def reply(self, response: "httpx.Response") -> Reply:
        headers = {name.lower(): value for name, value in response.headers.items()}
        body = decode_body(b"".join(self._pieces), headers.get("content-encoding", ""))
        return Reply(response.status_code, headers, body)


def describe_failure(error: Exception) -> Failure:
    """Return the failure of an attempt that ended with this exception."""
    return Failure(str(error) or type(error).__name__)


class Transport:
    """Sends requests over pooled connections. Several threads may use it."""

    def __init__(self, options: Options) -> None:
        import httpx  # noqa: PLC0415 - slow, see above

        self._options = options
        self._errors = (httpx.HTTPError, httpx.InvalidURL, BrokenBody)
        self._client = httpx.Client(**httpx_settings(options))
        self._closing = threading.Event()

    def stop(self) -> None:
        """End all waits, in every thread, with `TransportError`."""
        self._closing.set()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def run(self, steps: Generator[Send | Wait, Outcome, Done]) -> Done:
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
                if self._closing.wait(step.seconds):
                    raise TransportError("the client was closed")
                outcome = None
            else:
                outcome = self._send(step)

    def _send(self, step: Send) -> Outcome:
        if self._closing.is_set():
            raise TransportError("the client was closed")
        incoming = Incoming(self._options)
        try:
            with self._client.stream(
                step.method, step.url, headers=dict(step.headers), content=step.body
            ) as response:
                for piece in response.iter_raw():
                    incoming.add(piece)
            return incoming.reply(response)
        except self._errors as error:
            return describe_failure(error)
