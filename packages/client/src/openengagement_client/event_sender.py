"""Send events in batches, by size and time, in threads. `async_event_sender.py` has tasks."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore, Event, Lock, Thread
from typing import Self

from openengagement_client.batches import Batch, BatchLimits, read_batches
from openengagement_client.delivery import Delivery, Sender
from openengagement_client.http_messages import Steps
from openengagement_client.platform_calls import Record


class EventSender(Sender[None]):
    """Collects events and sends them. Use it in a `with` statement. Threads may share it.

    `PlatformClient.sender` opens one.
    """

    def __init__(
        self,
        run: Callable[[Steps[None]], None],
        delivery: Delivery,
        *,
        limits: BatchLimits,
        concurrency: int,
    ) -> None:
        super().__init__(run, delivery, limits=limits)
        self._lock, self._resend_lock = Lock(), Lock()
        # Twice as many batches as requests in progress: memory is bounded, and no request waits.
        self._slots = BoundedSemaphore(2 * concurrency)
        self._pool = ThreadPoolExecutor(concurrency, "event-sender")
        self._futures: set[Future[None]] = set()
        self._closing = Event()
        self._timer = Thread(target=self._send_old, name="event-sender-timer", daemon=True)
        self._timer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def send(self, event: Record) -> None:
        """Add an event: `tweet_id`, `type`, `at`, and perhaps `count` and `promoted`.

        It is sent with others, at the latest after `age_max_s`. This waits if too many batches are
        in progress.
        """
        if batch := self._buffer.add(event):
            self._submit(batch)

    def send_file(self, path: Path | str) -> None:
        """Send the events of an NDJSON file.

        The keys of its batches follow from its content. If the same file is sent again, for example
        after an interruption, each part counts once.

        Raises:
            OSError: the file cannot be read.
            EngagementError: as `flush`.
        """
        for batch in read_batches(path, self._limits):
            self._submit(batch)
        self.flush()

    def flush(self) -> None:
        """Send everything now, and wait until the server has answered.

        Raises:
            EngagementError: the first error since the last flush, if batches could not be sent.
                They are in the spool, in `failed` or in `refused`.
        """
        for batch in self._take_all():
            self._submit(batch)
        self._wait()
        self._resend()
        self._delivery.raise_first()

    def close(self) -> None:
        """Flush, and end the threads.

        Raises:
            EngagementError: as `flush`.
        """
        self._closing.set()
        self._timer.join()  # it may have a batch in its hands, which the flush waits for
        try:
            self.flush()
        finally:
            self._pool.shutdown()

    def _submit(self, batch: Batch) -> None:
        try:
            self._slots.acquire()
        except BaseException:  # Ctrl-C
            self._delivery.keep(batch)
            raise
        future = self._pool.submit(self._run, self._delivery.deliver(batch))
        with self._lock:
            self._futures.add(future)
        future.add_done_callback(partial(self._finish, batch))

    def _finish(self, batch: Batch, future: Future[None]) -> None:
        if future.exception() is not None:  # nothing that the delivery expects
            self._delivery.keep(batch)
        with self._lock:
            self._futures.discard(future)
        self._slots.release()

    def _wait(self) -> None:
        while True:
            with self._lock:
                futures = list(self._futures)
            if not futures:
                return
            for future in futures:
                future.result()

    def _resend(self) -> None:
        with self._resend_lock:
            self._run(self._delivery.resend())

    def _send_old(self) -> None:
        """Send the collected events once they are old enough, and what waits in the spool."""
        while not self._closing.wait(self._limits.age_max_s / 2):
            if batch := self._buffer.take(older_than_s=self._limits.age_max_s / 2):
                self._submit(batch)
            if self.report.spooled:
                self._resend()
