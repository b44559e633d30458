"""Publish batches of the HTTP intake, with metrics, and watch whether the log answers."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from openengagement.errors import BodyTooLarge, Unavailable
from openengagement.ingest.logs.contract import (
    LogPublisher,
    LogUnavailable,
    LogUnusable,
    MessageTooLarge,
    OutgoingMessage,
)
from openengagement.metrics.table import PUBLISH_SECONDS, PUBLISHED, PUBLISHED_BYTES, PUBLISHING
from openengagement.telemetry import WARNING, log_event

_AWAY: Final = (
    "the event log does not answer now, so it is unknown whether it has this batch; send it again, "
    "with the same Idempotency-Key if it had one"
)
_WATCH_S: Final = 1.0


class BatchPublisher:
    """Publishes batches; safe from any thread."""

    def __init__(self, publisher: LogPublisher) -> None:
        self._publisher = publisher

    def publish(self, message: OutgoingMessage) -> bool:
        """Publish a batch. Return when it is durable: whether the log had it before.

        Raises:
            BodyTooLarge: nothing was published.
            Unavailable: the log may have the batch.
        """
        try:
            with _measured():
                repeated = self._publisher.publish(message)
        except MessageTooLarge as error:
            PUBLISHED.add(1, "too_large")
            raise BodyTooLarge(
                f"body: the batch takes {message.size} bytes in the event log, which accepts "
                f"{error.bytes_max}; send smaller batches"
            ) from error
        except (LogUnavailable, LogUnusable) as error:
            PUBLISHED.add(1, "unknown")
            log_event("publish_failed", level=WARNING, reason=str(error))
            raise Unavailable(_AWAY) from error
        PUBLISHED.add(1, "repeat" if repeated else "durable")
        PUBLISHED_BYTES.add(message.size)
        return repeated

    def watch(self, note: Callable[[bool], None]) -> None:
        """Ping the log for ever. Call `note` with whether it is lost, and log each change."""
        lost = False
        while True:
            reason = self._find_fault()
            if bool(reason) != lost:
                lost = bool(reason)
                if lost:
                    log_event("log_lost", level=WARNING, reason=reason)
                else:
                    log_event("log_connected")
            note(lost)
            threading.Event().wait(_WATCH_S)

    def close(self) -> None:
        """Close the connections."""
        self._publisher.close()

    def _find_fault(self) -> str:
        try:
            self._publisher.ping()
        except (LogUnavailable, LogUnusable) as error:
            return str(error) or "it does not answer"
        return ""


@contextmanager
def _measured() -> Iterator[None]:
    began_s = time.perf_counter()
    PUBLISHING.add(1)
    try:
        yield
    finally:
        PUBLISHING.add(-1)
        PUBLISH_SECONDS.observe(time.perf_counter() - began_s)
