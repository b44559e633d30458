"""Consumers and the log killed, frozen and restarted at random moments: every event counts once."""

import random
import signal
import threading
import time
from functools import partial

import pytest

from support.consuming import STOP_MAX_S, Events, start_consumer
from support.nats_server import NatsServer
from support.waiting import wait_for

pytestmark = pytest.mark.heavy
FILTERS = tuple(f"e.{number}" for number in range(4))
REPEATS_S = 3600  # for which the stream knows a message that is sent again
ANSWER_S = 5  # a server that is killed never answers
ALL = "?subject=" + ",".join(FILTERS)


@pytest.fixture
def nats(tmp_path):
    server = NatsServer(tmp_path)
    server.add_stream(duplicate_window=REPEATS_S)
    yield server
    server.stop()


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def start(data):
    """Start a consumer. All that were started are killed at the end."""
    consumers = []

    def started(url, *options):
        consumers.append(start_consumer(data, url, *options))
        return consumers[-1]

    yield started
    for consumer in consumers:
        consumer.kill()


def has_started(consumer):
    return "consumer_started" in consumer.said()


class Publishing:
    """Publishes random messages until the end of the block."""

    def __init__(self, server, events, *, subjects=("e.x",), pause_s=0.02):
        self._server, self._events, self._subjects = server, events, subjects
        self._pause_s = pause_s
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._publish)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        self._thread.join()

    def _publish(self):
        number = 0
        while not self._ends.is_set():
            body = self._events.make(50)
            subject = self._subjects[number % len(self._subjects)]
            number += 1
            while True:  # the id makes JetStream drop a repeat
                try:
                    headers = {"Nats-Msg-Id": str(number)}
                    self._server.publish(
                        [body], subject=subject, headers=headers, timeout_s=ANSWER_S
                    )
                    break
                except Exception:
                    time.sleep(0.1)
            time.sleep(self._pause_s)


def test_a_consumer_that_is_killed_at_any_moment(nats, data, start):
    events, chance = Events(), random.Random(7)
    with Publishing(nats, events):
        for _ in range(8):
            consumer = start(nats.url())
            time.sleep(chance.uniform(0.4, 2.5))
            consumer.kill()
    last = start(nats.url(), "--until-end", "--json")
    last.finish()
    assert events.read(data) == events.counts


def test_a_backlog_with_kills_while_it_is_drained(nats, data, start):
    events, chance = Events(), random.Random(8)
    nats.publish(events.messages(1500, events=200))
    for _ in range(6):
        consumer = start(nats.url())
        time.sleep(chance.uniform(0.7, 1.6))
        consumer.kill()
        assert not events.read(data) - events.counts
    start(nats.url(), "--until-end", "--json").finish()
    assert events.read(data) == events.counts


def test_a_dead_consumer_is_replaced_within_seconds(nats, data, start):
    events, began = Events(), time.monotonic()
    first, second = start(nats.url()), start(nats.url())
    nats.publish(events.messages(5))
    events.wait_until_counted(data, second.said)
    start_s = time.monotonic() - began  # how fast this machine is
    for dead in (first, second):
        dead.kill()
        nats.publish(events.messages(5))
        began = time.monotonic()
        if dead is second:
            start(nats.url())
        events.wait_until_counted(data)
        assert time.monotonic() - began < 10 + 2 * start_s


def test_consumers_share_the_filters(nats, data, start):
    events = Events()
    consumers = [start(nats.url(query=ALL)) for _ in range(3)]
    with Publishing(nats, events, subjects=FILTERS):
        time.sleep(4)
        consumers[0].kill()
        time.sleep(6)
        start(nats.url(query=ALL))
        time.sleep(3)
    events.wait_until_counted(data, consumers[1].said)


def test_a_frozen_consumer_counts_nothing_twice_when_it_awakes(nats, data, start):
    """It had read messages, and another consumer has counted them since."""
    events = Events()
    consumers = [start(nats.url()) for _ in range(2)]
    with Publishing(nats, events):
        for _ in range(3):
            for consumer in consumers:
                time.sleep(1)
                consumer.process.send_signal(signal.SIGSTOP)
                time.sleep(5)
                consumer.process.send_signal(signal.SIGCONT)
    events.wait_until_counted(data, consumers[0].said)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_log_restarts(nats, data, start, how):
    events = Events()
    consumer = start(nats.url())
    wait_for(partial(has_started, consumer), reason=consumer.said)
    with Publishing(nats, events):
        for _ in range(3):
            time.sleep(1.5)
            nats.stop(how)
            time.sleep(0.5)
            nats.start()
    events.wait_until_counted(data, consumer.said)
    assert "log_lost" in consumer.said()


def test_the_log_is_frozen(nats, data, start):
    events = Events()
    consumer = start(nats.url())
    nats.publish(events.messages(3))
    events.wait_until_counted(data, consumer.said)
    nats.process.send_signal(signal.SIGSTOP)
    time.sleep(12)
    nats.process.send_signal(signal.SIGCONT)
    nats.publish(events.messages(3))
    events.wait_until_counted(data, consumer.said)


def test_a_server_counts_uploads_on_the_same_folder(nats, data, start):
    """The consumer and the counting process take turns."""
    from support.cli import call_command
    from support.folders import open_store

    call_command(data, "account", "add", "ana")
    events = Events()
    consumer = start(nats.url())
    other = Events(3)
    path = data.parent / "events.ndjson"
    path.write_bytes(b"".join(other.messages(200, events=50)))
    with Publishing(nats, events):
        call_command(data, "load", "events", str(path))
    events.counts += other.counts
    events.wait_until_counted(data, consumer.said)
    open_store(data).close()


def test_messages_in_every_second_commit_are_bad(nats, data, start):
    """Dead letters may be repeated by a crash, but no bad message blocks or loses another one."""
    events, chance = Events(), random.Random(9)
    bad = 0
    for _ in range(150):
        nats.publish([events.make(20), b"nonsense", b"", b"{}"])
        bad += 2
    for _ in range(3):
        consumer = start(nats.url())
        time.sleep(chance.uniform(0.7, 1.2))
        consumer.kill()
    start(nats.url(), "--until-end", "--json").finish()
    assert events.read(data) == events.counts
    import json

    lines = (data / "dead-letters.ndjson").read_text().splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == bad


def test_sigterm_under_load(nats, data, start):
    events = Events()
    nats.publish(events.messages(600, events=300))
    for _ in range(3):
        consumer = start(nats.url())
        wait_for(partial(has_started, consumer), reason=consumer.said)
        time.sleep(0.5)
        assert consumer.terminate() < STOP_MAX_S
    start(nats.url(), "--until-end", "--json").finish()
    assert events.read(data) == events.counts
