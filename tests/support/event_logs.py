"""An event log of either kind, for tests that must hold on both."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.kafka_broker import KafkaBroker
from support.nats_server import NatsServer


class Log:
    """A stream or topic, with its URL. `stop` kills it; `start` runs it again (NATS only)."""

    def __init__(self, server: Any, url: str) -> None:
        self.server = server
        self.url = url
        self.stop = server.stop

    def publish(self, *bodies: bytes, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(self.server, NatsServer):
            self.server.publish(bodies, subject="e.in", headers=named or None)
        else:
            self.server.publish("events", bodies, headers=named)


@contextmanager
def open_log(kind: str, folder: Path) -> Iterator[Log]:
    """Run a log with a stream or topic for events."""
    if kind == "nats":
        nats = NatsServer(folder)
        nats.add_stream(subjects=["e.in"])
        log = Log(nats, nats.url())
    else:
        broker = KafkaBroker(folder)
        broker.add_topic("events")
        log = Log(broker, broker.url("events"))
    try:
        yield log
    finally:
        log.stop()
