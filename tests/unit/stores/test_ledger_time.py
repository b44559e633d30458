"""The time of the ledger advances with real time only, and jumps are recorded and logged once."""

import json

import pytest

from contract.backends import ChosenClock
from contract.deltas import make_batch
from openengagement.engagement.types import DAY_S
from openengagement.stores.embedded import ledger_time
from openengagement.stores.embedded.ledger_time import ClockJump
from openengagement.stores.embedded.store import EmbeddedStore

START_S = ChosenClock().at_s


@pytest.fixture
def clock():
    return ChosenClock()


@pytest.fixture
def store(path, clock):
    opened = EmbeddedStore(path, clock=clock, idempotency_keep_days=90)
    yield opened
    opened.close()


def commit(store, key=b"k"):
    (answer,) = store.apply_batches([make_batch([], key=key)])
    return answer.duplicate


def jumps(store):
    return ledger_time.list_jumps(store._database.connection())


def ledger_s(store):
    with store._database.writing() as db:
        return ledger_time.advance(db, store._clock)[0]


def test_it_advances_with_real_time_in_steps_of_any_length(store, clock):
    for passed_s in (0.5, 0.5, 59, 61, 3600, 10 * DAY_S, 1):
        commit(store)
        clock.at_s += passed_s
    assert ledger_s(store) == int(clock.at_s)
    assert jumps(store) == []


def test_a_jump_is_recorded_and_logged_once(store, clock, capfd):
    commit(store)
    clock.jump(91 * DAY_S)
    for _ in range(3):
        commit(store)
        clock.at_s += 5
    clock.jump(-91 * DAY_S)
    commit(store)
    assert jumps(store) == [
        ClockJump(START_S, START_S + 91 * DAY_S),
        ClockJump(START_S + 91 * DAY_S + 15, START_S + 15),
    ]
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["event"], line["from_s"], line["to_s"]) for line in lines] == [
        ("clock_jumped", jump.from_s, jump.to_s) for jump in jumps(store)
    ]


def test_a_small_correction_is_no_jump(store, clock):
    commit(store)
    for by_s in (30, -59, 1):
        clock.jump(by_s)
        clock.at_s += 100
        commit(store)
    assert jumps(store) == []


def test_after_a_start_of_the_machine_only_going_back_is_a_jump(store, clock):
    commit(store)
    clock.reboot(off_s=91 * DAY_S)
    commit(store)
    assert jumps(store) == []
    clock.reboot(off_s=-3600)
    commit(store)
    assert [jump.to_s - jump.from_s for jump in jumps(store)] == [-3600]


def test_an_uptime_that_goes_back_counts_for_nothing(store, clock):
    """A container whose uptime starts anew on a machine that did not."""
    commit(store)
    before_s = ledger_s(store)
    clock.at_s += 100
    clock.start_s = clock.at_s
    assert ledger_s(store) == before_s
    clock.at_s += 100
    assert ledger_s(store) == before_s + 100


@pytest.mark.parametrize("ahead_s", [91 * DAY_S, -2000 * DAY_S, 0])
def test_an_upgrade_under_a_wrong_clock_forgets_nothing(path, clock, ahead_s):
    """Older versions recorded keys by the wall clock."""
    first = EmbeddedStore(path, clock=clock, idempotency_keep_days=90)
    commit(first)
    first.apply_batches([make_batch([], key=b"unending")])
    db = first._database.connection()
    db.execute("UPDATE batches SET applied_at_s = ? WHERE key = ?", (2**62, b"unending"))
    for trigger in ("note_replaced", "drop_content", "forget_content"):
        db.execute(f"DROP TRIGGER {trigger}")
    for table in ("ledger_time", "clock_jumps", "unlisted_files", "contents"):
        db.execute(f"DROP TABLE {table}")
    db.execute("PRAGMA user_version = 7")
    first.close()
    clock.jump(ahead_s)
    store = EmbeddedStore(path, clock=clock, idempotency_keep_days=90)
    assert commit(store) is True
    clock.at_s += 80 * DAY_S
    assert commit(store) is True
    store.close()


def test_a_limited_number_of_jumps_is_kept(store, clock):
    for _ in range(130):
        clock.jump(1000)
        commit(store)
    assert len(jumps(store)) == ledger_time._JUMPS_KEPT
