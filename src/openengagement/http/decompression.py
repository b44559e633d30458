"""Undoing `Content-Encoding` without ever growing past a limit, or working long for little."""

import zlib
from collections.abc import Callable
from typing import Final

import zstandard

from openengagement.errors import BodyTooLarge, MalformedBody, UnsupportedBody

_GZIP_WBITS: Final = 31
_ZSTD_WINDOW_MAX: Final = 2**27
# Members of gzip (bgzip makes one for 64 KiB) or frames of zstd in one body. Each costs a decoder.
_MEMBERS_MAX: Final = 10_000
# How gzip, zlib and zstd begin. A body that does so undeclared is text for all we know, but the
# data frame library would unpack it by itself, without a limit: it must not see it.
PACKED: Final = (b"\x1f\x8b", b"x\x01", b"x^", b"x\x9c", b"x\xda", b"\x28\xb5\x2f\xfd")


class _Gzip:
    """A gzip member."""

    piece: Final = 16_384

    def __init__(self) -> None:
        self.inflate = zlib.decompressobj(_GZIP_WBITS)

    def decode(self, piece: bytes, room: int) -> bytes:
        return self.inflate.decompress(piece, room + 1)


class _Zstd:
    """A zstd frame.

    zstandard cannot be told where to stop, so it is fed little: a block of 4 bytes can stand for
    128 KiB, and this much input for 16 MiB at the very most.
    """

    piece: Final = 512

    def __init__(self) -> None:
        self.inflate = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX).decompressobj()

    def decode(self, piece: bytes, _room: int) -> bytes:
        return self.inflate.decompress(piece)


_MEMBERS: Final[dict[str, Callable[[], _Gzip | _Zstd]]] = {"gzip": _Gzip, "zstd": _Zstd}


def decompress(body: bytes, encoding: str, *, limit: int) -> bytes:
    """Undo a content encoding: gzip, zstd or none. Several members or frames in a row are joined.

    Raises:
        UnsupportedBody: another encoding.
        BodyTooLarge: it would grow past `limit` bytes.
        MalformedBody: it is not what the encoding says, or is cut short.
    """
    encoding = encoding.strip().lower().removeprefix("x-")
    if encoding in {"", "identity"}:
        return body
    if encoding not in _MEMBERS:
        raise UnsupportedBody("Content-Encoding: use gzip, zstd or none")
    decoded = bytearray()
    rest = memoryview(body)
    for _ in range(_MEMBERS_MAX):
        if not rest:
            return bytes(decoded)
        try:
            rest = rest[_decode_member(_MEMBERS[encoding](), rest, decoded=decoded, limit=limit) :]
        except (zlib.error, zstandard.ZstdError):
            raise MalformedBody(f"body: is not the {encoding} that Content-Encoding says") from None
    raise MalformedBody(f"body: is made of more than {_MEMBERS_MAX} {encoding} members")


def _decode_member(
    member: _Gzip | _Zstd, body: memoryview, *, decoded: bytearray, limit: int
) -> int:
    """Decode the first member of `body` onto `decoded`; returns its length."""
    at = 0
    while not member.inflate.eof:
        piece = body[at : at + member.piece]
        if not piece:
            raise MalformedBody("body: its compressed data is cut short")
        decoded += member.decode(bytes(piece), limit - len(decoded))
        if len(decoded) > limit:
            raise BodyTooLarge(f"body: is larger than {limit} bytes once decompressed")
        at += len(piece)
    return at - len(member.inflate.unused_data)
