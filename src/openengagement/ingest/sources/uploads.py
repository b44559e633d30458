"""Read the batches that a platform uploads over HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final

import msgspec

from openengagement.errors import AllRejected, BatchRefused, MalformedBody
from openengagement.http.decompression import decompress, find_compression
from openengagement.ingest.batch import Outcome, ParsedBatch, describe
from openengagement.ingest.batch_parser import BatchParser
from openengagement.ingest.rows import Kind
from openengagement.settings import Settings

_PATIENCE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Upload:
    """A body as it was sent, with the headers and query parameters that describe it.

    `encoding` and `content_type` are header values, empty if the header is missing. `key_hash` and
    `request_id` are for the log.
    """

    kind: Kind
    body: bytes
    encoding: str
    content_type: str
    key: bytes | None
    atomic: bool
    key_hash: str | None = None
    request_id: str = ""


# Applies an upload, and returns its outcome when it is durable. Raises ApiError.
UploadHandler = Callable[[Upload], Outcome]


class UploadReader:
    """Reads uploads within the limits of the settings: `decompress`, then `parser.parse`."""

    def __init__(self, settings: Settings, now_s: Callable[[], float]) -> None:
        self._settings = settings
        self.parser = BatchParser(
            lines_max=settings.batch_max_lines,
            latest_s=lambda: now_s() + settings.event_future_max_s,
        )
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
