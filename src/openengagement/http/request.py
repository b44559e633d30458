"""Read a request from ASGI: its head, and its body within limits of size and time."""

import asyncio
import contextlib
import os
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, Protocol
from urllib.parse import quote

import msgspec

from openengagement.errors import (
    BodyTooLarge,
    BodyTooSlow,
    HeadersTooLarge,
    InvalidField,
    MalformedBody,
    WrongHost,
)
from openengagement.http.budget import ByteBudget
from openengagement.http.decompression import decompress
from openengagement.http.forms import MalformedParameters, Parameters, parse_form
from openengagement.http.message import Message
from openengagement.setting_kinds import Network
from openengagement.settings import Settings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# The key of a page's ASGI scope under which it finds its ReadBody.
READ_BODY: Final = "openengagement.read_body"
# A form is read before any credentials are checked, so every connection of a worker may hold a form
# of this size.
FORM_MAX_BYTES: Final = 16_384
# A body of this size is not counted for the budget. The usual requests fit, so clients are served
# although others have used the budget up.
UNCOUNTED_BYTES: Final = 8192
_PORT: Final = re.compile(r":[0-9]+\Z")
_LENGTH_DIGITS_MAX: Final = 18
# Before a refusal is sent, at most so much of an unread body is read and dropped, for so long. Each
# body that arrives takes up to 100 KB of buffers, so a worker does this for so many at once.
_DISCARD_MAX_BYTES: Final = 1_048_576
_DISCARD_S: Final = 1.0
DISCARDS_MAX: Final = 256


class ReadBody(Protocol):
    """Reads a request's body, still encoded, up to a limit of bytes."""

    async def __call__(self, limit: int, *, counted: bool = False) -> bytes:
        """`counted` says that it counts for the budget of the bodies in flight, if it is large."""


class Request(msgspec.Struct, frozen=True):
    """The head of a request.

    `headers` has every header, names in lower case. `fields` maps each name to its last value.
    `request_id` is random. The answer has it as `x-request-id`, and so have log lines.
    """

    method: str
    path: str
    query: str
    headers: Sequence[tuple[bytes, bytes]]
    fields: Mapping[bytes, str]
    scheme: str
    host: str
    peer: str  # the client's address
    secure: bool  # may be answered: TLS, or a client on this machine
    request_id: str = ""

    def header(self, name: bytes) -> str:
        """Return the last header of this name (lower case), empty if there is none."""
        return self.fields.get(name, "")

    def parse_query(self) -> Parameters:
        """Parse the query.

        Raises:
            InvalidField: it is malformed.
        """
        try:
            return parse_form(self.query)
        except MalformedParameters as error:
            raise InvalidField(f"query: {error}") from None

    def message(self, body: bytes) -> Message:
        """Return the complete request, as authentication needs it."""
        return Message(
            method=self.method,
            scheme=self.scheme,
            host=self.host,
            path=self.path,
            query=self.query,
            authorization=tuple(
                [value.decode("latin-1") for key, value in self.headers if key == b"authorization"]
            ),
            content_type=self.header(b"content-type"),
            body=body,
        )


def read_head(scope: Scope, settings: Settings) -> Request:
    """Read the head of a request, with scheme and host as the client saw them.

    `X-Forwarded-*` headers count only from a trusted proxy.
    """
    headers = scope["headers"]
    fields = {key: value.decode("latin-1") for key, value in headers}
    client = scope.get("client") or ("", 0)
    scheme, host, peer = scope["scheme"], fields.get(b"host", ""), client[0]
    if settings.trusted_proxies and _is_in(peer, settings.proxies):
        scheme = _last(fields.get(b"x-forwarded-proto"), scheme).lower()
        host = _last(fields.get(b"x-forwarded-host"), host)
        peer = _without_port(_last(fields.get(b"x-forwarded-for"), peer))
    raw_path = scope.get("raw_path") or quote(scope["path"], safe="/:@!$&'()*+,;=~-._").encode()
    return Request(
        method=scope["method"],
        path=raw_path.partition(b"?")[0].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        fields=fields,
        scheme=scheme,
        host=host,
        peer=peer,
        secure=scheme == "https" or _is_loopback(peer),
        request_id=os.urandom(8).hex(),
    )


def _last(value: str | None, default: str) -> str:
    """Return the last item: the trusted proxy appended it, the client may have sent the others."""
    return value.rpartition(",")[2].strip() if value else default


def _without_port(peer: str) -> str:
    """Remove the port that some proxies append to a client's address."""
    host = peer.partition("]")[0].removeprefix("[") if peer.startswith("[") else peer
    return host.partition(":")[0] if host.count(":") == 1 else host


def _address(peer: str) -> IPv4Address | IPv6Address | None:
    """Parse an address. An IPv4 address that arrived on an IPv6 socket becomes IPv4."""
    try:
        address = ip_address(peer)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_in(peer: str, networks: tuple[Network, ...]) -> bool:
    address = _address(peer)
    return address is not None and any(address in network for network in networks)


def _is_loopback(peer: str) -> bool:
    if peer == "127.0.0.1":  # most frequent, and parsing an address is slow
        return True
    address = _address(peer)
    return address is not None and address.is_loopback


def check_head(request: Request, limit: int, *, hosts: frozenset[str] = frozenset()) -> None:
    """Refuse a head that is larger than `limit` bytes, or that names another host than `hosts`.

    The size is that of path, query, and names and values of the headers. Empty `hosts` allow every
    host; a host without a port allows all its ports.

    Raises:
        HeadersTooLarge, WrongHost
    """
    size = len(request.path) + len(request.query)
    if size + sum([len(name) + len(value) for name, value in request.headers]) > limit:
        raise HeadersTooLarge(f"headers: with path and query they are larger than {limit} bytes")
    if hosts:
        host = request.host.lower()
        if host not in hosts and _PORT.sub("", host) not in hosts:
            raise WrongHost("Host: is not one of this server's names")


class Body:
    """The body of a request while it arrives, not decompressed.

    All bodies of a worker share `budget` and `discards`. The latter bounds how many are discarded
    at once.
    """

    def __init__(
        self,
        request: Request,
        receive: Receive,
        *,
        timeout_s: float,
        budget: ByteBudget,
        discards: asyncio.Semaphore,
    ) -> None:
        self._request = request
        self._receive = receive
        self._timeout_s = timeout_s
        self._budget = budget
        self._discards = discards
        self._counted = 0
        self._arrived = False

    async def read(self, limit: int, *, counted: bool = False) -> bytes:
        """Read the whole body. Call it once.

        `counted` says that a body of more than UNCOUNTED_BYTES counts for the budget until
        `release`: with its declared size, or else with `limit`. It counts before it arrives, so
        that a crowd of clients cannot fill the budget with bodies of which none becomes whole.

        Raises:
            BodyTooLarge: more than `limit` bytes; the rest stays unread.
            BodyTooSlow: the body was not complete in time.
            MalformedBody: the connection ended before the body did.
            Unavailable: too many bytes of bodies are in flight.
        """
        declared = self._request.header(b"content-length")
        if declared.isdecimal():
            if len(declared) > _LENGTH_DIGITS_MAX or int(declared) > limit:
                raise BodyTooLarge(f"body: is larger than {limit} bytes")
            if counted:
                self._count(int(declared))
        task, slow = asyncio.current_task(), False
        assert task is not None

        def give_up() -> None:
            nonlocal slow
            slow = True
            task.cancel()

        # asyncio.timeout does the same in three times the time, on every request.
        timer = asyncio.get_running_loop().call_later(self._timeout_s, give_up)
        try:
            body = await self._receive_all(limit, counted=counted)
        except asyncio.CancelledError:
            if slow and task.uncancel() == 0:
                raise BodyTooSlow(f"body: was not whole within {self._timeout_s} s") from None
            raise
        finally:
            timer.cancel()
        self._arrived = True
        return body

    async def _receive_all(self, limit: int, *, counted: bool) -> bytes:
        # Not a list of parts: a client can send thousands of chunks of one byte.
        whole, more = bytearray(), True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                # The client closed the connection, or it sent malformed chunks and still reads.
                raise MalformedBody("body: ended before it was whole")
            part: bytes = message.get("body", b"")
            size = len(whole) + len(part)
            if size > limit:
                raise BodyTooLarge(f"body: is larger than {limit} bytes")
            if counted and size > UNCOUNTED_BYTES:
                self._count(limit)
            more = message.get("more_body", False)
            if not (more or whole):
                return part
            whole += part
        return bytes(whole)

    def _count(self, size: int) -> None:
        """Take the size of a large body from the budget, once."""
        if size > UNCOUNTED_BYTES and not self._counted:
            self._budget.take(size)
            self._counted = size

    def release(self) -> None:
        """Stop counting this body. Call it when the request is handled."""
        self._budget.give_back(self._counted)
        self._counted = 0

    async def discard(self) -> None:
        """Read the rest of a small body before a refusal is sent.

        The server closes the connection of an unread body after its answer. A client that is still
        sending may then lose the answer and see only a broken connection. If DISCARDS_MAX other
        bodies are being discarded, this one is not.
        """
        request = self._request
        declared = request.header(b"content-length")
        coming = bool(declared.strip("0")) or bool(request.header(b"transfer-encoding"))
        if coming and not self._arrived and not self._discards.locked():
            short = len(declared) <= _LENGTH_DIGITS_MAX and declared.isdecimal()
            if not declared or (short and int(declared) <= _DISCARD_MAX_BYTES):
                with contextlib.suppress(TimeoutError):
                    async with self._discards, asyncio.timeout(_DISCARD_S):
                        await _receive_none(self._receive, _DISCARD_MAX_BYTES)


async def _receive_none(receive: Receive, limit: int) -> None:
    """Read a body and drop it, until its end or the limit."""
    size, more = 0, True
    while more and size <= limit:
        message = await receive()
        size += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)


async def read_message(
    request: Request, read: ReadBody, *, limit: int, counted: bool = False
) -> Message:
    """Read and decompress the body, and return the complete request.

    `counted` is that of ReadBody.

    Raises:
        BodyTooLarge, UnsupportedBody, RequestError
    """
    encoded = await read(limit, counted=counted)
    return request.message(decompress(encoded, request.header(b"content-encoding"), limit=limit))
