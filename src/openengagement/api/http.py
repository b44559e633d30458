"""HTTP at the edge: bodies in with their caps, replies out with their encoding."""

import asyncio
import contextlib
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final
from urllib.parse import quote

import msgspec
from isal import isal_zlib

from openengagement.auth.message import Message
from openengagement.compression import decompress
from openengagement.errors import BodyTooLarge, BodyTooSlow, HeadersTooLarge, MalformedBody
from openengagement.settings import Network, Settings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
# Reads a request's body, still encoded, up to a limit of bytes.
ReadBody = Callable[[int], Awaitable[bytes]]

_LENGTH_DIGITS_MAX: Final = 18
# What is read, and thrown away, of the body of a request that is refused without it.
_DISCARD_MAX_BYTES: Final = 1_048_576
_DISCARD_S: Final = 1.0
_GZIP_WBITS: Final = 31  # zlib's window bits for the gzip format
# ISA-L's level 1 is four times as fast as zlib's, and shrinks answers as far as zlib's level 2.
_GZIP_LEVEL: Final = 1
# A body of a single packet is wrapped in gzip uncompressed: it would travel no faster.
_STORED_MAX: Final = 1024
# RFC 1952, 2.3: head and trailer. RFC 1951, 3.2.4: one last block that is stored, its length twice.
_STORED_HEAD: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01"
_STORED_LENGTHS: Final = struct.Struct("<HH")
_TRAILER: Final = struct.Struct("<II")


@dataclass(slots=True)
class Reply:
    """An answer before encoding: status, body, headers (lower-case names)."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Request(msgspec.Struct, frozen=True):
    """The head of a request.

    `headers` are all there are, names in lower case; `fields` has the last of each name.
    """

    method: str
    path: str
    query: str
    headers: Sequence[tuple[bytes, bytes]]
    fields: Mapping[bytes, str]
    scheme: str
    host: str
    peer: str  # the client's address
    secure: bool

    def header(self, name: bytes) -> str:
        """The last header of this name (lower case), empty when there is none."""
        return self.fields.get(name, "")

    def message(self, body: bytes) -> Message:
        """The request as authentication sees it."""
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
    """The request's head, with scheme and host as the client saw them.

    `X-Forwarded-*` count only from a trusted proxy. `secure` is what plain HTTP is judged by: TLS
    as far as we can tell, or a client on this machine.
    """
    headers = scope["headers"]
    seen = {key: value.decode("latin-1") for key, value in headers}
    client = scope.get("client") or ("", 0)
    scheme, host, peer = scope["scheme"], seen.get(b"host", ""), client[0]
    if settings.trusted_proxies and _is_in(peer, settings.proxies):
        scheme = _last(seen.get(b"x-forwarded-proto"), scheme).lower()
        host = _last(seen.get(b"x-forwarded-host"), host)
        peer = _without_port(_last(seen.get(b"x-forwarded-for"), peer))
    raw_path = scope.get("raw_path") or quote(scope["path"], safe="/:@!$&'()*+,;=~-._").encode()
    return Request(
        method=scope["method"],
        path=raw_path.partition(b"?")[0].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        fields=seen,
        scheme=scheme,
        host=host,
        peer=peer,
        secure=scheme == "https" or _is_loopback(peer),
    )


def _last(value: str | None, default: str) -> str:
    """What the nearest proxy, the one we trust, added to a list that a client may have begun."""
    return value.rpartition(",")[2].strip() if value else default


def _without_port(peer: str) -> str:
    """A client's address; some proxies name its port too."""
    host = peer.partition("]")[0].removeprefix("[") if peer.startswith("[") else peer
    return host.partition(":")[0] if host.count(":") == 1 else host


def _address(peer: str) -> IPv4Address | IPv6Address | None:
    """A peer's address; one of IPv4 that came through an IPv6 socket as what it is."""
    try:
        address = ip_address(peer)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_in(peer: str, networks: tuple[Network, ...]) -> bool:
    address = _address(peer)
    return address is not None and any(address in network for network in networks)


def _is_loopback(peer: str) -> bool:
    if peer == "127.0.0.1":  # by far the commonest, and parsing an address takes a while
        return True
    address = _address(peer)
    return address is not None and address.is_loopback


def check_head(request: Request, limit: int) -> None:
    """Refuse a head that is larger than the limit: path, query and headers, names included.

    Raises:
        HeadersTooLarge
    """
    size = len(request.path) + len(request.query)
    if size + sum([len(name) + len(value) for name, value in request.headers]) > limit:
        raise HeadersTooLarge(f"headers: with path and query they are larger than {limit} bytes")


class Body:
    """A request's body, still encoded, on its way in."""

    def __init__(self, request: Request, receive: Receive, *, timeout_s: float) -> None:
        self._request = request
        self._receive = receive
        self._timeout_s = timeout_s
        self._arrived = False

    async def read(self, limit: int) -> bytes:
        """All of it, once.

        Raises:
            BodyTooLarge: more than `limit` bytes, refused before the rest is read.
            BodyTooSlow: it was not whole in time.
            MalformedBody: the connection ended before the body did.
        """
        declared = self._request.header(b"content-length")
        if declared.isdecimal() and (len(declared) > _LENGTH_DIGITS_MAX or int(declared) > limit):
            raise BodyTooLarge(f"body: is larger than {limit} bytes")
        task, slow = asyncio.current_task(), False
        assert task is not None

        def give_up() -> None:
            nonlocal slow
            slow = True
            task.cancel()

        # As asyncio.timeout would, at a third of its price, which every request pays.
        timer = asyncio.get_running_loop().call_later(self._timeout_s, give_up)
        try:
            body = await _receive_all(self._receive, limit)
        except asyncio.CancelledError:
            if slow and task.uncancel() == 0:
                raise BodyTooSlow(f"body: was not whole within {self._timeout_s} s") from None
            raise
        finally:
            timer.cancel()
        self._arrived = True
        return body

    async def discard(self) -> None:
        """Let what is left of it come in before a refusal goes out, unless it is a lot.

        The connection of a body that nobody has read is closed behind the refusal. A client that is
        still sending then may lose the refusal and see only a broken connection.
        """
        request = self._request
        declared = request.header(b"content-length")
        coming = bool(declared.strip("0")) or bool(request.header(b"transfer-encoding"))
        if coming and not self._arrived:
            short = len(declared) <= _LENGTH_DIGITS_MAX and declared.isdecimal()
            if not declared or (short and int(declared) <= _DISCARD_MAX_BYTES):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_DISCARD_S):
                        await _receive_none(self._receive, _DISCARD_MAX_BYTES)


async def _receive_none(receive: Receive, limit: int) -> None:
    """Let a body in and keep nothing of it, until its end or the limit."""
    size, more = 0, True
    while more and size <= limit:
        message = await receive()
        size += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)


async def _receive_all(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            # Gone, or out of step with its own chunks: one that still listens is told.
            raise MalformedBody("body: ended before it was whole")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise BodyTooLarge(f"body: is larger than {limit} bytes")
        more = message.get("more_body", False)
    return b"".join(parts)


async def read_message(request: Request, read: ReadBody, *, limit: int) -> Message:
    """A whole request, its body decoded, as authentication sees it.

    Raises:
        BodyTooLarge, UnsupportedBody, RequestError
    """
    encoded = await read(limit)
    return request.message(decompress(encoded, request.header(b"content-encoding"), limit=limit))


def accepts_gzip(request: Request) -> bool:
    """Whether the client takes gzip (api.md 1.4): named, or by `*`, and not with `q=0`."""
    text = b",".join([value for key, value in request.headers if key == b"accept-encoding"])
    if text == b"gzip":
        return True
    weights = {
        name.strip().lower(): _weight(parameters)
        for name, _, parameters in (
            part.partition(";") for part in text.decode("latin-1").split(",")
        )
    }
    weight = weights.get("gzip", weights.get("x-gzip", weights.get("*", "0")))
    return weight.strip("0.") != ""


def _weight(parameters: str) -> str:
    """The `q` among a coding's parameters; 1 when there is none."""
    pairs = (parameter.partition("=") for parameter in parameters.lower().split(";"))
    return next((value.strip() for name, _, value in pairs if name.strip() == "q"), "1")


def encode_gzip(body: bytes) -> bytes:
    """A body in gzip, without a time stamp, so that equal bodies stay equal."""
    size = len(body)
    if size <= _STORED_MAX:
        lengths = _STORED_LENGTHS.pack(size, size ^ 0xFFFF)
        return b"".join((_STORED_HEAD, lengths, body, _TRAILER.pack(zlib.crc32(body), size)))
    return isal_zlib.compress(body, _GZIP_LEVEL, wbits=_GZIP_WBITS)
