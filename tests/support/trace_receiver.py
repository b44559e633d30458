"""A receiver of traces: OTLP over HTTP, with the protocol's own messages."""

import threading
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.listener import WebSite
from support.ports import HOST


class TraceReceiver(WebSite):
    """Keeps the spans that it receives, and every byte of them."""

    def __init__(self) -> None:
        super().__init__(self._handler())
        self.url = f"http://{HOST}:{self.port}"
        self.spans: list[SimpleNamespace] = []
        self.content = b""
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()

    def of_request(self, request_id: str) -> SimpleNamespace | None:
        """The span of the request with this id, None if it has not arrived yet."""
        found = [s for s in self.spans if s.facts.get("openengagement.request_id") == request_id]
        return found[0] if found else None

    def within(self, span: SimpleNamespace) -> list[SimpleNamespace]:
        """The spans whose parent is this one, in their order."""
        found = [each for each in self.spans if each.parent_id == span.id]
        return sorted(found, key=lambda each: each.began_ns)

    def _note(self, body: bytes, headers: dict[str, str]) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            self.content += body
            self.headers.append(headers)
            for resource in request.resource_spans:
                service = _facts_of(resource.resource.attributes)
                for scope in resource.scope_spans:
                    self.spans += [_read(span, service) for span in scope.spans]

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is a request's
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver._note(body, dict(self.headers))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Write no log."""

        return Handler


def _read(span, service) -> SimpleNamespace:
    return SimpleNamespace(
        name=span.name,
        id=span.span_id,
        trace_id=span.trace_id.hex(),
        parent_id=span.parent_span_id,
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        facts=_facts_of(span.attributes),
        is_error=span.status.code == span.status.STATUS_CODE_ERROR,
        message=span.status.message,
        events=len(span.events),
        is_server=span.kind == span.SPAN_KIND_SERVER,
        began_ns=span.start_time_unix_nano,
        service=service,
    )


def _facts_of(attributes) -> dict[str, object]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
