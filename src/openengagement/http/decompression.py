"""Decompress request bodies, within a limit on their size and on the work."""

import zlib
from collections.abc import Callable
from typing import Final

import zstandard

from openengagement.errors import BodyTooLarge, MalformedBody, UnsupportedBody

_GZIP_WBITS: Final = 31
_ZSTD_WINDOW_MAX: Final = 2**27
# Limit on the gzip members (bgzip writes one per 64 KiB) or zstd frames of a body. Each one costs
# a new decoder.
_MEMBERS_MAX: Final = 10_000
# The first bytes of gzip, zlib and zstd data. A body that begins like this without declaring an
# encoding must not reach the data frame library, which would decompress it without a limit.
PACKED: Final = (b"\x1f\x8b", b"x\x01", b"x^", b"x\x9c", b"x\xda", b"\x28\xb5\x2f\xfd")
_MAGIC: Final = {b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


class _Gzip:
    """A gzip member."""

    piece: Final = 16_384

    def __init__(self) -> None:
        self.inflate = zlib.decompressobj(_GZIP_WBITS)

    def decode(self, piece: bytes, room: int) -> bytes:
        return self.inflate.decompress(piece, room + 1)


class _Zstd:
    """A zstd frame.

    zstandard has no limit on its output, so it gets small pieces of input. A block of 4 bytes can
    expand to 128 KiB, and a piece to 16 MiB at most.
    """

    piece: Final = 512

    def __init__(self) -> None:
        self.inflate = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX).decompressobj()

    def decode(self, piece: bytes, _room: int) -> bytes:
        return self.inflate.decompress(piece)


_MEMBERS: Final[dict[str, Callable[[], _Gzip | _Zstd]]] = {"gzip": _Gzip, "zstd": _Zstd}


def decompress(body: bytes, encoding: str, *, limit: int) -> bytes:
    """Undo a content encoding: gzip, zstd or none. Consecutive members or frames are joined.

    Raises:
        UnsupportedBody: another encoding.
        BodyTooLarge: the result is larger than `limit` bytes.
        MalformedBody: the body does not match the encoding, or is truncated.
    """
    encoding = encoding.strip().lower().removeprefix("x-")
    if encoding in {"", "identity"}:
        return body
    if encoding not in _MEMBERS:
        raise UnsupportedBody("Content-Encoding: use gzip, zstd or none")
    decoded = bytearray()
    rest = memoryview(body)
    for number in range(_MEMBERS_MAX):
        # As gzip does, accept zeros after the last member: storage in blocks adds them.
        if not rest or (number and encoding == "gzip" and not any(rest)):
            return bytes(decoded)
        try:
            rest = rest[_decode_member(_MEMBERS[encoding](), rest, decoded=decoded, limit=limit) :]
        except (zlib.error, zstandard.ZstdError):
            if number and find_compression(bytes(rest[:4])) != encoding:
                text = f"body: has {len(rest)} other bytes after the end of the {encoding} data"
                raise MalformedBody(text) from None
            raise MalformedBody(f"body: is not the {encoding} that Content-Encoding says") from None
    raise MalformedBody(f"body: is made of more than {_MEMBERS_MAX} {encoding} members")


def find_compression(start: bytes) -> str | None:
    """Return the encoding that a body begins like, by its first bytes: gzip, zstd or None."""
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


def _decode_member(
    member: _Gzip | _Zstd, body: memoryview, *, decoded: bytearray, limit: int
) -> int:
    """Decompress the first member of `body` onto `decoded`; return its length in `body`."""
    offset = 0
    while not member.inflate.eof:
        piece = body[offset : offset + member.piece]
        if not piece:
            raise MalformedBody("body: its compressed data is cut short")
        decoded += member.decode(bytes(piece), limit - len(decoded))
        if len(decoded) > limit:
            raise BodyTooLarge(f"body: is larger than {limit} bytes once decompressed")
        offset += len(piece)
    return offset - len(member.inflate.unused_data)
