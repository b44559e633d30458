"""The health check: its answers, how often it looks, and a check that hangs."""

import asyncio
import json
import re
import threading
import time

import pytest

from openengagement.api import health
from openengagement.errors import StoreDamaged, StoreUnavailable
from openengagement.stores.contract import StoreFault
from support.waiting import PATIENCE_S

OK = (200, {"status": "ok"})
LIMITS, STORE = "the limits cannot be written", "the counters cannot be read"


def unavailable(*reasons):
    return (503, {"status": "unavailable", "reasons": list(reasons)})


class Checks:
    """Two checks with the results that a test sets; counts the looks."""

    def __init__(self):
        self.results = {LIMITS: None, STORE: True}
        self.looks = 0
        self.steady = True

    def look_at_clock(self):
        return self.steady

    def look(self, fault):
        self.looks += fault == STORE
        result = self.results[fault]
        if isinstance(result, Exception):
            raise result
        return result() if callable(result) else result

    def table(self):
        return {fault: lambda fault=fault: self.look(fault) for fault in self.results}


@pytest.fixture
def checks():
    return Checks()


@pytest.fixture
def ask(checks):
    """Ask several times at once; return the distinct answers."""
    made = health.Health(checks.table(), ready_checks={health.CLOCK_JUMPED: checks.look_at_clock})

    async def ask_all(times, call):
        replies = await asyncio.gather(*[call(None, None) for _ in range(times)])
        answers = [(reply.status, json.loads(reply.body)) for reply in replies]
        for reply in replies:
            assert ("retry-after" in reply.headers) == (reply.status == 503)
        return [each for n, each in enumerate(answers) if each not in answers[:n]]

    with asyncio.Runner() as runner:

        def run(times=1, call=made.read):
            return runner.run(ask_all(times, call))

        run.health = made
        yield run
    made.close()


def test_it_is_ok_if_no_check_fails(ask):
    assert ask() == [OK]


@pytest.mark.parametrize(
    "failure", [False, OSError("secret"), StoreUnavailable("limits", "no room")], ids=repr
)
def test_it_names_what_fails_and_recovers_by_itself(ask, checks, monkeypatch, capfd, failure):
    monkeypatch.setattr(health, "_KEPT_S", 0)
    for _ in range(2):
        checks.results[LIMITS] = failure
        for _ in range(3):
            assert ask() == [unavailable(LIMITS)]
        checks.results[LIMITS] = None
        assert ask() == [OK]
    log = capfd.readouterr().err
    assert "secret" not in log
    assert log.count("health_changed") == 4
    assert log.count("health_check_failed") == 2 * isinstance(failure, Exception)


def test_it_names_everything_that_fails(ask, checks):
    checks.results = {LIMITS: False, STORE: ZeroDivisionError()}
    assert ask() == [unavailable(LIMITS, STORE)]


def test_many_calls_look_once(ask, checks, monkeypatch):
    monkeypatch.setattr(health, "_KEPT_S", PATIENCE_S)
    assert ask(500) == [OK]
    assert ask(500) == [OK]
    assert checks.looks == 1


def test_it_looks_again_after_a_while(ask, checks, monkeypatch):
    monkeypatch.setattr(health, "_KEPT_S", 0.05)
    ask()
    checks.results[STORE] = False
    time.sleep(0.1)
    assert ask() == [unavailable(STORE)]


def test_a_check_that_hangs_is_answered_and_holds_one_thread(ask, checks, monkeypatch):
    monkeypatch.setattr(health, "_TIMEOUT_S", 0.05)
    monkeypatch.setattr(health, "_KEPT_S", 0)
    release = threading.Event()
    checks.results[STORE] = release.wait
    before = threading.active_count()
    for _ in range(5):
        assert ask(3) == [unavailable("the checks took too long")]
    assert threading.active_count() <= before + 1
    release.set()
    checks.results[STORE] = True
    monkeypatch.setattr(health, "_TIMEOUT_S", 60)
    assert ask() == [OK]


def test_damage_is_reported_until_the_worker_ends(ask, monkeypatch):
    monkeypatch.setattr(health, "_KEPT_S", 0)
    assert ask() == [OK]
    ask.health.note_damage(StoreDamaged("embedded", "7.segment", reason="a bit flipped"))
    for _ in range(2):
        assert ask() == [unavailable("stored data is damaged; run `openengagement check`")]


# /livez and /readyz

PARTS = (
    "store",
    "registry",
    "keys",
    "limits",
    "counting",
    "log",
    "disk",
    "clock",
    "damage",
    "checks",
)
HUNG = "the counting process does not answer"


@pytest.fixture
def ready(ask, monkeypatch):
    """Ask `/readyz`: the status, the word for it, and the parts that are not ok."""
    monkeypatch.setattr(health, "_KEPT_S", 0)

    def run():
        ((status, body),) = ask(call=ask.health.read_ready)
        assert tuple(body["checks"]) == PARTS
        bad = {part: text for part, text in body["checks"].items() if text != "ok"}
        return status, body["status"], bad

    return run


def test_it_is_ready(ready):
    assert ready() == (200, "ready", {})


@pytest.mark.parametrize("failure", [False, OSError("secret")], ids=repr)
def test_it_is_not_ready_without_a_part_that_requests_need(ready, checks, failure):
    checks.results = {LIMITS: failure, STORE: failure}
    assert ready() == (503, "not ready", {"limits": LIMITS, "store": STORE})
    checks.results = {LIMITS: None, STORE: True}
    assert ready() == (200, "ready", {})


def test_it_is_degraded_by_what_most_requests_do_not_need(ready, ask, checks):
    checks.steady = False
    assert ready() == (200, "degraded", {"clock": health.CLOCK_JUMPED})
    assert ask() == [OK], "/health says nothing of the clock"
    ask.health.note_damage(StoreDamaged("embedded", "7.segment", reason="a bit flipped"))
    status, word, bad = ready()
    assert (status, word, set(bad)) == (200, "degraded", {"clock", "damage"})
    checks.results[LIMITS] = False
    assert ready()[:2] == (503, "not ready")


@pytest.mark.parametrize("fault", StoreFault)
def test_a_store_of_which_a_part_works(ready, ask, checks, fault):
    """A load balancer that took all servers out for that would make it an outage."""
    ask.health._checks[fault] = lambda: False
    (part,) = ready()[2]
    assert part == {"some counters cannot be read": "store"}.get(fault, "counting")
    assert ready() == (200, "degraded", {part: str(fault)})
    assert ask() == [unavailable(str(fault))]
    checks.results[STORE] = False
    assert ready()[0] == 503


def test_it_is_not_ready_if_the_checks_hang(ready, checks, monkeypatch):
    monkeypatch.setattr(health, "_TIMEOUT_S", 0.05)
    release = threading.Event()
    checks.results[STORE] = release.wait
    assert ready() == (503, "not ready", {"checks": "the checks took too long"})
    release.set()


def test_it_is_live_without_any_check(ask, checks):
    checks.results = {LIMITS: False, STORE: False}
    assert ask(call=ask.health.read_live) == [OK]
    assert checks.looks == 0


def test_every_fault_of_the_server_has_a_part():
    """A fault without one would be a 500."""
    import inspect

    from openengagement import server

    source = inspect.getsource(server._build_health) + inspect.getsource(server._build_store_checks)
    faults = [*re.findall(r'^ +"([^"]+)": ', source, re.MULTILINE), *StoreFault]
    assert len(faults) == 11
    assert set(faults) <= set(health._PARTS)
