"""Count the messages of a log: read, parse and commit at the same time.

A batch is committed with the position that it follows. If the store is at another one, nothing of
the batch counts, and its source is read again from the store's position. So is every source whose
commit may or may not have succeeded. Nothing else is needed for counts to be exact.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Final

import msgspec

from openengagement.errors import KeyReused, StoreDamaged, StoreUnavailable, Unavailable
from openengagement.ingest.logs.consumer_progress import ConsumerProgress
from openengagement.ingest.logs.contract import EventLog, LogMessage, LogUnavailable
from openengagement.ingest.logs.dead_letters import PutLetters
from openengagement.ingest.logs.messages import MessageBatch, MessageParser
from openengagement.stores.contract import CounterStore, KeyConflict, PositionConflict
from openengagement.telemetry import WARNING, log_event
from openengagement.tuning import lower_priority

# Polls that were read and are not durable yet: two are parsed or wait for it, one is committed.
IN_FLIGHT_MAX: Final = 3
_POLL_S: Final = 0.2
_PENDING_POLL_S: Final = 0.01
_RETRY_S: Final = 1.0
_TOO_LARGE: Final = "a counter would become too large"
_FAILURES: Final = (StoreUnavailable, Unavailable, LogUnavailable)


class Consumer:
    """Counts a log into a store, in the thread that calls `run`."""

    def __init__(
        self,
        log: EventLog,
        store: CounterStore,
        *,
        parser: MessageParser,
        put_letters: PutLetters,
        progress: ConsumerProgress,
    ) -> None:
        self._log = log
        self._store = store
        self._parser = parser
        self._put_letters = put_letters
        self._progress = progress
        self._pending: deque[tuple[Sequence[LogMessage], Future[list[MessageBatch]]]] = deque()
        self._ended: set[tuple[str, int]] = set()  # sources with epochs that are read again

    def run(self, stop: Event, *, until_end: bool, report: Callable[[], None]) -> None:
        """Count until `stop` is set; with `until_end`, until every message was counted.

        What was read and is not being committed when it stops is left to the next consumer. Calls
        `report` several times a second.

        Raises:
            LogUnusable: nothing of the message that it names, or of later ones, was counted.
            OSError, StoreDamaged: the store cannot be used.
        """
        pool = ThreadPoolExecutor(1, "parse", lower_priority)
        try:
            while not stop.is_set():
                messages = self._log.poll(_PENDING_POLL_S if self._pending else _POLL_S)
                if messages:
                    self._pending.append((messages, pool.submit(self._parser.prepare, messages)))
                self._finish(stop, pending_max=IN_FLIGHT_MAX - 1)
                lag = self._log.lag()
                self._progress.note_lag(lag)
                report()
                if until_end and lag == 0 and not messages and not self._pending:
                    return
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _finish(self, stop: Event, *, pending_max: int) -> None:
        """Commit the first polls that are parsed, and wait until `pending_max` are left."""
        while self._pending and (len(self._pending) > pending_max or self._pending[0][1].done()):
            messages, prepared = self._pending.popleft()
            try:
                self._commit(prepared.result())
            except StoreDamaged:
                raise
            except _FAILURES as error:
                reason = error.reason if isinstance(error, StoreUnavailable) else str(error)
                log_event("consumer_waits", level=WARNING, reason=reason)
                self._restart({(each.source, each.epoch) for each in messages})
                stop.wait(_RETRY_S)

    def _restart(self, sources: set[tuple[str, int]]) -> None:
        """Read sources again from the positions in the store, and forget what was read."""
        for source, epoch in sources - self._ended:
            self._log.restart(source, epoch)
            self._progress.note_restart()
        # Messages of these epochs can only be in what is pending now.
        pending = {(each.source, each.epoch) for messages, _ in self._pending for each in messages}
        self._ended = (self._ended | sources) & pending

    def _commit(self, prepared: Sequence[MessageBatch]) -> None:
        current = [each for each in prepared if (each.source, each.epoch) not in self._ended]
        if current:
            self._apply(current)

    def _apply(self, batches: Sequence[MessageBatch]) -> None:
        """Commit batches together; if a counter would become too large, alone.

        Raises:
            StoreUnavailable, LogUnavailable: some may have been applied.
        """
        letters = [letter for each in batches for letter in each.letters]
        if letters:
            self._put_letters([(letter.id, msgspec.json.encode(letter)) for letter in letters])
        try:
            answers = self._store.apply_batches([each.batch for each in batches])
        except OverflowError:
            self._apply_alone(batches)
            return
        for batch, answer in zip(batches, answers, strict=True):
            if isinstance(answer, PositionConflict):
                self._progress.note_conflict()
                self._restart({(batch.source, batch.epoch)})
            elif isinstance(answer, KeyConflict):
                (message,) = batch.messages
                refused = self._parser.refuse(message, reason=KeyReused.code, detail=KeyReused.text)
                self._commit([refused])  # batches after it conflict now, and are read again
            else:
                self._progress.note_counted(batch, repeated=answer.duplicate)

    def _apply_alone(self, batches: Sequence[MessageBatch]) -> None:
        """Commit batches, or the messages of one, each alone. Refuse one that still overflows."""
        if len(batches) > 1:
            parts = [[each] for each in batches]
        elif len(batches[0].messages) > 1:
            parts = [self._parser.prepare([each]) for each in batches[0].messages]
        else:
            (message,) = batches[0].messages
            parts = [[self._parser.refuse(message, reason="too_large", detail=_TOO_LARGE)]]
        for part in parts:
            self._commit(part)
