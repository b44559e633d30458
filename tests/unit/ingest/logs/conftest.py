"""A log in memory, a store, and a consumer of both."""

import threading

import pytest

from openengagement.clock import SystemClock
from openengagement.ingest.logs.consumer import Consumer
from openengagement.ingest.logs.consumer_progress import ConsumerProgress
from openengagement.ingest.logs.contract import LogMessage
from openengagement.ingest.logs.cursors import Cursor, PositionCodec, start, total_lag
from openengagement.ingest.logs.messages import MessageParser
from openengagement.settings import Settings
from openengagement.stores.embedded.store import EmbeddedStore

SENT_S = 1_763_805_600.0  # 2025-11-22T10:00:00Z
AT = "2025-11-22T09:30:00Z"


def event(tweet_id=5, *, type_="replies", count=1, at=AT):
    return b'{"tweet_id":"%d","type":"%s","at":"%s","count":%d}\n' % (
        tweet_id,
        type_.encode(),
        at.encode(),
        count,
    )


class MemoryLog:
    """Messages of several sources. `batch` is how many a poll returns."""

    def __init__(self, bodies, store, *, batch=3):
        self.bodies = bodies
        self.batch = batch
        self.cursors = {source: Cursor(source) for source in bodies}
        self.restarts = 0
        self._store = store
        self._codec = PositionCodec("made", described="the log")

    def poll(self, timeout_s):
        start(self.cursors, self._codec, read_position=self._store.read_position)
        found = []
        for source, cursor in self.cursors.items():
            if not cursor.started:
                continue
            for body in self.bodies[source][cursor.offset : cursor.offset + self.batch]:
                cursor.offset += 1
                after, cursor.position = cursor.position, self._codec.encode(cursor.offset)
                message = LogMessage(
                    source, cursor.epoch, after, cursor.position, cursor.offset, SENT_S, body
                )
                found.append(message)
            cursor.lag = len(self.bodies[source]) - cursor.offset
        return found

    def restart(self, source, epoch):
        self.restarts += self.cursors[source].epoch == epoch
        self.cursors[source].restart(epoch)

    def lag(self):
        return total_lag(self.cursors)

    def close(self):
        pass


class Consuming:
    """A consumer whose dead letters are in `letters`."""

    def __init__(self, log, store, settings):
        self.log, self.store = log, store
        self.letters = []
        self.progress = ConsumerProgress(SystemClock().now_s)
        self.put = self.letters.extend
        self.settings = settings
        self.stop = threading.Event()

    def run(self):
        consumer = Consumer(
            self.log,
            self.store,
            parser=MessageParser(self.settings, now_s=SystemClock().now_s),
            put_letters=self.put,
            progress=self.progress,
        )
        consumer.run(self.stop, until_end=True, report=lambda: None)


@pytest.fixture
def store(tmp_path):
    opened = EmbeddedStore(tmp_path / "c.sqlite3", clock=SystemClock(), idempotency_keep_days=9)
    yield opened
    opened.close()


@pytest.fixture
def consume(store):
    """Consume messages to the end of the log, and return the consumer."""

    def run(bodies, *, batch=3, settings=None, change=lambda consuming: None):
        if not isinstance(bodies, dict):
            bodies = {"log": list(bodies)}
        log = MemoryLog(bodies, store, batch=batch)
        consuming = Consuming(log, store, settings or Settings())
        change(consuming)
        consuming.run()
        return consuming

    return run


@pytest.fixture
def total(store):
    """Read an all-time count of a Tweet."""
    return lambda tweet_id=5, type_="replies": int(store.read_totals([tweet_id], [type_])[0, 0])
