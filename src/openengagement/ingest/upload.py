"""A batch that a platform uploads: decode, judge, apply, and say what became of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final

import msgspec

from openengagement.errors import BatchRefused
from openengagement.http.decompression import decompress
from openengagement.ingest.formats import detect_format
from openengagement.ingest.intake import (
    Intake,
    Outcome,
    describe,
    digest_of,
    make_batch,
    read_batch,
    repeat_of,
)
from openengagement.ingest.rows import Kind
from openengagement.ingest.writer import BatchWriter
from openengagement.settings import Settings

_PATIENCE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Upload:
    """A batch as it came, with what its headers and query say of it."""

    kind: Kind
    body: bytes
    encoding: str
    content_type: str
    key: bytes | None
    atomic: bool


Take = Callable[[Upload], Outcome]


class Counting:
    """Takes batches of events, from any thread; returns when a batch is durable."""

    def __init__(
        self, writer: BatchWriter, *, settings: Settings, now_s: Callable[[], float]
    ) -> None:
        self._writer = writer
        self._reader = BodyReader(settings, now_s)

    def take(self, upload: Upload) -> Outcome:
        """Count a batch, in a thread that does nothing else.

        Raises:
            RequestError: the batch as a whole cannot be taken; nothing of it counted.
            BatchRefused: it is atomic and has bad lines.
            Unavailable: it could not be stored; nothing of it counted.
        """
        with self._reader.turn():
            body, intake = self._reader.read(upload)
            outcome = self._reader.describe(intake)
            batch = make_batch(intake, outcome, digest=digest_of(body), key=upload.key)
        applied = self._writer.submit(batch).result()
        return repeat_of(applied.outcome) if applied.duplicate else outcome


class BodyReader:
    """Reads bodies, one at a time; what is refused is described as settings say."""

    def __init__(self, settings: Settings, now_s: Callable[[], float]) -> None:
        self._settings = settings
        self._now_s = now_s
        # Many at once would be no quicker, and what answers meanwhile would wait for its turn
        # among them all.
        self._parsing = Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Work alone, but wait for nobody for long: some bodies take their time."""
        mine = self._parsing.acquire(timeout=_PATIENCE_S)
        try:
            yield
        finally:
            if mine:
                self._parsing.release()

    def read(self, upload: Upload) -> tuple[bytes, Intake]:
        """The body, decompressed, and what is in it."""
        limit = self._settings.batch_max_decompressed_bytes
        body = decompress(upload.body, upload.encoding, limit=limit)
        intake = read_batch(
            body,
            detect_format(upload.content_type, body),
            kind=upload.kind,
            lines_max=self._settings.batch_max_lines,
            latest_s=self._now_s() + self._settings.event_future_max_s,
        )
        self.refuse_partial(upload, intake)
        return body, intake

    def refuse_partial(self, upload: Upload, intake: Intake) -> None:
        if upload.atomic and intake.rejected.height:
            outcome = self.describe(Intake(intake.rows.clear(), intake.rejected))
            raise BatchRefused(outcome.rejected, details=msgspec.to_builtins(outcome))

    def describe(self, intake: Intake) -> Outcome:
        return describe(intake, listed_max=self._settings.rejections_listed_max)
