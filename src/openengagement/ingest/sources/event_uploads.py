"""Count uploaded batches of events."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from openengagement.errors import RequestError
from openengagement.ingest.batch import BatchIdentity, Outcome
from openengagement.ingest.event_counter import EventCounter, PendingBatch
from openengagement.ingest.formats.detection import detect_format
from openengagement.ingest.sources.uploads import Upload, UploadReader, identify
from openengagement.ingest.writer import BatchWriter
from openengagement.settings import Settings


class EventUploads:
    """Handles uploads of events; safe from any thread.

    `read_outcome` is that of the store. It is called in one thread, because a store may keep a
    connection for each thread.
    """

    def __init__(
        self,
        writer: BatchWriter,
        read_outcome: Callable[[bytes, bytes], bytes | None],
        *,
        settings: Settings,
        now_s: Callable[[], float],
    ) -> None:
        self._reader = UploadReader(settings, now_s)
        self._writer = writer
        self._read_outcome = read_outcome
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

    def _find_first(self, identity: BatchIdentity) -> bytes | None:
        """Return the outcome of the first time, if this batch was counted before."""
        if identity.key is None:
            return None
        return self._lookups.submit(self._read_outcome, identity.key, identity.digest).result()
