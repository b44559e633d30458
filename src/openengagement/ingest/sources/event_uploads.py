"""Count uploaded batches of events."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from openengagement.errors import RequestError
from openengagement.ingest.batch import BatchIdentity, Outcome
from openengagement.ingest.event_counter import EventCounter, PendingBatch
from openengagement.ingest.formats.detection import detect_format
from openengagement.ingest.sources.uploads import Upload, UploadReader, identify, read_sent_key
from openengagement.ingest.writer import BatchWriter
from openengagement.settings import Settings

_ReadOutcome = Callable[[bytes, bytes], bytes | None]


class EventUploads:
    """Handles uploads of events; safe from any thread.

    `read_outcome` is that of the store, and `read_older` its `read_older_outcome`, if it holds any.
    They are called in one thread, because a store may keep a connection for each thread.
    """

    def __init__(
        self,
        writer: BatchWriter,
        read_outcome: _ReadOutcome,
        *,
        settings: Settings,
        now_s: Callable[[], float],
        read_older: _ReadOutcome | None = None,
    ) -> None:
        self._reader = UploadReader(settings, now_s)
        self._writer = writer
        self._read_outcome = read_outcome
        self._read_older = read_older
        self._lookups = ThreadPoolExecutor(1, "lookup")

    def handle(self, upload: Upload) -> Outcome:
        """Count a batch; return when it is durable.

        A repeat gets its first outcome, even if it would be refused now: it may be atomic now, be
        declared as another format, or break a rule of a newer version.

        Raises:
            RequestError: the batch as a whole is refused; nothing of it counts.
            BatchRefused, AllRejected: nothing of it counts, because of rejected lines.
            KeyReused, Unavailable, StoreUnavailable: see `PendingBatch.wait`.
        """
        with self._reader.one_at_a_time():
            body = self._reader.decompress(upload)
            identity = identify(upload, body)
            if (older := self._find_older(upload, body)) is not None:
                return Outcome.of_repeat(older)
            try:
                pending = self._start(upload, body, identity=identity)
            except RequestError:
                if (first := self._find_first(identity)) is None:
                    raise
                return Outcome.of_repeat(first)
        return pending.wait()

    def _start(self, upload: Upload, body: bytes, *, identity: BatchIdentity) -> PendingBatch:
        counter = EventCounter(
            lambda body, form: self._reader.parse(upload, body, form=form), self._writer
        )
        return counter.count_batch(
            body,
            detect_format(upload.content_type, body),
            identity=identity,
            describe=partial(self._reader.describe, atomic=upload.atomic),
        )

    def _find_older(self, upload: Upload, body: bytes) -> bytes | None:
        """Return the outcome of this batch if version 0.1.0 counted it."""
        if self._read_older is None or upload.key is None or upload.mapping:
            return None
        key = read_sent_key(upload.key)
        return self._lookups.submit(self._read_older, key, body).result()

    def _find_first(self, identity: BatchIdentity) -> bytes | None:
        """Return the outcome of the first time, if this batch was counted before."""
        if identity.key is None:
            return None
        return self._lookups.submit(self._read_outcome, identity.key, identity.digest).result()
