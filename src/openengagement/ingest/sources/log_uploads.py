"""Publish uploaded batches of events to an event log, for consumers to count (`--intake log`)."""

from collections.abc import Callable

import msgspec

from openengagement.errors import BodyTooLarge
from openengagement.ingest.batch import Outcome
from openengagement.ingest.formats.detection import detect_format
from openengagement.ingest.logs.batch_message import make_message, write_events
from openengagement.ingest.logs.publishing import BatchPublisher
from openengagement.ingest.sources.uploads import Upload, UploadReader, identify
from openengagement.settings import Settings


class LogUploads:
    """Handles uploads of events; safe from any thread."""

    def __init__(
        self, publisher: BatchPublisher, *, settings: Settings, now_s: Callable[[], float]
    ) -> None:
        self._publisher = publisher
        self._now_s = now_s
        self._reader = UploadReader(settings, now_s)
        self._bytes_max = settings.batch_max_decompressed_bytes

    def handle(self, upload: Upload) -> Outcome:
        """Publish the valid events of a batch; return when the log has them.

        Raises:
            RequestError: the batch as a whole is refused; nothing of it counts.
            BatchRefused, AllRejected: nothing of it counts, because of rejected lines.
            Unavailable: the log may have the batch. A retry under the same key is safe.
        """
        with self._reader.one_at_a_time():
            body = self._reader.decompress(upload)
            form = detect_format(upload.content_type, body)
            parsed = self._reader.parse(upload, body, form=form)
            outcome = self._reader.describe(parsed, atomic=upload.atomic)
            if parsed.rows.is_empty():
                return outcome
            # The lines of a body that was mapped are no events.
            events = write_events(parsed, body, form=None if upload.mapping else form)
            if len(events) > self._bytes_max:
                raise BodyTooLarge(f"body: more than {self._bytes_max} bytes of events as NDJSON")
            message = make_message(
                events, outcome, identity=identify(upload, body), at_s=int(self._now_s())
            )
        return msgspec.structs.replace(outcome, duplicate=self._publisher.publish(message))
