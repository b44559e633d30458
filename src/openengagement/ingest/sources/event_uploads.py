"""Count uploaded batches of events."""

from collections.abc import Callable
from functools import partial

from openengagement.ingest.batch import BatchIdentity, Outcome, digest_of
from openengagement.ingest.event_counter import EventCounter
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.sources.uploads import Upload, UploadReader
from openengagement.ingest.writer import BatchWriter
from openengagement.settings import Settings


class EventUploads:
    """Handles uploads of events; safe from any thread."""

    def __init__(
        self, writer: BatchWriter, *, settings: Settings, now_s: Callable[[], float]
    ) -> None:
        self._reader = UploadReader(settings, now_s)
        self._counter = EventCounter(
            lambda body, form: self._reader.parser.parse(body, form, kind=EVENTS), writer
        )

    def handle(self, upload: Upload) -> Outcome:
        """Count a batch; return when it is durable.

        Raises:
            RequestError: the batch as a whole is refused; nothing of it counts.
            BatchRefused: the batch is atomic and has rejected lines; nothing of it counts.
            KeyReused, Unavailable, StoreUnavailable: see `PendingBatch.wait`.
        """
        with self._reader.one_at_a_time():
            body, form = self._reader.decode(upload)
            pending = self._counter.count_batch(
                body,
                form,
                identity=BatchIdentity(upload.key, digest_of(body)),
                describe=partial(self._reader.describe, atomic=upload.atomic),
            )
        return pending.wait()
