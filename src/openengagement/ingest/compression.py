"""Undoing `Content-Encoding` without ever growing past a limit."""

import zlib
from collections.abc import Callable
from typing import Final

import zstandard

from openengagement.errors import BodyTooLarge, RequestError, UnsupportedBody

_GZIP_WBITS: Final = 31
_ZSTD_WINDOW_MAX: Final = 2**27
# zstandard cannot be told where to stop, so it is fed little: a block of 4 bytes can stand for
# 128 KiB, and this much input for 32 MiB at the very most.
_ZSTD_PIECE: Final = 1024


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo a content encoding: gzip, zstd or none. Several members or frames in a row are joined.

    Raises:
        UnsupportedBody: another encoding.
        BodyTooLarge: it would grow past `limit` bytes.
        RequestError: it is not what the encoding says, or is cut short.
    """
    encoding = encoding.strip().lower().removeprefix("x-")
    if encoding in {"", "identity"}:
        return body
    if encoding not in _MEMBERS:
        raise UnsupportedBody("Content-Encoding: use gzip, zstd or none")
    decoded = bytearray()
    while body:
        try:
            body = _MEMBERS[encoding](body, decoded, limit)
        except (zlib.error, zstandard.ZstdError):
            raise RequestError(f"body: is not the {encoding} that Content-Encoding says") from None
    return bytes(decoded)


def _gzip_member(body: bytes, decoded: bytearray, limit: int) -> bytes:
    """Decode one member onto `decoded`; returns what follows it."""
    inflate = zlib.decompressobj(_GZIP_WBITS)
    decoded += inflate.decompress(body, limit + 1 - len(decoded))
    _check(decoded, limit)
    return _rest(ended=inflate.eof, rest=inflate.unused_data)


def _zstd_frame(body: bytes, decoded: bytearray, limit: int) -> bytes:
    inflate = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX).decompressobj()
    at = 0
    while at < len(body) and not inflate.eof:
        decoded += inflate.decompress(body[at : at + _ZSTD_PIECE])
        _check(decoded, limit)
        at += _ZSTD_PIECE
    return _rest(ended=inflate.eof, rest=inflate.unused_data + body[at:])


_MEMBERS: Final[dict[str, Callable[[bytes, bytearray, int], bytes]]] = {
    "gzip": _gzip_member,
    "zstd": _zstd_frame,
}


def _check(decoded: bytearray, limit: int) -> None:
    if len(decoded) > limit:
        raise BodyTooLarge(f"body: is larger than {limit} bytes once decompressed")


def _rest(*, ended: bool, rest: bytes) -> bytes:
    if not ended:
        raise RequestError("body: its compressed data is cut short")
    return rest
