"""What becomes of batches of events: sent, kept for later, or refused. Without I/O but the spool.

Each batch has a key and keeps it, so the server counts it once however often it is sent. A batch
that cannot be sent now waits in the spool, if there is one. Otherwise it stays in memory, and the
next flush sends it again.
"""

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Final, Generic, TypeVar

from openengagement_client.batches import Batch, BatchLimits, make_key
from openengagement_client.errors import (
    BadRequest,
    ConfigurationError,
    EngagementError,
    RateLimited,
    ServerError,
    TransportError,
)
from openengagement_client.http_messages import Steps
from openengagement_client.platform_calls import PlatformCalls, Record, encode_record
from openengagement_client.reports import SendReport
from openengagement_client.spool import Spool, open_spool

Ran = TypeVar("Ran")
# The server has judged the batch. Any other status, such as 408 or 407 of a proxy, may pass.
_REFUSALS: Final = frozenset({400, 413, 415, 422})
_AWAY: Final = (TransportError, ServerError, RateLimited)


class EventBuffer:
    """Collects events until they are a batch. Threads may share it."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._lock = Lock()
        self._lines: list[bytes] = []
        self._bytes = 0
        self._next_line = 1
        self._began_s = 0.0

    def add(self, event: Record) -> Batch | None:
        """Add an event. Return a batch if it is full now."""
        line = encode_record(event)
        with self._lock:
            if not self._lines:
                self._began_s = monotonic()
            self._lines.append(line)
            self._bytes += len(line)
            limits = self._limits
            is_full = self._bytes >= limits.bytes_max or len(self._lines) >= limits.lines_max
            return self._take() if is_full else None

    def take(self, *, older_than_s: float = 0.0) -> Batch | None:
        """Return the collected events, unless there are none or they are younger."""
        with self._lock:
            is_due = self._lines and monotonic() - self._began_s >= older_than_s
            return self._take() if is_due else None

    def _take(self) -> Batch:
        batch = Batch(b"".join(self._lines), make_key(), self._next_line)
        self._next_line += len(self._lines)
        self._lines, self._bytes = [], 0
        return batch


class Delivery:
    """Delivers batches, and remembers what could not be delivered. Threads may share it.

    Attributes:
        report: the sum of the server's answers so far.
        failed: batches in memory that could not be sent, without a spool or if it cannot be
            written. The next flush sends them again.
        refused: the same for batches that the server refused as a whole.
    """

    def __init__(self, calls: PlatformCalls, spool: Spool | None) -> None:
        self.report = SendReport(spooled=len(spool) if spool is not None else 0)
        self.failed: list[Batch] = []
        self.refused: list[Batch] = []
        self._calls = calls
        self._spool = spool
        self._errors: list[EngagementError] = []
        self._lock = Lock()

    def deliver(self, batch: Batch) -> Steps[None]:
        """Send a batch. If others wait on disk, the server is away: it waits there too."""
        if self._spool is not None and self.report.spooled:
            self.keep(batch)
            return
        try:
            yield from self._send(batch)
        except EngagementError as error:
            self.keep(batch)
            self._note(error)

    def resend(self) -> Steps[None]:
        """Send the batches of the spool, until it is empty or the server is away again.

        One caller at a time may run it.
        """
        if self._spool is None:
            return
        try:
            for path, batch in self._spool.batches():
                try:
                    yield from self._send(batch)
                except EngagementError as error:
                    self._note(error)
                    break
                self._spool.remove(path)
            with self._lock:
                self.report.spooled = len(self._spool)
        except OSError as error:
            self._note(ConfigurationError(f"cannot read the spool: {error}"))

    def keep(self, batch: Batch) -> None:
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

    def take_failed(self) -> list[Batch]:
        """Return the batches in memory that could not be sent, to send them again."""
        with self._lock:
            batches, self.failed = self.failed, []
            return batches

    def raise_first(self) -> None:
        """Raise the first error since the last call.

        Raises:
            EngagementError: batches could not be sent.
        """
        with self._lock:
            errors, self._errors = self._errors, []
        if errors:
            raise errors[0]

    def _send(self, batch: Batch) -> Steps[None]:
        """Send a batch, and add up the answer.

        Raises:
            EngagementError: the batch may be sent later.
        """
        try:
            report = yield from self._calls.send("events", batch)
        except BadRequest as error:
            if error.status not in _REFUSALS:
                raise
            self._refuse(batch, error)
        else:
            with self._lock:
                self.report.add(report)

    def _refuse(self, batch: Batch, error: EngagementError) -> None:
        """Keep a batch apart that the server will never take."""
        with self._lock:
            self._errors.append(error)
            if self._spool is None:
                self.refused.append(batch)
                return
            try:
                self._spool.refuse(batch)
            except OSError:
                self.refused.append(batch)

    def _note(self, error: EngagementError) -> None:
        """Remember an error for the next flush. With a spool, an absent server is no error."""
        if self._spool is None or not isinstance(error, _AWAY):
            with self._lock:
                self._errors.append(error)


def open_delivery(calls: PlatformCalls, spool: Path | str | None) -> Delivery:
    """Open the delivery of a sender, and its spool if a folder is given.

    Raises:
        ConfigurationError: the folder cannot be made.
    """
    return Delivery(calls, open_spool(spool))


class Sender(Generic[Ran]):
    """What the synchronous and the asynchronous sender of events share.

    `run` performs the steps of the delivery. `Ran` is None, or an awaitable.
    """

    def __init__(
        self, run: Callable[[Steps[None]], Ran], delivery: Delivery, *, limits: BatchLimits
    ) -> None:
        self._run = run
        self._delivery = delivery
        self._limits = limits
        self._buffer = EventBuffer(limits)

    @property
    def report(self) -> SendReport:
        """The sum of the server's answers so far."""
        return self._delivery.report

    @property
    def failed(self) -> list[Batch]:
        """Batches in memory that could not be sent. The next flush sends them again."""
        return self._delivery.failed

    @property
    def refused(self) -> list[Batch]:
        """Batches in memory that the server refused as a whole."""
        return self._delivery.refused

    def _take_all(self) -> list[Batch]:
        """Return every batch in memory that is to be sent."""
        last = self._buffer.take()
        return [*self._delivery.take_failed(), *([last] if last else [])]
