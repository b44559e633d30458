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


class _Decoded:
    """What was decoded so far, which never grows past its limit by more than one piece."""

    def __init__(self, limit: int) -> None:
        self._data = bytearray()
        self._limit = limit

    @property
    def room(self) -> int:
        return self._limit - len(self._data)

    def add(self, piece: bytes) -> None:
        if len(piece) > self.room:
            raise BodyTooLarge(f"body: is larger than {self._limit} bytes once decompressed")
        self._data += piece

    def whole(self) -> bytes:
        return bytes(self._data)


def decompress(body: bytes, encoding: str, *, limit: int) -> bytes:
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
    decoded = _Decoded(limit)
    while body:
        try:
            body = _MEMBERS[encoding](body, decoded)
        except (zlib.error, zstandard.ZstdError):
            raise RequestError(f"body: is not the {encoding} that Content-Encoding says") from None
    return decoded.whole()


def _gzip_member(body: bytes, decoded: _Decoded) -> bytes:
    """Decode one member; returns what follows it."""
    inflate = zlib.decompressobj(_GZIP_WBITS)
    decoded.add(inflate.decompress(body, decoded.room + 1))
    return _rest(ended=inflate.eof, rest=inflate.unused_data)


def _zstd_frame(body: bytes, decoded: _Decoded) -> bytes:
    inflate = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX).decompressobj()
    at = 0
    while at < len(body) and not inflate.eof:
        decoded.add(inflate.decompress(body[at : at + _ZSTD_PIECE]))
        at += _ZSTD_PIECE
    return _rest(ended=inflate.eof, rest=inflate.unused_data + body[at:])


_MEMBERS: Final[dict[str, Callable[[bytes, _Decoded], bytes]]] = {
    "gzip": _gzip_member,
    "zstd": _zstd_frame,
}


def _rest(*, ended: bool, rest: bytes) -> bytes:
    if not ended:
        raise RequestError("body: its compressed data is cut short")
    return rest
