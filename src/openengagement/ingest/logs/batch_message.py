"""Write a batch of the HTTP intake as a message of a log."""

import hashlib
import uuid
from typing import Final

import msgspec
import polars as pl
import zstandard

from openengagement.engagement.types import HOUR_S
from openengagement.ingest.batch import BatchIdentity, Outcome, ParsedBatch
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.logs.contract import BATCH_HEADER, OutgoingMessage
from openengagement.ingest.logs.sent_batch import OUTCOME_BYTES_MAX, SentBatch, encode_batch

_ZSTD_LEVEL: Final = 3


def make_message(
    events: bytes, outcome: Outcome, *, identity: BatchIdentity, at_s: int
) -> OutgoingMessage:
    """Make the message of a batch, which was accepted at `at_s`, in Unix seconds.

    It has the same id when the batch is sent again.
    """
    key, digest = identity.key, identity.digest
    batch = SentBatch(at_s, digest, _shorten(outcome), key)
    headers = {
        BATCH_HEADER: encode_batch(batch),
        "content-type": Format.NDJSON.value,
        "content-encoding": "zstd",
    }
    packed = zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(events)
    id_ = hashlib.sha256(key + digest).hexdigest() if key else uuid.uuid4().hex
    return OutgoingMessage(id_, packed, headers)


def write_events(parsed: ParsedBatch, body: bytes, *, form: Format | None) -> bytes:
    """Write the valid events of a batch as NDJSON.

    Lines of NDJSON stay as they are. Events of other formats, or without a `form`, get the start of
    their hour as time.
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
    if len(encoded) > OUTCOME_BYTES_MAX:
        encoded = msgspec.json.encode(
            Outcome(outcome.accepted, outcome.rejected, [], outcome.reasons)
        )
    return encoded
