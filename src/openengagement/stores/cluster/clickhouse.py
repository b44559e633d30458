"""One server of ClickHouse, over HTTP, with connections that are kept open."""

import base64
import http.client
import math
import re
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import quote, urlencode

_IDLE_MAX_S: Final = 2.0  # the server closes a connection that is idle for 3 s (18.16) or longer
_CONNECT_TIMEOUT_S: Final = 1.0
_ANSWERED_S: Final = 0.01  # enough to read an answer that is there already
_CODE: Final = re.compile(r"Code: (\d+)")
# Sent with every query. The whole answer is computed before its status is sent; otherwise an error
# could follow half of the rows.
_SETTINGS: Final = {
    "wait_end_of_query": "1",
    "max_query_size": str(2**24),  # 256 KiB otherwise, too little for the totals of 50,000 Tweets
}


class Unreachable(Exception):
    """The server did not answer in time, or at all. It may have executed the query."""


class Refused(Exception):
    """The server answered with an error. `code` is ClickHouse's number, 0 if it sent none."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(slots=True)
class Duration:
    """How long the queries of one kind took."""

    count: int = 0
    failures: int = 0
    sum_s: float = 0.0
    max_s: float = 0.0


class Times:
    """The durations of the queries to one server, by kind, since they were last taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_kind: defaultdict[str, Duration] = defaultdict(Duration)

    def note(self, kind: str, took_s: float, *, failed: bool) -> None:
        """Add a query."""
        with self._lock:
            each = self._by_kind[kind]
            each.count += 1
            each.failures += failed
            each.sum_s += took_s
            each.max_s = max(each.max_s, took_s)

    def take(self) -> dict[str, Duration]:
        """Return all durations, and begin again."""
        with self._lock:
            taken = dict(self._by_kind)
            self._by_kind.clear()
        return taken


@dataclass(frozen=True, slots=True)
class Access:
    """The user, the database and TLS. They are the same for all servers of a cluster."""

    user: str
    password: str = field(repr=False)
    database: str
    tls: ssl.SSLContext | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers that authenticate the user."""
        credentials = f"{self.user}:{self.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(credentials).decode()}"}


class Answer:
    """An answer that was not read yet. `note` gets its duration, and whether it failed."""

    def __init__(
        self,
        server: "Server",
        connection: http.client.HTTPConnection,
        *,
        note: Callable[..., None],
        timeout_s: float,
    ) -> None:
        self._server = server
        self._connection = connection
        self._note = note
        self._timeout_s = timeout_s
        self._began_s = time.monotonic()
        self._was_read = False

    def abandon(self) -> None:
        """Close the connection if the answer was not read, because nobody needs it."""
        if not self._was_read:
            self._connection.close()

    def read(self) -> bytes:
        """Wait for the answer, and read it.

        Raises:
            Unreachable
            Refused
        """
        self._was_read = failed = True
        try:
            body = self._read()
            failed = False
        finally:
            self._note(time.monotonic() - self._began_s, failed=failed)
        return body

    def _read(self) -> bytes:
        # The time began when the query was sent: answers of several servers are awaited in turns.
        left_s = self._began_s + self._timeout_s - time.monotonic()
        self._connection.sock.settimeout(max(left_s, _ANSWERED_S))
        try:
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._server.close()  # if it was started again, all connections are broken
            raise self._server.unreachable(error) from error
        self._server.release(self._connection)
        if response.status != http.HTTPStatus.OK:
            text = body.decode(errors="replace").partition("\n")[0]
            code = response.headers.get("X-ClickHouse-Exception-Code")
            found = code or ((match := _CODE.search(text)) and match[1])
            raise Refused(int(found or 0), f"{self._server.name}: {text}")
        self._server.answered_s = time.monotonic()
        return body


class Server:
    """Sends queries to one server. Threads may share it."""

    def __init__(self, host: str, port: int, *, access: Access) -> None:
        self.name = f"{host}:{port}"
        self._address = host, port
        self._access = access
        self._headers = access.headers()
        self.times = Times()
        self.answered_s = -math.inf  # monotonic; reset by a failure
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []

    def send(
        self,
        query: str,
        body: bytes = b"",
        *,
        timeout_s: float,
        settings: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a query. Several servers can work at once if their answers are read afterwards.

        Raises:
            Unreachable
        """
        given = {"database": self._access.database, **_SETTINGS, **(settings or {})}
        if body:
            given["query"] = query
        path = f"/?{urlencode(given, quote_via=quote)}"
        connection = self._request(path, body or query.encode(), timeout_s=timeout_s)
        note = partial(self.times.note, _kind_of(query))
        return Answer(self, connection, note=note, timeout_s=timeout_s)

    def run(
        self,
        query: str,
        body: bytes = b"",
        *,
        timeout_s: float,
        settings: Mapping[str, str] | None = None,
    ) -> bytes:
        """Send a query, and read its answer.

        Raises:
            Unreachable
            Refused
        """
        return self.send(query, body, timeout_s=timeout_s, settings=settings).read()

    def release(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection for the next query, if the server keeps it open."""
        if connection.sock is not None:
            self._idle.append((time.monotonic(), connection))

    def unreachable(self, error: Exception) -> Unreachable:
        """Note that the server does not answer now. Return the exception to raise."""
        self.answered_s = -math.inf
        return Unreachable(f"{self.name}: {str(error) or type(error).__name__}")

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop()[1].close()

    def _request(self, path: str, body: bytes, *, timeout_s: float) -> http.client.HTTPConnection:
        """Send a request over an idle connection, or over a new one if that is broken."""
        while True:
            idle = bool(self._idle)
            connection = self._connect(timeout_s)
            try:
                connection.request("POST", path, body, self._headers)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if not idle or isinstance(error, TimeoutError):
                    raise self.unreachable(error) from error
            else:
                return connection

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        while self._idle:
            released_s, connection = self._idle.pop()
            if time.monotonic() - released_s < _IDLE_MAX_S:
                connection.sock.settimeout(timeout_s)
                return connection
            connection.close()
        connection = self._open()
        try:
            connection.connect()
        except OSError as error:
            raise self.unreachable(error) from error
        connection.sock.settimeout(timeout_s)
        return connection

    def _open(self) -> http.client.HTTPConnection:
        host, port = self._address
        if self._access.tls is None:
            return http.client.HTTPConnection(host, port, timeout=_CONNECT_TIMEOUT_S)
        context = self._access.tls
        return http.client.HTTPSConnection(host, port, timeout=_CONNECT_TIMEOUT_S, context=context)


def _kind_of(query: str) -> str:
    """Return `insert`, `sync` or `read`."""
    return {"INSERT": "insert", "SYSTEM": "sync"}.get(query.split(maxsplit=1)[0], "read")
