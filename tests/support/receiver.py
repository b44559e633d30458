"""A receiver of webhooks with TLS, and a mail server, in this process."""

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from standardwebhooks.webhooks import Webhook

from openengagement.sandbox.certificate_authority import open_certificates
from support.listener import WebSite
from support.ports import HOST, free_port
from support.waiting import PATIENCE_S

LOOPBACK = "127.0.0.0/8,::1"


class Receiver(WebSite):
    """Receives webhooks. `answer` returns the status of each request, by its number from 0.

    With `folder`, it has TLS, and `authority` is the certificate that its clients must trust.
    """

    def __init__(
        self, folder: Path | None = None, answer: Callable[[int], int] = lambda _number: 204
    ) -> None:
        super().__init__(self._handler())
        self.received: list[SimpleNamespace] = []
        self.answer = answer
        self.headers: dict[str, str] = {}  # of every answer
        self.body = b""
        self.url = f"http://localhost:{self.port}/hook?key=of-the-receiver"
        self.authority: Path | None = None
        if folder is not None:
            made = open_certificates(folder, ["localhost"], now=datetime.now(UTC))
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(made.leaf, made.leaf_key)
            self.http.socket = context.wrap_socket(
                self.http.socket, server_side=True, do_handshake_on_connect=False
            )
            self.authority = made.authority
            self.url = self.url.replace("http:", "https:")

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The JSON of every request."""
        return [json.loads(each.body) for each in self.received]

    @property
    def ids(self) -> list[str]:
        """The id of every request."""
        return [each.headers["webhook-id"] for each in self.received]

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The messages of one type."""
        return [each for each in self.messages if each["type"] == kind]

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is a request's
        class Handler(BaseHTTPRequestHandler):
            timeout = 60

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = SimpleNamespace(path=self.path, headers=headers, body=body)
                receiver.received.append(request)
                self.send_response(receiver.answer(len(receiver.received) - 1))
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(receiver.body)))
                self.end_headers()
                self.wfile.write(receiver.body)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Write no log."""

        return Handler


def verify(request: SimpleNamespace, secret: str) -> dict[str, Any]:
    """Verify a request with the library of the specification's authors. Return its JSON."""
    found: dict[str, Any] = Webhook(secret).verify(request.body, request.headers)
    return found


class Inbox:
    """Keeps the mail that it receives. `answer` is what the server says to each."""

    def __init__(self) -> None:
        self.mails: list[SimpleNamespace] = []
        self.answer = "250 OK"
        self.users: list[bytes] = []

    async def handle_DATA(self, server: Any, _session: object, envelope: Any) -> str:  # noqa: N802
        mail = SimpleNamespace(
            sender=envelope.mail_from,
            receivers=envelope.rcpt_tos,
            content=envelope.content,
            has_tls=server.transport.get_extra_info("ssl_object") is not None,
        )
        self.mails.append(mail)
        return self.answer

    def authenticate(
        self, _server: object, _session: object, _envelope: object, _mechanism: str, data: Any
    ) -> AuthResult:
        """Accept any password but `wrong`."""
        self.users.append(data.login)
        return AuthResult(success=data.password != b"wrong", handled=False)


@contextmanager
def mail_server(
    inbox: Inbox, *, certificates: Any = None, starttls: bool = True, **options: Any
) -> Iterator[int]:
    """Run a mail server for the block, and return its port."""
    context = None
    if certificates is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificates.leaf, certificates.leaf_key)
    tls = {"tls_context": context, "require_starttls": True} if starttls and context else {}
    implicit = {} if starttls else {"ssl_context": context}
    port = free_port()
    server = Controller(
        inbox,
        hostname=HOST,
        port=port,
        authenticator=inbox.authenticate,
        auth_require_tls=bool(tls),  # it does not count TLS from the start
        ready_timeout=PATIENCE_S,
        **tls,
        **implicit,
        **options,
    )
    server.start()
    try:
        yield port
    finally:
        server.stop()
