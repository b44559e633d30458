"""Open an event log. This is the only module that imports a log's client library."""

from typing import Any, Protocol

from openengagement.extras import import_log
from openengagement.ingest.logs.contract import EventLog, ReadPosition
from openengagement.ingest.logs.log_url import LogUrl


class OpenLog(EventLog, Protocol):
    """A log that was just opened."""

    def verify_dead_letters(self, name: str) -> None:
        """Verify that a subject or topic for dead letters is not one that is consumed.

        Raises:
            LogUnusable
        """


def open_log(url: LogUrl, *, read_position: ReadPosition, group: str, skip_lost: bool) -> OpenLog:
    """Connect to a log. Consumers of the same `group` divide its sources among themselves.

    Raises:
        LogUnusable: it cannot be consumed; the text says why.
        UnusableFile: its client library is not installed.
    """
    kind = "kafka" if url.scheme == "kafka" else "nats"
    module: Any = import_log(f"openengagement.ingest.logs.{kind}_log", extra=kind)
    make = module.KafkaLog if kind == "kafka" else module.NatsLog
    log: OpenLog = make(url, read_position=read_position, group=group, skip_lost=skip_lost)
    return log
