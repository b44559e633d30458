"""A batch from bytes to typed columns, with what was refused and why."""

import hashlib
from dataclasses import dataclass

import msgspec
import polars as pl

from openengagement.engagement.rollup import fold_events
from openengagement.ingest.formats import Format, count_lines, parse_body
from openengagement.ingest.plain_events import split_plain_events
from openengagement.ingest.rows import EVENTS, DropReason, Kind, judge, no_rejections
from openengagement.stores.contract import Batch


@dataclass(frozen=True, slots=True)
class Intake:
    """A batch after judgement: good rows, typed; refused ones (line, reason, detail); by line."""

    rows: pl.DataFrame
    rejected: pl.DataFrame


class Rejection(msgspec.Struct, frozen=True):
    """A refused line as an answer shows it."""

    line: int
    reason: str
    detail: str


class Outcome(msgspec.Struct, frozen=True):
    """What became of a batch, as the platform is told.

    `unknown_authors` is told for Tweets only: how many of their authors are not registered yet, so
    that these Tweets stay unavailable for now.
    """

    accepted: int
    rejected: int
    rejections: list[Rejection]
    reasons: dict[str, int]
    duplicate: bool = False
    unknown_authors: int | msgspec.UnsetType = msgspec.UNSET


def read_batch(body: bytes, form: Format, *, kind: Kind, lines_max: int, latest_s: float) -> Intake:
    """Parse and judge a batch. `latest_s` is the latest time that does not lie in the future.

    Raises:
        MalformedBody, BodyTooLarge: the batch as a whole cannot be taken.
    """
    if kind is EVENTS and form is Format.NDJSON:
        return _read_events(body, lines_max=lines_max, latest_s=latest_s)
    return _read(body, form, kind=kind, lines_max=lines_max, latest_s=latest_s)


def _read_events(body: bytes, *, lines_max: int, latest_s: float) -> Intake:
    """Events in NDJSON: those that are plain need no parser."""
    form = Format.NDJSON
    count_lines(body, form, lines_max=lines_max)
    plain, others = split_plain_events(body, latest_s=latest_s)
    if plain.height and not others.text:
        return Intake(plain, no_rejections())
    read = _read(others.text, form, kind=EVENTS, lines_max=lines_max, latest_s=latest_s)
    if plain.is_empty():
        return read
    number = pl.lit(pl.Series(others.lines, dtype=pl.UInt32)).gather(pl.col("line") - 1)
    rows, rejected = (each.with_columns(line=number) for each in (read.rows, read.rejected))
    return Intake(pl.concat([plain, rows]).sort("line"), rejected)


def _read(body: bytes, form: Format, *, kind: Kind, lines_max: int, latest_s: float) -> Intake:
    parsed = parse_body(body, form, fields=kind.fields, lines_max=lines_max)
    rows, rejected = judge(parsed.rows, kind, latest_s=latest_s)
    if parsed.malformed:
        malformed = pl.DataFrame(
            {
                "line": list(parsed.malformed),
                "reason": DropReason.MALFORMED.value,
                "detail": list(parsed.malformed.values()),
            },
            schema_overrides={"line": rejected.schema["line"]},
        )
        rejected = pl.concat([rejected, malformed]).sort("line")
    return Intake(rows, rejected)


def describe(intake: Intake, *, listed_max: int) -> Outcome:
    """The outcome of a batch: every refused line counted by reason, the first ones spelled out."""
    if intake.rejected.is_empty():
        return Outcome(intake.rows.height, 0, [], {})
    counted = intake.rejected.group_by("reason").len().sort("reason").rows()
    first = intake.rejected.head(listed_max).rows()
    return Outcome(
        accepted=intake.rows.height,
        rejected=intake.rejected.height,
        rejections=[Rejection(*row) for row in first],
        reasons=dict(counted),
    )


def digest_of(body: bytes) -> bytes:
    """What tells the repeat of a batch from another batch."""
    return hashlib.sha256(body).digest()


def make_batch(
    intake: Intake, outcome: Outcome, *, digest: bytes, key: bytes | None, expires: bool = True
) -> Batch:
    """The deltas of an event batch, ready for a store."""
    return Batch(
        deltas=fold_events(intake.rows),
        key=key,
        digest=digest,
        expires=expires,
        outcome=msgspec.json.encode(outcome),
    )


def repeat_of(outcome: bytes) -> Outcome:
    """What a repeat is answered with: the first sending's outcome, marked."""
    first = msgspec.json.decode(outcome, type=Outcome)
    return msgspec.structs.replace(first, duplicate=True)
