"""Cut NDJSON into batches, and name and compress each.

A batch keeps its idempotency key for ever: the server counts it once, however often it is sent.
"""

import hashlib
import re
import uuid
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from openengagement_client.errors import InvalidQuery

# The server's limits for a body.
_BODY_MAX_BYTES: Final = 64 * 1024 * 1024
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_KEY: Final = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The size and age at which a batch is sent."""

    lines_max: int = 500_000
    bytes_max: int = 8 * 1024 * 1024
    age_max_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines of NDJSON, complete with their line ends, and the key under which they count once.

    `first_line` is the number of the first line in its file, from 1.
    """

    body: bytes
    key: str
    first_line: int = 1

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise InvalidQuery(
                f"{self.key!r} is no idempotency key: use 1 to 255 characters of ASCII"
            )

    @property
    def lines(self) -> int:
        """The number of lines."""
        return self.body.count(b"\n") + (not self.body.endswith(b"\n"))


def make_key() -> str:
    """Return a new idempotency key."""
    return uuid.uuid4().hex


def content_key(body: bytes, first_line: int) -> str:
    """Return the key of a part of a file: the same part of the same file has the same key."""
    return f"{hashlib.sha256(body).hexdigest()[:40]}-{first_line}"


def cut_batches(blocks: Iterable[bytes], limits: BatchLimits) -> Iterator[Batch]:
    """Cut the blocks of a file into batches of whole lines, whose keys follow from the content.

    Raises:
        InvalidQuery: one line is larger than the server accepts.
    """
    rest, line = b"", 1  # the rest is never a whole batch
    for block in blocks:
        pieces, rest = split_lines(rest + block, limits)
        for piece in pieces:
            yield Batch(piece, content_key(piece, line), line)
            line += piece.count(b"\n")
        if len(rest) > _BODY_MAX_BYTES:
            raise InvalidQuery(f"line {line} has more than {_BODY_MAX_BYTES} bytes")
    if rest.strip():
        yield Batch(rest, content_key(rest, line), line)


def read_batches(path: Path | str, limits: BatchLimits) -> Iterator[Batch]:
    """Cut an NDJSON file into batches.

    Raises:
        OSError: the file cannot be read.
        InvalidQuery: one line is larger than the server accepts.
    """
    with Path(path).open("rb", buffering=0) as file:
        yield from cut_batches(iter(partial(file.read, limits.bytes_max), b""), limits)


def split_lines(data: bytes, limits: BatchLimits) -> tuple[list[bytes], bytes]:
    """Cut full batches off the beginning of `data`. Return them, and the rest.

    A batch has at most the lines and bytes of the limits, but at least one whole line.
    """
    pieces, start = [], 0
    while len(data) - start >= limits.bytes_max or data.count(b"\n", start) >= limits.lines_max:
        end = data.rfind(b"\n", start, start + limits.bytes_max) + 1
        if end <= start:  # a line longer than a batch
            end = data.find(b"\n", start) + 1
        if end <= start:
            break
        end = _nth_line_end(data, start, end=end, lines=limits.lines_max)
        pieces.append(data[start:end])
        start = end
    return pieces, data[start:]


def _nth_line_end(data: bytes, start: int, *, end: int, lines: int) -> int:
    """Return the end of the line number `lines` of `data[start:end]`, or `end` if it has fewer."""
    if data.count(b"\n", start, end) <= lines:
        return end
    low, high = start, end
    while high - low > 1:  # halve the range that holds the line end
        middle = (low + high) // 2
        if data.count(b"\n", start, middle) >= lines:
            high = middle
        else:
            low = middle
    return high


def compress(body: bytes) -> tuple[bytes, str]:
    """Compress a body. Return it with its `Content-Encoding`: zstd if installed, else gzip."""
    try:
        import zstandard  # noqa: PLC0415 - optional, and four times as fast as gzip
    except ImportError:
        encoder = zlib.compressobj(1, wbits=_GZIP_WINDOW)
        return encoder.compress(body) + encoder.flush(), "gzip"
    return zstandard.ZstdCompressor(level=1).compress(body), "zstd"
