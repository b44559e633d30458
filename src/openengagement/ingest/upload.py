"""A batch that a platform uploads: decode, judge, apply, and say what became of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final

import msgspec

from openengagement.errors import BatchRefused
from openengagement.ingest.compression import decompress
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
from openengagement.ingest.register import Registrar
from openengagement.ingest.rows import ACCOUNTS, EVENTS, Kind
from openengagement.ingest.writer import BatchWriter
from openengagement.process import give_way
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


class Uploads:
    """Takes uploads, from any thread; returns when a batch is durable."""

    def __init__(
        self,
        registrar: Registrar,
        writer: BatchWriter,
        *,
        settings: Settings,
        now_s: Callable[[], float],
    ) -> None:
        self._registrar = registrar
        self._writer = writer
        self._settings = settings
        self._now_s = now_s
        # Batches are parsed one at a time, by all cores. Many at once would be no quicker, and what
        # answers meanwhile would wait for its turn among them all.
        self._parsing = Lock()

    def take(self, upload: Upload) -> Outcome:
        """Apply a batch, in a thread that does nothing else.

        Raises:
            RequestError: the batch as a whole cannot be taken; nothing of it counted.
            BatchRefused: it is atomic and has bad lines.
            Unavailable: it could not be stored; nothing of it counted.
        """
        give_way()
        limit = self._settings.batch_max_decompressed_bytes
        body = decompress(upload.body, upload.encoding, limit=limit)
        if upload.kind is EVENTS:
            with self._turn():
                intake = self._read(upload, body)
                outcome = self._describe(intake)
                batch = make_batch(intake, outcome, digest=digest_of(body), key=upload.key)
            applied = self._writer.submit(batch).result()
            return repeat_of(applied.outcome) if applied.duplicate else outcome
        with self._turn():
            intake = self._read(upload, body)
        if upload.kind is ACCOUNTS:
            intake = self._registrar.register_accounts(
                intake, now_s=self._now_s(), atomic=upload.atomic
            )
            self._refuse_partial(upload, intake)
            return self._describe(intake)
        unknown = self._registrar.register_tweets(intake)
        return msgspec.structs.replace(self._describe(intake), unknown_authors=unknown)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Parse alone, but wait for nobody for long: some bodies take their time."""
        mine = self._parsing.acquire(timeout=_PATIENCE_S)
        try:
            yield
        finally:
            if mine:
                self._parsing.release()

    def _read(self, upload: Upload, body: bytes) -> Intake:
        intake = read_batch(
            body,
            detect_format(upload.content_type, body),
            kind=upload.kind,
            lines_max=self._settings.batch_max_lines,
            latest_s=self._now_s() + self._settings.event_future_max_s,
        )
        self._refuse_partial(upload, intake)
        return intake

    def _refuse_partial(self, upload: Upload, intake: Intake) -> None:
        if upload.atomic and intake.rejected.height:
            outcome = self._describe(Intake(intake.rows.clear(), intake.rejected))
            raise BatchRefused(outcome.rejected, details=msgspec.to_builtins(outcome))

    def _describe(self, intake: Intake) -> Outcome:
        return describe(intake, listed_max=self._settings.rejections_listed_max)
