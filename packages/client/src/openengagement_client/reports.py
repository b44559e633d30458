"""Read the answers to batches: records counted, and records rejected with line and reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from openengagement_client.errors import Json, UnexpectedAnswer

_REJECTIONS_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that the server did not take.

    `line` is its number, from 1: in the file, among the events of the sender, or in the batch.
    """

    line: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class BatchReport:
    """The answer to one batch.

    Attributes:
        accepted, rejected: numbers of records.
        rejections: the first 100 rejected records.
        reasons: how many records were rejected for each reason.
        is_duplicate: the batch was counted before under the same key.
        unknown_authors: of a batch of Tweets, the authors that are not registered.
        ignored_fields: fields that the server does not know, such as misspelt ones, and how many
            accepted records have them.
    """

    accepted: int
    rejected: int
    rejections: tuple[Rejection, ...]
    reasons: Mapping[str, int]
    is_duplicate: bool
    unknown_authors: int = 0
    ignored_fields: Mapping[str, int] = field(default_factory=dict)


def parse_report(body: Json, *, first_line: int = 1) -> BatchReport:
    """Read the answer to a batch whose first line has this number.

    Raises:
        UnexpectedAnswer: it is not such an answer.
    """
    try:
        rejections = tuple(
            Rejection(int(each["line"]) + first_line - 1, str(each["reason"]), str(each["detail"]))
            for each in body["rejections"]
        )
        reasons = {str(reason): int(count) for reason, count in body["reasons"].items()}
        return BatchReport(
            int(body["accepted"]),
            int(body["rejected"]),
            rejections,
            reasons,
            bool(body["duplicate"]),
            int(body.get("unknown_authors", 0)),
            {str(name): int(count) for name, count in body.get("ignored_fields", {}).items()},
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        raise UnexpectedAnswer("the answer does not tell what became of the batch") from None


@dataclass(slots=True)
class SendReport:
    """The sum of the answers to all batches of a sender.

    Attributes:
        accepted, rejected: numbers of records that the server answered for.
        rejections: the first 1,000 rejected records.
        reasons: how many records were rejected for each reason.
        batches: batches that the server answered for.
        duplicates: batches of these that were counted before.
        spooled: batches that wait on disk for the server.
        ignored_fields: how many accepted records have each field that the server does not know.
    """

    accepted: int = 0
    rejected: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    batches: int = 0
    duplicates: int = 0
    spooled: int = 0
    ignored_fields: dict[str, int] = field(default_factory=dict)

    def add(self, report: BatchReport) -> None:
        """Add the answer to a batch."""
        self.batches += 1
        self.duplicates += report.is_duplicate
        self.accepted += report.accepted
        self.rejected += report.rejected
        self.rejections += report.rejections[: _REJECTIONS_MAX - len(self.rejections)]
        for reason, count in report.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count
        for name, count in report.ignored_fields.items():
            self.ignored_fields[name] = self.ignored_fields.get(name, 0) + count
