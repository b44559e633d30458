"""Send events in batches, by size and time, in the background.

Each batch has a key and keeps it, so the server counts it once however often it is sent. A batch
that cannot be sent now waits in the spool, if there is one. Otherwise it stays in memory, and the
next `flush` sends it again.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from io import RawIOBase
from pathlib import Path
from threading import BoundedSemaphore, Event, RLock, Thread
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from openengagement_client.batches import Batch, BatchLimits, cut_batches, make_key
from openengagement_client.errors import (
    BadRequest,
    ConfigurationError,
    EngagementError,
    RateLimited,
    ServerError,
    TransportError,
)
from openengagement_client.reports import BatchReport, SendReport
from openengagement_client.spool import Spool

_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), default=str).encode
_AWAY: Final = (TransportError, ServerError, RateLimited)


class EventSender:
    """Collects events and sends them. Use it in a `with` statement. Threads may share it.

    Attributes:
        report: the sum of the server's answers so far.
        failed: batches in memory that could not be sent, without a spool or if it cannot be
            written. The next flush sends them again.
        refused: the same for batches that the server refused as a whole.
    """

    def __init__(
        self,
        send_batch: Callable[[Batch], BatchReport],
        limits: BatchLimits,
        *,
        spool: Spool | None,
        concurrency: int,
    ) -> None:
        self.report = SendReport(spooled=len(spool) if spool is not None else 0)
        self.failed: list[Batch] = []
        self.refused: list[Batch] = []
        self._send_batch = send_batch
        self._limits = limits
        self._spool = spool
        self._lines: list[bytes] = []
        self._bytes = 0
        self._next_line = 1
        self._began_s = 0.0
        self._errors: list[EngagementError] = []
        self._lock, self._drain_lock = RLock(), RLock()
        # Twice as many batches as requests in progress: memory is bounded, and no request waits.
        self._places = BoundedSemaphore(2 * concurrency)
        self._pool = ThreadPoolExecutor(concurrency, "event-sender")
        self._futures: set[Future[None]] = set()
        self._closing = Event()
        self._timer = Thread(target=self._send_old, name="event-sender-timer", daemon=True)
        self._timer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, event: Mapping[str, Any]) -> None:
        """Add an event: `tweet_id`, `type`, `at`, and perhaps `count` and `promoted`.

        It is sent with others, at the latest after `age_max_s`. This waits if too many batches are
        in progress.
        """
        line = _ENCODE(event).encode() + b"\n"
        with self._lock:
            if not self._lines:
                self._began_s = monotonic()
            self._lines.append(line)
            self._bytes += len(line)
            limits = self._limits
            is_full = self._bytes >= limits.bytes_max or len(self._lines) >= limits.lines_max
            batch = self._take() if is_full else None
        if batch:
            self._submit(batch)

    def send_file(self, path: Path | str) -> None:
        """Send the events of an NDJSON file.

        The keys of its batches follow from its content. If the same file is sent again, for example
        after an interruption, each part counts once.

        Raises:
            OSError: the file cannot be read.
            EngagementError: as `flush`.
        """
        with Path(path).open("rb", buffering=0) as file:
            for batch in cut_batches(_blocks(file, self._limits.bytes_max), self._limits):
                self._submit(batch)
        self.flush()

    def flush(self) -> None:
        """Send everything now, and wait until the server has answered.

        Raises:
            EngagementError: the first error since the last flush, if batches could not be sent.
                They are in the spool, in `failed` or in `refused`.
        """
        with self._lock:
            batches, self.failed = self.failed, []
            last = self._take()
        for batch in (*batches, *([last] if last else [])):
            self._submit(batch)
        self._wait()
        self.resend()
        with self._lock:
            errors, self._errors = self._errors, []
        if errors:
            raise errors[0]

    def close(self) -> None:
        """Flush, and end the threads.

        Raises:
            EngagementError: as `flush`.
        """
        try:
            self.flush()
        finally:
            self._closing.set()
            self._timer.join()
            self._pool.shutdown()

    def resend(self) -> None:
        """Send the batches of the spool, until it is empty or the server is away again."""
        if self._spool is None:
            return
        with self._drain_lock:
            for path, batch in self._spool.batches():
                if not self._resend_one(path, batch):
                    break
            with self._lock:
                self.report.spooled = len(self._spool)

    def _resend_one(self, path: Path, batch: Batch) -> bool:
        """Send a batch of the spool. Return whether to go on with the next one."""
        assert self._spool is not None
        try:
            self._add(self._send_batch(batch))
        except BadRequest as error:
            self._refuse(batch, error)
        except EngagementError as error:
            self._note(error)
            return False
        self._spool.remove(path)
        return True

    def _take(self) -> Batch | None:
        """Make a batch of the lines that have been added. Call it with the lock."""
        if not self._lines:
            return None
        batch = Batch(b"".join(self._lines), make_key(), self._next_line)
        self._next_line += len(self._lines)
        self._lines, self._bytes = [], 0
        return batch

    def _submit(self, batch: Batch) -> None:
        self._places.acquire()
        future = self._pool.submit(self._deliver, batch)
        with self._lock:
            self._futures.add(future)
        future.add_done_callback(self._finish)

    def _finish(self, future: Future[None]) -> None:
        with self._lock:
            self._futures.discard(future)
        self._places.release()

    def _wait(self) -> None:
        while True:
            with self._lock:
                futures = list(self._futures)
            if not futures:
                return
            for future in futures:
                future.result()

    def _deliver(self, batch: Batch) -> None:
        """Send a batch. If others wait on disk, the server is away: it waits there too."""
        if self._spool is not None and self.report.spooled:
            self._keep(batch)
            return
        try:
            self._add(self._send_batch(batch))
        except BadRequest as error:
            self._refuse(batch, error)
        except EngagementError as error:
            self._keep(batch)
            self._note(error)

    def _keep(self, batch: Batch) -> None:
        """Keep a batch that may be sent later."""
        with self._lock:
            if self._spool is None:
                self.failed.append(batch)
                return
            try:
                self._spool.add(batch)
                self.report.spooled += 1
            except OSError as error:
                self.failed.append(batch)
                self._errors.append(ConfigurationError(f"cannot write the spool: {error}"))

    def _refuse(self, batch: Batch, error: EngagementError) -> None:
        """Set a batch aside that the server will never take."""
        with self._lock:
            self._errors.append(error)
            if self._spool is None:
                self.refused.append(batch)
                return
            try:
                self._spool.refuse(batch)
            except OSError:
                self.refused.append(batch)

    def _add(self, answer: BatchReport) -> None:
        with self._lock:
            self.report.add(answer)

    def _note(self, error: EngagementError) -> None:
        """Remember an error for the next flush. With a spool, an absent server is no error."""
        if self._spool is None or not isinstance(error, _AWAY):
            with self._lock:
                self._errors.append(error)

    def _send_old(self) -> None:
        """Send the collected events once they are old enough, and what waits in the spool."""
        while not self._closing.wait(self._limits.age_max_s / 2):
            with self._lock:
                is_old = monotonic() - self._began_s >= self._limits.age_max_s / 2
                batch = self._take() if self._lines and is_old else None
            if batch:
                self._submit(batch)
            if self.report.spooled:
                self.resend()


def _blocks(file: RawIOBase, most: int) -> Iterator[bytes]:
    while block := file.read(most):
        yield block
