"""Read the batches that a platform uploads over HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final

import msgspec

from openengagement.errors import AllRejected, BatchRefused, InvalidField, MalformedBody
from openengagement.http.decompression import decompress, find_compression
from openengagement.ingest.batch import BatchIdentity, Outcome, ParsedBatch, describe, digest_of
from openengagement.ingest.batch_parser import BatchParser, Content
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.mapping.mapped_parser import read_parsers
from openengagement.ingest.rows import Kind
from openengagement.settings import Settings

_PATIENCE_S: Final = 2.0
_SENT_KEY_AT: Final = len(b"key:") + 32  # after the SHA-256 of the platform key


@dataclass(frozen=True, slots=True)
class Upload:
    """A body as it was sent, with the headers and query parameters that describe it.

    `encoding` and `content_type` are header values, empty if the header is missing. `mapping` is
    the name of one that makes events of the rows. `key_hash` and `request_id` are for the log.
    """

    kind: Kind
    body: bytes
    encoding: str
    content_type: str
    key: bytes | None
    atomic: bool
    mapping: str = ""
    key_hash: str | None = None
    request_id: str = ""


def identify(upload: Upload, body: bytes) -> BatchIdentity:
    """Return the identity of an upload, with its decompressed body."""
    named = f"{upload.mapping}\n".encode() if upload.mapping else b""
    return BatchIdentity(upload.key, digest_of(named + body))


def read_sent_key(key: bytes) -> bytes:
    """Return an idempotency key as its producer sent it: without `key:` and the platform key."""
    return key[_SENT_KEY_AT:]


# Applies an upload, and returns its outcome when it is durable. Raises ApiError.
UploadHandler = Callable[[Upload], Outcome]


class UploadReader:
    """Reads uploads within the limits of the settings: `decompress`, then `parse`.

    Raises:
        UnusableFile: a mapping of the settings cannot be used.
    """

    def __init__(self, settings: Settings, now_s: Callable[[], float]) -> None:
        self._settings = settings
        parser = BatchParser(
            lines_max=settings.batch_max_lines,
            latest_s=lambda: now_s() + settings.event_future_max_s,
        )
        self._parser = parser
        self._mapped = read_parsers(parser, settings.mapping_files)
        self._lock = Lock()

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Let one thread at a time run this block. After _PATIENCE_S, a thread enters anyway.

        Parsing uses all cores. Several bodies at once are no faster, and they delay all other work.
        """
        acquired = self._lock.acquire(timeout=_PATIENCE_S)
        try:
            yield
        finally:
            if acquired:
                self._lock.release()

    def decompress(self, upload: Upload) -> bytes:
        """Decompress a body.

        Raises:
            RequestError: the encoding is unknown, or the body is damaged or too large.
        """
        limit = self._settings.batch_max_decompressed_bytes
        body = decompress(upload.body, upload.encoding, limit=limit)
        if encoding := find_compression(body):
            fault = f"is {encoding} data; send Content-Encoding: {encoding}"
            raise MalformedBody(f"body: {fault if body is upload.body else 'is compressed twice'}")
        return body

    def parse(self, upload: Upload, body: Content, *, form: Format) -> ParsedBatch:
        """Parse a decompressed body, and map its rows if the upload names a mapping.

        Raises:
            RequestError: the body as a whole cannot be parsed, or there is no such mapping.
        """
        parser = self._mapped.get(upload.mapping) if upload.mapping else self._parser
        if parser is None:
            raise InvalidField(f"map: the server has no mapping {upload.mapping[:64]!r}")
        return parser.parse(body, form, kind=upload.kind)

    def describe(self, parsed: ParsedBatch, *, atomic: bool) -> Outcome:
        """Describe the outcome of a batch for its sender.

        Raises:
            BatchRefused: the batch is atomic and has rejected lines.
            AllRejected: there are lines, and all are rejected.
        """
        listed_max = self._settings.rejections_listed_max
        if parsed.rejected.height and (atomic or parsed.rows.is_empty()):
            refused = ParsedBatch(parsed.rows.clear(), parsed.rejected)
            outcome = describe(refused, listed_max=listed_max)
            refusal = BatchRefused if atomic else AllRejected
            raise refusal(outcome.rejected, details=msgspec.to_builtins(outcome))
        return describe(parsed, listed_max=listed_max)
