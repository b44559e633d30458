"""Publish uploaded batches of events to an event log, for consumers to count (`--intake log`)."""

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import polars as pl
import zstandard

from openengagement.engagement.types import HOUR_S
from openengagement.errors import BodyTooLarge, Unavailable
from openengagement.ingest.batch import Outcome, ParsedBatch, digest_of
from openengagement.ingest.formats.detection import Format, detect_format
from openengagement.ingest.logs.contract import (
    BATCH_HEADER,
    LogPublisher,
    LogUnavailable,
    LogUnusable,
    MessageTooLarge,
    OutgoingMessage,
)
from openengagement.ingest.logs.sent_batch import SentBatch, encode_batch
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.sources.uploads import Upload, UploadReader
from openengagement.metrics.table import PUBLISH_SECONDS, PUBLISHED, PUBLISHED_BYTES, PUBLISHING
from openengagement.settings import Settings
from openengagement.telemetry import WARNING, log_event

_ZSTD_LEVEL: Final = 3
_OUTCOME_BYTES_MAX: Final = 16_384  # NATS limits all headers to 64 KiB
_AWAY: Final = (
    "the event log does not answer now, so it is unknown whether it has this batch; send it again, "
    "with the same Idempotency-Key if it had one"
)
_WATCH_S: Final = 1.0


class LogUploads:
    """Handles uploads of events; safe from any thread."""

    def __init__(
        self, publisher: LogPublisher, *, settings: Settings, now_s: Callable[[], float]
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
            parsed = self._reader.parser.parse(body, form, kind=EVENTS)
            outcome = self._reader.describe(parsed, atomic=upload.atomic)
            if parsed.rows.is_empty():
                return outcome
            events = write_events(parsed, body, form)
            if len(events) > self._bytes_max:
                raise BodyTooLarge(f"body: more than {self._bytes_max} bytes of events as NDJSON")
            batch = SentBatch(int(self._now_s()), digest_of(body), _shorten(outcome), upload.key)
            message = make_message(events, batch)
        return msgspec.structs.replace(outcome, duplicate=self._publish(message))

    def _publish(self, message: OutgoingMessage) -> bool:
        try:
            with _measured():
                repeated = self._publisher.publish(message)
        except MessageTooLarge as error:
            raise BodyTooLarge(
                f"body: the batch takes {message.size} bytes in the event log, which accepts "
                f"{error.bytes_max}; send smaller batches"
            ) from error
        except (LogUnavailable, LogUnusable) as error:
            log_event("publish_failed", level=WARNING, reason=str(error))
            raise Unavailable(_AWAY) from error
        PUBLISHED.add(1, "repeat" if repeated else "durable")
        PUBLISHED_BYTES.add(message.size)
        return repeated


@contextmanager
def _measured() -> Iterator[None]:
    began_s = time.perf_counter()
    PUBLISHING.add(1)
    try:
        yield
    except MessageTooLarge:
        PUBLISHED.add(1, "too_large")
        raise
    except (LogUnavailable, LogUnusable):
        PUBLISHED.add(1, "unknown")
        raise
    finally:
        PUBLISHING.add(-1)
        PUBLISH_SECONDS.observe(time.perf_counter() - began_s)


def make_message(events: bytes, batch: SentBatch) -> OutgoingMessage:
    """Make the message of a batch. It has the same id when the batch is sent again."""
    identity = hashlib.sha256((batch.key or b"") + batch.digest).hexdigest()
    headers = {
        BATCH_HEADER: encode_batch(batch),
        "content-type": Format.NDJSON.value,
        "content-encoding": "zstd",
    }
    packed = zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(events)
    return OutgoingMessage(identity if batch.key else uuid.uuid4().hex, packed, headers)


def write_events(parsed: ParsedBatch, body: bytes, form: Format) -> bytes:
    """Write the valid events of a batch as NDJSON.

    Lines of NDJSON stay as they are. Events of other formats get the start of their hour as time.
    """
    if form is Format.NDJSON and parsed.rejected.is_empty():
        return body
    if form is Format.NDJSON:
        lines = body.split(b"\n")
        return b"\n".join(lines[number - 1] for number in parsed.rows.get_column("line"))
    start = pl.from_epoch(pl.col("hour").cast(pl.Int64) * HOUR_S)
    rows = parsed.rows.select(
        "tweet_id", "type", at=start.dt.strftime("%Y-%m-%dT%H:%M:%SZ"), count="count"
    )
    if parsed.rows.get_column("promoted").any():
        rows = rows.with_columns(parsed.rows.get_column("promoted"))
    return rows.write_ndjson().encode()


def _shorten(outcome: Outcome) -> bytes:
    """Encode an outcome, without its list of lines if that is long."""
    encoded = msgspec.json.encode(outcome)
    if len(encoded) > _OUTCOME_BYTES_MAX:
        encoded = msgspec.json.encode(
            Outcome(outcome.accepted, outcome.rejected, [], outcome.reasons)
        )
    return encoded


def watch_log(publisher: LogPublisher, note: Callable[[bool], None]) -> None:
    """Ping a log for ever. Call `note` with whether it is lost, and log each change."""
    lost = False
    while True:
        reason = ""
        try:
            publisher.ping()
        except (LogUnavailable, LogUnusable) as error:
            reason = str(error)
        if bool(reason) != lost:
            lost = bool(reason)
            if lost:
                log_event("log_lost", level=WARNING, reason=reason)
            else:
                log_event("log_connected")
        note(lost)
        threading.Event().wait(_WATCH_S)
