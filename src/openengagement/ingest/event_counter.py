"""Count batches of events. Every source of events uses this way from a body to a commit."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from openengagement.ingest.batch import BatchIdentity, Outcome, ParsedBatch, make_batch
from openengagement.ingest.batch_parser import Content
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.writer import BatchWriter
from openengagement.stores.contract import Applied, Batch


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """A parsed batch, its outcome if it is no repeat, and the deltas that it adds."""

    parsed: ParsedBatch
    outcome: Outcome
    batch: Batch


@dataclass(frozen=True, slots=True)
class PendingBatch:
    """A submitted batch, its outcome if it is no repeat, and the result of its commit."""

    parsed: ParsedBatch
    outcome: Outcome
    applied: Future[Applied]

    def wait(self) -> Outcome:
        """Wait until the batch is durable, and return its outcome.

        Raises:
            KeyReused, InvalidField, Unavailable: nothing of the batch was counted.
            StoreUnavailable: the batch may have been counted; retry it under the same key.
        """
        applied = self.applied.result()
        return Outcome.of_repeat(applied.outcome) if applied.duplicate else self.outcome


class EventCounter:
    """Parses batches of events with `parse` and submits their deltas to the writer."""

    def __init__(
        self, parse: Callable[[Content, Format], ParsedBatch], writer: BatchWriter
    ) -> None:
        self._parse = parse
        self._writer = writer

    def count_batch(
        self,
        body: Content,
        form: Format,
        *,
        identity: BatchIdentity,
        describe: Callable[[ParsedBatch], Outcome],
    ) -> PendingBatch:
        """Parse a batch and submit it, without waiting for its commit.

        `describe` returns the outcome that a repeat receives. It may raise to refuse the batch.

        Raises:
            RequestError: the batch as a whole is refused; nothing of it counts.
            Unavailable: too many batches are waiting.
        """
        prepared = self.prepare_batch(body, form, identity=identity, describe=describe)
        return PendingBatch(prepared.parsed, prepared.outcome, self.submit(prepared))

    def prepare_batch(
        self,
        body: Content,
        form: Format,
        *,
        identity: BatchIdentity,
        describe: Callable[[ParsedBatch], Outcome],
    ) -> PreparedBatch:
        """Parse and fold a batch, as `count_batch`, without submitting it."""
        parsed = self._parse(body, form)
        outcome = describe(parsed)
        return PreparedBatch(parsed, outcome, make_batch(parsed, outcome, identity=identity))

    def submit(self, prepared: PreparedBatch) -> Future[Applied]:
        """Submit a batch, as `count_batch`."""
        return self._writer.submit(prepared.batch)
