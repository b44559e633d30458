"""Commit batches in groups.

A commit costs one sync to the disk, whatever its size. While a commit runs, new batches wait in a
queue. The next commit takes all of them, so many senders share each sync. The queue is bounded. If
it is full, a batch is refused at once, and its sender may retry.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final

from openengagement.clock import SystemClock
from openengagement.errors import ApiError, InvalidField, KeyReused, StoreUnavailable, Unavailable
from openengagement.metrics.table import (
    COMMIT_SECONDS,
    COMMIT_WAIT,
    COMMITS,
    LAST_COMMIT,
    OLDEST_WAITING,
    WAITING,
)
from openengagement.stores.contract import Applied, Batch, CounterStore, KeyConflict
from openengagement.tuning import lower_priority

_Waiting = tuple[Batch, "Future[Applied]", float]  # and when it was queued, in Unix seconds
# A commit with this many deltas takes no more batches, which bounds its memory and its time.
ROWS_MAX: Final = 1_000_000
_CLOCK: Final = SystemClock()


@contextmanager
def _measured(waiting: Sequence[_Waiting]) -> Iterator[None]:
    """Measure a commit of these batches, the oldest first, which the block makes."""
    now_s = _CLOCK.now_s()
    OLDEST_WAITING.set(waiting[0][2])
    for _, _, queued_s in waiting:
        COMMIT_WAIT.observe(max(0.0, now_s - queued_s))  # the clock may have been set back
    began_s = time.perf_counter()
    try:
        yield
    finally:
        COMMIT_SECONDS.observe(time.perf_counter() - began_s)
        OLDEST_WAITING.set(0)


class BatchWriter:
    """Applies batches to a store, in one thread. Calls `on_failure` when a commit fails."""

    def __init__(
        self, store: CounterStore, *, queue_max: int, on_failure: Callable[[BaseException], None]
    ) -> None:
        self._store = store
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(queue_max)
        self._on_failure = on_failure
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="batch-writer", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch) -> "Future[Applied]":
        """Queue a batch. The future has its result once the batch is durable.

        Raises:
            Unavailable: the queue is full, or the writer is closed. The future raises KeyReused,
                InvalidField or Unavailable if the batch was not applied, and StoreUnavailable if
                that is unknown.
        """
        future: Future[Applied] = Future()
        if self._closed:
            raise Unavailable("the server is stopping; send this batch again later")
        try:
            self._queue.put_nowait((batch, future, _CLOCK.now_s()))
        except queue.Full:
            raise Unavailable("too many batches are waiting; send this one again later") from None
        WAITING.set(self._queue.qsize())
        return future

    def close(self) -> None:
        """Apply the waiting batches, then stop. Do not call `submit` meanwhile."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        lower_priority()
        last = False
        while not last:
            waiting, last = self._wait_for_batches()
            WAITING.set(self._queue.qsize())
            if waiting:
                with _measured(waiting):
                    self._apply(waiting)

    def _wait_for_batches(self) -> tuple[list[_Waiting], bool]:
        """Wait for a batch, then take all others that wait. Also return whether to stop then."""
        waiting: list[_Waiting] = []
        rows = 0
        while rows < ROWS_MAX:
            try:
                entry = self._queue.get(block=not waiting)
            except queue.Empty:
                break
            if entry is None:
                return waiting, True
            batch, future, _ = entry
            if future.set_running_or_notify_cancel():
                waiting.append(entry)
                rows += batch.deltas.rows
        return waiting, False

    def _to_api_error(self, error: Exception) -> ApiError:
        if isinstance(error, OverflowError):  # it would fail again, so it must not be retried
            return InvalidField("count: a counter would become too large; nothing was counted")
        self._on_failure(error)
        return Unavailable("the batch could not be stored; nothing of it was counted")

    def _apply(self, waiting: list[_Waiting]) -> None:
        try:
            answers = self._store.apply_batches([batch for batch, *_ in waiting])
        except StoreUnavailable as error:
            # The batches may have been applied, so a retry could count those without a key twice.
            self._on_failure(error)
            COMMITS.add(1, "unknown")
            for _, future, _ in waiting:
                future.set_exception(error)
            return
        except Exception as error:
            if len(waiting) > 1:  # nothing was applied: retry one by one, so only the bad one fails
                for entry in waiting:
                    self._apply([entry])
                return
            COMMITS.add(1, "failed")
            waiting[0][1].set_exception(self._to_api_error(error))
            return
        COMMITS.add(1, "committed")
        LAST_COMMIT.set(_CLOCK.now_s())
        for (_, future, _), answer in zip(waiting, answers, strict=True):
            if isinstance(answer, Applied):
                future.set_result(answer)
            else:
                future.set_exception(KeyReused() if isinstance(answer, KeyConflict) else answer)
