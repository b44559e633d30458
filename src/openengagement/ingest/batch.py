"""A parsed batch, and the outcome that its sender receives."""

import hashlib
from dataclasses import dataclass
from typing import Self

import msgspec
import polars as pl

from openengagement.engagement.rollup import fold_events
from openengagement.ingest.formats.ignored_fields import IgnoredFields, count_ignored
from openengagement.stores.contract import Batch


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """The rows of a body, in the order of their lines.

    `rows` has the valid rows, typed, with their `line`. `rejected` has `line`, `reason` and
    `detail`. For registered Tweets, `unknown_authors` counts their authors without an account.
    `ignored` has the fields of lines that are not read.
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame
    unknown_authors: int | msgspec.UnsetType = msgspec.UNSET
    ignored: IgnoredFields = ()


class Rejection(msgspec.Struct, frozen=True):
    """A rejected line, as the answer shows it. `reason` is a `DropReason`."""

    line: int
    reason: str
    detail: str


class Outcome(msgspec.Struct, frozen=True):
    """The answer to a batch.

    `rejections` lists the first rejected lines, `reasons` counts all of them by reason. If
    `duplicate`, the batch was a repeat, and the other fields are those of the first time.
    `unknown_authors` is present for Tweets only. A Tweet is unavailable until its author is
    registered. `ignored_fields` is present if accepted lines have fields that are not read: the
    number of these lines for each field.
    """

    accepted: int
    rejected: int
    rejections: list[Rejection]
    reasons: dict[str, int]
    duplicate: bool = False
    unknown_authors: int | msgspec.UnsetType = msgspec.UNSET
    ignored_fields: dict[str, int] | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of_repeat(cls, first: bytes) -> Self:
        """Decode the outcome that a store kept from the first time, for a repeat."""
        return msgspec.structs.replace(msgspec.json.decode(first, type=cls), duplicate=True)


@dataclass(frozen=True, slots=True)
class BatchIdentity:
    """How a store recognises a repeat of a batch.

    `key` is the idempotency key, None for a batch that counts each time it is sent. `digest` is the
    digest of the body. Another digest under the same key is an error. If `expires`, the store may
    forget the key after `idempotency_keep_days`.
    """

    key: bytes | None
    digest: bytes
    expires: bool = True


def digest_of(body: bytes) -> bytes:
    """Hash a body for its `BatchIdentity`."""
    return hashlib.sha256(body).digest()


def describe(parsed: ParsedBatch, *, listed_max: int) -> Outcome:
    """Describe the outcome of a batch, with at most `listed_max` of the rejected lines."""
    rejections, reasons = [], {}
    if not parsed.rejected.is_empty():
        reasons = dict(parsed.rejected.group_by("reason").len().sort("reason").rows())
        rejections = [Rejection(*row) for row in parsed.rejected.head(listed_max).rows()]
    return Outcome(
        accepted=parsed.rows.height,
        rejected=parsed.rejected.height,
        rejections=rejections,
        reasons=reasons,
        unknown_authors=parsed.unknown_authors,
        ignored_fields=count_ignored(parsed.ignored, parsed.rows.get_column("line"))
        or msgspec.UNSET,
    )


def make_batch(parsed: ParsedBatch, outcome: Outcome, *, identity: BatchIdentity) -> Batch:
    """Fold the events of a batch into the deltas that a store applies."""
    return Batch(
        deltas=fold_events(parsed.rows),
        key=identity.key,
        digest=identity.digest,
        expires=identity.expires,
        outcome=msgspec.json.encode(outcome),
    )
