"""Open an event log. This is the only module that imports a log's client library."""

from typing import Any, Protocol

from openengagement.extras import import_log
from openengagement.ingest.logs.contract import EventLog, LogPublisher, ReadPosition
from openengagement.ingest.logs.log_url import LogUrl


class OpenLog(EventLog, Protocol):
    """A log that was just opened."""

    def verify_dead_letters(self, name: str) -> None:
        """Verify that a subject or topic for dead letters exists, and that it is not consumed.

        Raises:
            LogUnusable
        """


def open_log(url: LogUrl, *, read_position: ReadPosition, group: str, skip_lost: bool) -> OpenLog:
    """Connect to a log. Consumers of the same `group` divide its sources among themselves.

    Raises:
        LogUnusable: it cannot be consumed; the text says why.
        UnusableFile: its client library is not installed.
    """
    make = _import(url, kafka="kafka_log.KafkaLog", nats="nats_log.NatsLog")
    log: OpenLog = make(url, read_position=read_position, group=group, skip_lost=skip_lost)
    return log


def open_publisher(url: LogUrl, *, bytes_max: int) -> LogPublisher:
    """Make a publisher to a log. It connects later.

    Raises:
        LogUnusable: the URL names a file that cannot be read.
        UnusableFile: its client library is not installed.
    """
    make = _import(url, kafka="kafka_publisher.KafkaPublisher", nats="nats_publisher.NatsPublisher")
    publisher: LogPublisher = make(url, bytes_max=bytes_max)
    return publisher


def _import(url: LogUrl, *, kafka: str, nats: str) -> Any:  # noqa: ANN401 - a class of a module
    kind = "kafka" if url.scheme == "kafka" else "nats"
    name, _, member = (kafka if kind == "kafka" else nats).partition(".")
    return getattr(import_log(f"openengagement.ingest.logs.{name}", extra=kind), member)
