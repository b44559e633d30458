"""Trace requests, reads of stores and batches with OpenTelemetry, if the environment says so.

What is traced is wrapped when a worker is built. Without tracing nothing is wrapped, and no module
of OpenTelemetry is imported. Spans have names, numbers and codes only: no query, path parameter,
header or content of a request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Final, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt

from openengagement.engagement.types import Tweet
from openengagement.ingest.batch import Outcome
from openengagement.ingest.sources.uploads import Upload
from openengagement.stores.contract import CounterStore, Stores, TweetStore
from openengagement.telemetry import WARNING, log_event, log_failure

Fact = str | int | bool
Note = Callable[[Mapping[str, Fact]], None]  # adds attributes to a span
_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Scope]]
_Send = Callable[[_Scope], Awaitable[None]]
_App = TypeVar("_App", bound=Callable[[Any, Any, Any], Awaitable[None]])

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNTRACED: Final = frozenset({"/health", "/livez", "/readyz"})  # asked every few seconds
_CLOSE_TIMEOUT_S: Final = 3.0
_ERROR: Final = 500


class Tracer(Protocol):
    """Makes spans, and sends them."""

    def request(
        self, name: str, *, headers: Sequence[tuple[bytes, bytes]], facts: Mapping[str, Fact]
    ) -> AbstractContextManager[Note]:
        """Open the span of a request for the block."""

    def span(self, name: str, facts: Mapping[str, Fact]) -> AbstractContextManager[Note]:
        """Open a span within that of a request for the block. Outside of one, do nothing."""

    def close(self) -> None:
        """Send the last spans."""


class _Process:
    """The tracer of this process, None if nothing is traced."""

    tracer: Tracer | None = None


def start_tracing(environ: Mapping[str, str], *, trusted: bool) -> None:
    """Trace what this process builds from now on, if the environment names a receiver.

    With `trusted`, the traces of clients are continued; otherwise they are linked. If OpenTelemetry
    is not installed, only a line is logged: the server is worth more than its traces.
    """
    if not _is_wanted(environ):
        return
    if any(environ.get(name, "http/protobuf") != "http/protobuf" for name in _PROTOCOLS):
        log_event("traces_not_sent", level=WARNING, reason="only http/protobuf is supported")
        return
    try:
        exporting = import_module("openengagement.tracing.exporting")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        log_failure("traces_not_sent", error, reason="pip install 'openengagement[otel]'")
        return
    _Process.tracer = exporting.OtlpTracer(trusted=trusted)
    log_event("tracing_started")


def trace_requests(app: _App, name_of: Callable[[str], str]) -> _App:
    """Trace the requests of an ASGI application. `name_of` returns the route of a path."""
    tracer = _Process.tracer
    return app if tracer is None else cast("_App", _TracedApp(app, tracer, name_of=name_of))


def trace_stores(stores: Stores) -> Stores:
    """Trace the reads that answers are made of."""
    tracer = _Process.tracer
    if tracer is None:
        return stores
    counters, tweets = (_TracedReads(store, tracer) for store in (stores.counters, stores.tweets))
    return Stores(cast("CounterStore", counters), cast("TweetStore", tweets))


def trace_batches(handle: Callable[[Upload], Outcome]) -> Callable[[Upload], Outcome]:
    """Trace the batches of the platform, from the end of their body to the commit."""
    tracer = _Process.tracer
    if tracer is None:
        return handle

    def handle_traced(upload: Upload) -> Outcome:
        facts: dict[str, Fact] = {"kind": upload.kind.name, "bytes": len(upload.body)}
        with tracer.span("apply_batch", facts) as note:
            outcome = handle(upload)
            note(
                {
                    "accepted": outcome.accepted,
                    "rejected": outcome.rejected,
                    "duplicate": outcome.duplicate,
                }
            )
        return outcome

    return handle_traced


def _is_wanted(environ: Mapping[str, str]) -> bool:
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    other = environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return any(environ.get(name) for name in _ENDPOINTS) and not off and not other


class _TracedReads:
    """A store whose reads for answers are traced. Everything else is the store's."""

    def __init__(self, store: CounterStore | TweetStore, tracer: Tracer) -> None:
        self._store: Any = store
        self._tracer = tracer

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._store, name)

    def read_totals(self, tweet_ids: Sequence[int], types: Sequence[str]) -> npt.NDArray[np.int64]:
        with self._span("read_totals", tweet_ids, types=len(types)):
            found: npt.NDArray[np.int64] = self._store.read_totals(tweet_ids, types)
        return found

    def read_buckets(
        self, tweet_ids: Sequence[int], types: Sequence[str], *, start_hour: int, end_hour: int
    ) -> npt.NDArray[np.int64]:
        hours = {"start_hour": start_hour, "end_hour": end_hour}
        with self._span("read_buckets", tweet_ids, types=len(types), hours=end_hour - start_hour):
            found: npt.NDArray[np.int64] = self._store.read_buckets(tweet_ids, types, **hours)
        return found

    def read_tweets(self, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
        with self._span("read_tweets", tweet_ids):
            found: dict[int, Tweet] = self._store.read_tweets(tweet_ids)
        return found

    def _span(
        self, name: str, tweet_ids: Sequence[int], **facts: int
    ) -> AbstractContextManager[Note]:
        store = {"store": self._store.name, "tweets": len(tweet_ids)}
        return self._tracer.span(name, {**store, **facts})


class _TracedApp:
    """An ASGI application with a span for each request."""

    def __init__(
        self,
        app: Callable[[Any, Any, Any], Awaitable[None]],
        tracer: Tracer,
        *,
        name_of: Callable[[str], str],
    ) -> None:
        self._app = app
        self._tracer = tracer
        self._name_of = name_of

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Handle one request, or the start and the stop of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, self._closing(send))
            return
        route = self._name_of(scope["path"])
        if route in _UNTRACED:
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        facts = {"http.request.method": method, "http.route": route}
        name = f"{method} {route}"
        with self._tracer.request(name, headers=scope["headers"], facts=facts) as note:

            async def send_noted(message: _Scope) -> None:
                if message["type"] == "http.response.start":
                    note(_facts_of(message))
                await send(message)

            await self._app(scope, receive, send_noted)

    def _closing(self, send: _Send) -> _Send:
        """Send the last spans before the end of the stop is reported."""

        async def send_last(message: _Scope) -> None:
            if message["type"] == "lifespan.shutdown.complete":
                closing = asyncio.to_thread(self._tracer.close)
                await asyncio.wait([asyncio.create_task(closing)], timeout=_CLOSE_TIMEOUT_S)
            await send(message)

        return send_last


def _facts_of(start: _Scope) -> dict[str, Fact]:
    """Return the status of an answer, its `x-error-code` and the request id."""
    headers = dict(start["headers"])
    facts: dict[str, Fact] = {"http.response.status_code": start["status"]}
    code = headers.get(b"x-error-code")
    if code is not None:
        facts["openengagement.error_code"] = code.decode("latin-1")
    if start["status"] >= _ERROR:
        facts["error.type"] = str(facts.get("openengagement.error_code", start["status"]))
    request_id = headers.get(b"x-request-id", b"").decode("latin-1")
    return facts | ({"openengagement.request_id": request_id} if request_id else {})
