"""Handle the uploads that a worker receives."""

import time
from collections.abc import Callable

from openengagement.errors import ApiError, InternalError
from openengagement.ingest.batch import Outcome
from openengagement.ingest.formats.detection import detect_format
from openengagement.ingest.registrar import Registrar
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.sources.counting_socket import send_upload
from openengagement.ingest.sources.uploads import Upload, UploadReader
from openengagement.metrics.table import BATCH_BYTES, BATCH_SECONDS, BATCHES, RECORDS, REJECTED
from openengagement.settings import Settings
from openengagement.telemetry import INFO, WARNING, log_event
from openengagement.tuning import lower_priority


class WorkerUploads:
    """Sends events to the counting process, and registers accounts and Tweets here.

    `counting_address` is the socket of the counting process. Safe from any thread.
    """

    def __init__(
        self,
        registrar: Registrar,
        *,
        counting_address: str,
        settings: Settings,
        now_s: Callable[[], float],
    ) -> None:
        self._registrar = registrar
        self._counting_address = counting_address
        self._timeout_s = settings.batch_timeout_s
        self._reader = UploadReader(settings, now_s)

    def handle(self, upload: Upload) -> Outcome:
        """Apply a batch, and return when it is durable. May lower the priority of this thread.

        Raises:
            RequestError: the batch as a whole is refused; nothing of it is applied.
            BatchRefused, AllRejected: nothing of it is applied, because of rejected lines.
            Unavailable: the batch was not stored, or this is unknown. It may be sent again.
        """
        began_s = time.perf_counter()
        kind = upload.kind.name
        try:
            outcome = self._apply(upload)
        except ApiError as error:
            refused = error.status < InternalError.status
            BATCHES.add(1, kind, "refused" if refused else "error")
            raise
        took_s = time.perf_counter() - began_s
        _log(upload, outcome, took_s=took_s)
        _count(upload, outcome)
        BATCH_SECONDS.observe(took_s, kind)
        return outcome

    def _apply(self, upload: Upload) -> Outcome:
        if upload.kind is EVENTS:
            return send_upload(upload, self._counting_address, timeout_s=self._timeout_s)
        lower_priority()
        with self._reader.one_at_a_time():
            body = self._reader.decompress(upload)
            form = detect_format(upload.content_type, body)
            parsed = self._reader.parse(upload, body, form=form)
        registered = self._registrar.register(parsed, kind=upload.kind, atomic=upload.atomic)
        return self._reader.describe(registered, atomic=upload.atomic)


def _count(upload: Upload, outcome: Outcome) -> None:
    """Count a batch that is durable in the metrics."""
    kind = upload.kind.name
    BATCHES.add(1, kind, "repeat" if outcome.duplicate else "applied")
    BATCH_BYTES.add(len(upload.body), kind)
    if not outcome.duplicate:
        RECORDS.add(outcome.accepted, kind, "accepted")
        RECORDS.add(outcome.rejected, kind, "rejected")
        for reason, count in outcome.reasons.items():
            REJECTED.add(count, kind, reason)


def _log(upload: Upload, outcome: Outcome, *, took_s: float) -> None:
    """Log a batch that is durable. A line has no content of the batch, not even the key."""
    reasons = " ".join(f"{name}:{count}" for name, count in outcome.reasons.items())
    log_event(
        "batch",
        level=WARNING if outcome.rejected else INFO,
        request_id=upload.request_id,
        kind=upload.kind.name,
        key=upload.key_hash,
        accepted=outcome.accepted,
        rejected=outcome.rejected,
        **({"reasons": reasons} if reasons else {}),
        duplicate=outcome.duplicate,
        bytes=len(upload.body),
        ms=round(1000 * took_s, 2),
    )
