"""The writer: batches that wait together are committed together.

A commit costs a sync to the disk however much it holds. While one is under way the next batches
gather in a queue, and the following commit takes them all, so that many producers share each sync.
The queue has a length; a batch that finds it full is refused at once and may come again.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from openengagement.errors import ApiError, InvalidField, KeyReused, Unavailable
from openengagement.stores.contract import Applied, Batch, CounterStore, KeyConflict
from openengagement.tuning import lower_priority

_Waiting = tuple[Batch, "Future[Applied]"]
# A commit with so many deltas takes no more batches: its memory and its time stay bounded.
ROWS_MAX: Final = 1_000_000


class BatchWriter:
    """One thread that applies batches to a store. `on_failure` is told of a failed commit."""

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
        """Have a batch applied; the future is done once it is durable, or fails with the reason.

        Raises:
            Unavailable: the queue is full, or the writer is closed.
        """
        future: Future[Applied] = Future()
        if self._closed:
            raise Unavailable("the server is stopping; send this batch again later")
        try:
            self._queue.put_nowait((batch, future))
        except queue.Full:
            raise Unavailable("too many batches are waiting; send this one again later") from None
        return future

    def close(self) -> None:
        """Apply what waits, then stop. Call it when nobody submits any more."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        lower_priority()
        last = False
        while not last:
            waiting, last = self._gather()
            if waiting:
                self._apply(waiting)

    def _gather(self) -> tuple[list[_Waiting], bool]:
        """Wait for a batch and take with it what else is there; True with the last ones."""
        waiting: list[_Waiting] = []
        rows = 0
        while rows < ROWS_MAX:
            try:
                entry = self._queue.get(block=not waiting)
            except queue.Empty:
                break
            if entry is None:
                return waiting, True
            batch, future = entry
            if future.set_running_or_notify_cancel():
                waiting.append(entry)
                rows += batch.deltas.rows
        return waiting, False

    def _refusal(self, error: Exception) -> ApiError:
        if isinstance(error, OverflowError):  # however often it were sent again
            return InvalidField("count: too much for a counter to hold; nothing was counted")
        self._on_failure(error)
        return Unavailable("the batch could not be stored; nothing of it was counted")

    def _apply(self, waiting: list[_Waiting]) -> None:
        try:
            answers = self._store.apply_batches([batch for batch, _ in waiting])
        except Exception as error:
            if len(waiting) > 1:  # nothing was applied: let each stand alone, so only one fails
                for entry in waiting:
                    self._apply([entry])
                return
            waiting[0][1].set_exception(self._refusal(error))
            return
        for (_, future), answer in zip(waiting, answers, strict=True):
            if isinstance(answer, KeyConflict):
                future.set_exception(KeyReused())
            else:
                future.set_result(answer)
