"""Decompress the body of an answer, and notice if it was cut off or is too large."""

import zlib
from typing import Final

# The largest answers, to /historical with three groupings, have a few MiB.
BODY_MAX_BYTES: Final = 64 * 1024 * 1024
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


class BrokenBody(ValueError):
    """A body that is cut off, damaged, or of an unknown encoding."""


class BodyTooLarge(BrokenBody):
    """A body that is larger than an answer can be."""

    def __init__(self, most: int = BODY_MAX_BYTES) -> None:
        super().__init__(f"the body of the answer has more than {most} bytes")


def decode_body(raw: bytes, encoding: str, *, most: int = BODY_MAX_BYTES) -> bytes:
    """Undo the `Content-Encoding` of an answer.

    Raises:
        BrokenBody: the data ends early or is damaged.
        BodyTooLarge: it has more than `most` bytes.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity") or not raw:
        return raw
    if encoding not in ("gzip", "x-gzip"):
        raise BrokenBody(f"the encoding {encoding!r} was not asked for")
    decoder = zlib.decompressobj(_GZIP_WINDOW)
    try:
        body = decoder.decompress(raw, most)
    except zlib.error as error:
        raise BrokenBody(f"the gzip data is damaged: {error}") from None
    if decoder.unconsumed_tail:
        raise BodyTooLarge(most)
    if not decoder.eof:
        raise BrokenBody("the gzip data ends early")
    return body
