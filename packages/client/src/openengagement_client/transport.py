"""Perform steps with httpx, in threads. `async_transport.py` does it in an event loop.

httpx is imported when the first client is made, because its import takes longer than that of
everything else in this package.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from openengagement_client.content_encoding import (
    BODY_MAX_BYTES,
    BodyTooLarge,
    BrokenBody,
    decode_body,
)
from openengagement_client.errors import TransportError
from openengagement_client.http_messages import (
    Done,
    HttpRequest,
    HttpResponse,
    Outcome,
    Steps,
    TransportFailure,
    Wait,
)

if TYPE_CHECKING:
    import ssl

    import httpx

# Requests to this machine never go through a proxy of the environment, which could read them.
_NO_PROXY: Final = {f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")}


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


def httpx_arguments(options: Options) -> dict[str, Any]:
    """Return the arguments of a client of httpx. It follows no redirects."""
    import httpx  # noqa: PLC0415 - slow, see above

    limits = httpx.Limits(
        max_connections=options.concurrency, max_keepalive_connections=options.concurrency
    )
    # Waiting for a free connection is no fault: the limit is ours.
    timeout = httpx.Timeout(options.read_timeout_s, connect=options.connect_timeout_s, pool=None)
    return {
        "follow_redirects": False,
        "limits": limits,
        "mounts": _NO_PROXY,
        "timeout": timeout,
        "verify": options.verify,
    }


def httpx_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of an attempt that got no usable answer."""
    import httpx  # noqa: PLC0415 - slow, see above

    return httpx.HTTPError, httpx.InvalidURL, BrokenBody


class ResponseReader:
    """Collects the body of an answer, within limits of size and time."""

    def __init__(self, options: Options) -> None:
        self._deadline_s = time.monotonic() + options.answer_timeout_s
        self._pieces: list[bytes] = []
        self._bytes = 0

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._bytes += len(piece)
        if self._bytes > BODY_MAX_BYTES:
            raise BodyTooLarge
        if time.monotonic() > self._deadline_s:
            raise BrokenBody("the answer takes too long")

    def read(self, response: "httpx.Response") -> HttpResponse:
        headers = {name.lower(): value for name, value in response.headers.items()}
        body = decode_body(b"".join(self._pieces), headers.get("content-encoding", ""))
        return HttpResponse(response.status_code, headers, body)


def describe_failure(error: Exception) -> TransportFailure:
    """Return the failure of an attempt that ended with this exception."""
    reason = str(error) or type(error).__name__
    return TransportFailure(reason, is_lasting=isinstance(error, BodyTooLarge))


class Transport:
    """Sends requests over pooled connections. Several threads may use it."""

    def __init__(self, options: Options) -> None:
        import httpx  # noqa: PLC0415 - slow, see above

        self._options = options
        self._errors = httpx_errors()
        self._client = httpx.Client(**httpx_arguments(options))
        self._closing = threading.Event()

    def stop(self) -> None:
        """End all waits, in every thread, with `TransportError`."""
        self._closing.set()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def run(self, steps: Steps[Done]) -> Done:
        """Perform the steps until they end, and return their result.

        The steps receive the exceptions of this transport, so that they can keep what is not sent.
        """
        advance: Callable[[], HttpRequest | Wait] = partial(next, steps)
        try:
            while True:
                step = advance()
                try:
                    outcome = self._perform(step)
                except TransportError as error:
                    advance = partial(steps.throw, error)
                else:
                    advance = partial(steps.send, outcome)
        except StopIteration as done:
            result: Done = done.value
            return result

    def _perform(self, step: HttpRequest | Wait) -> Outcome:
        pause_s = 0.0
        if isinstance(step, Wait):
            self._options.on_wait(step.seconds, step.reason)
            pause_s = step.seconds
        if self._closing.wait(pause_s):
            raise TransportError("the client was closed")
        return None if isinstance(step, Wait) else self._send(step)

    def _send(self, step: HttpRequest) -> Outcome:
        reader = ResponseReader(self._options)
        try:
            with self._client.stream(
                step.method, step.url, headers=dict(step.headers), content=step.body
            ) as response:
                for piece in response.iter_raw():
                    reader.add(piece)
            return reader.read(response)
        except self._errors as error:
            return describe_failure(error)
