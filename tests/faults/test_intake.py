"""`serve --intake log`: every batch counts once when server, consumer or log die or freeze."""

import random
import signal
import time
from functools import partial

import pytest

from faults.sending import ACCEPTED, Senders, run_faults
from support.consuming import start_consumer
from support.event_logs import open_log
from support.waiting import wait_for

pytestmark = pytest.mark.heavy
ROUNDS = 3


@pytest.fixture(params=["nats", "kafka"])
def log(request, tmp_path):
    with open_log(request.param, tmp_path) as running:
        running.kind = request.param
        yield running


@pytest.fixture
def server(crashing, log):
    crashing.settings = {"intake": "log", "intake_log": log.url}
    crashing.start()
    return crashing


@pytest.fixture
def consume(crashing, log):
    """Start a consumer, and wait until it reads. All that were started are killed at the end.

    A consumer that does not reach its log when it starts ends, so a fault must come later.
    """
    started = []

    def start():
        consumer = start_consumer(crashing.data, log.url)
        started.append(consumer)
        wait_for(lambda: "consumer_started" in consumer.said(), reason=consumer.said)
        return consumer

    yield start
    for each in started:
        each.kill()


def restart(server):
    server.kill()
    server.start()


def test_a_server_that_is_killed(server, log):
    senders = Senders(server)
    run_faults(senders, [partial(restart, server)] * ROUNDS)
    start_consumer(server.data, log.url, "--until-end", "--json").finish()

    assert senders.events.read(server.data) == senders.events.counts
    assert senders.statuses <= {ACCEPTED, 503, None}


def test_a_consumer_that_is_killed(server, consume, log):
    senders, chance = Senders(server), random.Random(6)
    consumers = [consume()]

    def replace():
        time.sleep(chance.uniform(0.2, 2))
        consumers[-1].kill()
        consumers.append(consume())

    run_faults(senders, [replace] * ROUNDS)
    senders.events.wait_until_counted(server.data, consumers[-1].said)


def test_a_frozen_log(server, consume, log):
    """Senders get 503, and send again what the log may have had."""
    senders = Senders(server)
    consumer = consume()

    def freeze():
        senders.statuses.discard(503)
        log.server.process.send_signal(signal.SIGSTOP)
        time.sleep(8)
        wait_for(lambda: 503 in senders.statuses)
        log.server.process.send_signal(signal.SIGCONT)

    run_faults(senders, [freeze] * 2)
    senders.events.wait_until_counted(server.data, consumer.said)


@pytest.mark.parametrize("log", ["nats"], indirect=True)
def test_a_log_that_is_killed(server, consume, log):
    senders = Senders(server)
    consumer = consume()

    def kill():
        log.server.stop()
        time.sleep(1)
        log.server.start()

    run_faults(senders, [kill] * ROUNDS)
    senders.events.wait_until_counted(server.data, consumer.said)


@pytest.mark.parametrize("log", ["nats"], indirect=True)
def test_all_of_them_are_killed(server, consume, log):
    senders = Senders(server)
    consumers = [consume()]

    def kill():
        server.kill()
        log.server.stop()
        consumers[-1].kill()
        log.server.start()
        server.start()
        consumers.append(consume())

    run_faults(senders, [kill] * ROUNDS)
    senders.events.wait_until_counted(server.data, consumers[-1].said)
