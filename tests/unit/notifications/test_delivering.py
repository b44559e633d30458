"""The worker's side of deliveries: what follows each result, and what a fault does to others."""

import asyncio
from contextlib import closing

import pytest

from openengagement.notifications.delivering import Deliverer
from openengagement.notifications.message import Result
from openengagement.notifications.retrying import ATTEMPTS_MAX, PAUSES_S
from openengagement.registry.deliveries import MAIL
from openengagement.registry.notifications import Fault
from openengagement.registry.opening import open_registry

NOW_S = 1_795_342_500


class Attempts:
    """A sender that answers as the test says, and a clock that the test moves."""

    def __init__(self):
        self.results = []
        self.made = []
        self.now_s = NOW_S

    async def send(self, message, target):
        self.made.append((message.id, target))
        result = self.results[min(len(self.made), len(self.results)) - 1]
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def attempts():
    return Attempts()


@pytest.fixture
def registry(tmp_path):
    with closing(open_registry(tmp_path)) as opened:
        yield opened


@pytest.fixture
def deliver(registry, attempts):
    """Deliver what is due, and return the state of the newest notification by mail."""
    deliverer = Deliverer(registry, lambda: attempts, by_mail=True, now_s=lambda: attempts.now_s)

    def run():
        asyncio.run(deliverer.deliver_due())
        return registry.deliveries.list_deliveries(limit=1)[0]

    return run


def note(registry, *files):
    registry.notifications.note_damage(
        [Fault(file, "damaged") for file in files], day="2026-11-22", now_s=NOW_S
    )


def test_a_success_is_final(registry, attempts, deliver):
    note(registry, "a")
    attempts.results = [Result("sent", is_delivered=True)]
    done = deliver()
    assert (done.state, done.result, done.target) == ("delivered", "sent", MAIL)
    attempts.now_s += 10**6
    deliver()
    assert len(attempts.made) == 1


def test_a_final_failure_is_final(registry, attempts, deliver, capsys):
    note(registry, "a")
    attempts.results = [Result("410", is_final=True)]
    assert deliver().state == "failed"
    assert "notification_failed" in capsys.readouterr().err


def test_failures_are_retried_until_they_are_given_up(registry, attempts, deliver):
    note(registry, "a")
    attempts.results = [Result("503")]
    for number, pause_s in enumerate(PAUSES_S, start=1):
        waiting = deliver()
        assert (waiting.state, waiting.attempts) == ("waiting", number)
        assert 0.79 * pause_s - 1 <= waiting.next_at_s - attempts.now_s <= 1.21 * pause_s + 1
        attempts.now_s = waiting.next_at_s - 1
        deliver()
        assert len(attempts.made) == number
        attempts.now_s += 1
    failed = deliver()
    assert (failed.state, failed.attempts, failed.result) == ("failed", ATTEMPTS_MAX, "503")
    assert len(set(attempts.made)) == 1


def test_a_fault_of_one_delivery_stops_no_other(registry, attempts, deliver, capsys):
    note(registry, "a", "b", "c")
    attempts.results = [ValueError("secret"), Result("sent", is_delivered=True)]
    deliver()
    found = registry.deliveries.list_deliveries(limit=9)
    assert sorted((each.state, each.result) for each in found) == [
        ("delivered", "sent"),
        ("delivered", "sent"),
        ("waiting", "ValueError"),
    ]
    assert "secret" not in capsys.readouterr().err


def test_more_deliveries_than_fit_into_one_claim(registry, attempts, deliver):
    note(registry, *map(str, range(150)))
    attempts.results = [Result("sent", is_delivered=True)]
    for _ in range(2):  # a tick queues 100
        deliver()
    assert len(set(attempts.made)) == len(attempts.made) == 150
