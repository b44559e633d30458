"""Make spans with OpenTelemetry, and send them with OTLP over HTTP.

The SDK reads its standard environment variables. This is the only module that imports it.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import (
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from openengagement.telemetry import WARNING, log_event
from openengagement.tracing.spans import Fact, Note

_PARENT_HEADERS: Final = frozenset({b"traceparent", b"tracestate"})
_LOGGED_EVERY_S: Final = 60.0


class OtlpTracer:
    """A `tracing.spans.Tracer` that sends spans in the background."""

    def __init__(self, *, trusted: bool) -> None:
        _log_failures_as_ours()
        name = "openengagement"
        ours = Resource({SERVICE_NAME: name, SERVICE_VERSION: version(name)})
        # The variables OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES replace ours.
        self._provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(name)
        self._trusted = trusted

    @contextmanager
    def request(
        self, name: str, *, headers: Sequence[tuple[bytes, bytes]], facts: Mapping[str, Fact]
    ) -> Iterator[Note]:
        parent = _read_parent(headers, trusted=self._trusted)
        caller = trace.get_current_span(parent).get_span_context()
        links = [trace.Link(caller)] if caller.is_valid and not self._trusted else []
        with self._tracer.start_as_current_span(
            name,
            context=parent if self._trusted else Context(),
            kind=trace.SpanKind.SERVER,
            links=links,
            attributes=facts,
            # The message of an exception could quote a header or a body.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield _noting(span)

    @contextmanager
    def span(self, name: str, facts: Mapping[str, Fact]) -> Iterator[Note]:
        if not trace.get_current_span().is_recording():
            yield _note_nothing
            return
        with self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        ) as span:
            note = _noting(span)
            note(_named(facts))
            try:
                yield lambda more: note(_named(more))
            except BaseException as error:
                note({"error.type": type(error).__name__})
                raise

    def close(self) -> None:
        self._provider.shutdown()


def _noting(span: trace.Span) -> Note:
    def note(facts: Mapping[str, Fact]) -> None:
        span.set_attributes(facts)
        if "error.type" in facts:
            span.set_status(trace.StatusCode.ERROR)

    return note


def _note_nothing(_facts: Mapping[str, Fact]) -> None:
    pass


def _named(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    return {f"openengagement.{name}": fact for name, fact in facts.items()}


def _read_parent(headers: Sequence[tuple[bytes, bytes]], *, trusted: bool) -> Context:
    """Read the trace of the client. Only a trusted one may say more than two ids."""
    names = _PARENT_HEADERS if trusted else {b"traceparent"}
    carrier = {
        name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name in names
    }
    return TraceContextTextMapPropagator().extract(carrier, Context())


class _OurLog(logging.Handler):
    """Logs at most once in a minute that spans are lost, without the SDK's words."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._next_s = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _LOGGED_EVERY_S
            log_event("traces_not_sent", level=WARNING, reported_by=record.name)


def _log_failures_as_ours() -> None:
    logger = logging.getLogger("opentelemetry")
    logger.propagate = False
    logger.handlers = [_OurLog()]
