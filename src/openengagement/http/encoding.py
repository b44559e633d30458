"""Decide whether an answer is compressed, and compress it with gzip."""

import gzip
import os
import struct
import zlib
from collections.abc import Iterable
from io import BytesIO
from typing import Final

from isal import isal_zlib

_GZIP_WBITS: Final = 31  # zlib's window bits for the gzip format
# ISA-L's level 1 is four times as fast as zlib's, and compresses answers as well as zlib's level 2.
_FAST_LEVEL: Final = 1
# A body that fits into one packet is framed without compression: it would not travel faster.
_STORED_MAX: Final = 1024
# RFC 1952, 2.3: header and trailer. RFC 1951, 3.2.4: one last stored block, its length twice.
_STORED_HEAD: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01"
_STORED_LENGTHS: Final = struct.Struct("<HH")
_TRAILER: Final = struct.Struct("<II")
_PAGE_LEVEL: Final = 5
_PADDING_MAX: Final = 100
_ENCODINGS: Final = ("gzip", "x-gzip", "*")  # the first of these that a header lists decides


def accepts_gzip(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether a request accepts gzip (RFC 9110, 12.5.3; api.md 1.4).

    `headers` are in the form of ASGI. `x-gzip` means gzip (8.4.1.3), and `*` stands for every
    encoding that is not listed. A weight of zero refuses.
    """
    text = b",".join([value for name, value in headers if name == b"accept-encoding"])
    if text == b"gzip":
        return True
    weights = {
        name.strip().lower(): _weight(parameters)
        for name, _, parameters in (
            part.partition(";") for part in text.decode("latin-1").split(",")
        )
    }
    weight = next((weights[name] for name in _ENCODINGS if name in weights), "0")
    return weight.strip("0.") != ""


def _weight(parameters: str) -> str:
    """Return the `q` among an encoding's parameters, 1 without one."""
    pairs = (parameter.partition("=") for parameter in parameters.lower().split(";"))
    return next((value.strip() for name, _, value in pairs if name.strip() == "q"), "1")


def compress(body: bytes) -> bytes:
    """Encode an answer with gzip, fast, without a time stamp: equal bodies stay equal."""
    size = len(body)
    if size <= _STORED_MAX:
        lengths = _STORED_LENGTHS.pack(size, size ^ 0xFFFF)
        return _STORED_HEAD + lengths + body + _TRAILER.pack(zlib.crc32(body), size)
    return isal_zlib.compress(body, _FAST_LEVEL, wbits=_GZIP_WBITS)


def compress_file(content: bytes) -> bytes:
    """Compress a static file with gzip, as small as possible. Call it ahead of time."""
    return gzip.compress(content, mtime=0)


def compress_page(page: bytes) -> bytes:
    """Compress a page with gzip and hide its compressed length.

    A page holds the CSRF token of its forms next to text from its URL, so the compressed length
    could reveal the token (the BREACH attack). A file name of random length in the gzip header
    hides that length.
    """
    packed = BytesIO()
    padding = os.urandom(_PADDING_MAX).hex()[: 1 + os.urandom(1)[0] % _PADDING_MAX]
    with gzip.GzipFile(padding, "wb", _PAGE_LEVEL, packed, mtime=0) as file:
        file.write(page)
    return packed.getvalue()
