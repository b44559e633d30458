"""Positions: a source's offset is committed with its counts, whichever process dies."""

import time

import pytest

from contract.deltas import make_batch
from openengagement.stores.contract import KeyConflict, Position
from support.waiting import PATIENCE_S

ROW = [(5, 10, {"replies": 1})]


def consume(store, offset, *, source="log", rows=ROW, **kwargs):
    batch = make_batch(rows, position=Position(source, offset), **kwargs)
    return store.apply_batches([batch])[0]


def total(store):
    return int(store.read_totals([5], ["replies"])[0, 0])


def test_a_source_without_batches_has_no_position(store):
    assert store.read_position("log") is None


def test_the_last_position_of_each_source_is_read(store):
    for offset in (b"1", b"2", b"\0\xff"):
        consume(store, offset)
    consume(store, b"7", source="other")

    assert store.read_position("log") == b"\0\xff"
    assert store.read_position("other") == b"7"
    assert total(store) == 4


def test_of_several_batches_in_one_call_the_last_position_wins(store):
    batches = [make_batch(ROW, position=Position("log", offset)) for offset in (b"2", b"9", b"3")]
    store.apply_batches([*batches, make_batch(ROW)])

    assert store.read_position("log") == b"3"


def test_a_batch_without_counts_moves_the_position(store):
    """A consumer skips messages in this way."""
    consume(store, b"1", rows=[])
    consume(store, b"2", rows=[], key=b"k")

    assert store.read_position("log") == b"2"


def test_a_repeat_leaves_the_position(store):
    """It adds no counts. A consumer that was replaced must not move its successor back."""
    consume(store, b"1", key=b"k")
    consume(store, b"2")

    assert consume(store, b"1", key=b"k").duplicate
    assert store.read_position("log") == b"2"


def test_a_conflict_leaves_the_position(store):
    consume(store, b"1", key=b"k", digest=b"one")

    assert isinstance(consume(store, b"2", key=b"k", digest=b"two"), KeyConflict)
    assert store.read_position("log") == b"1"


def test_a_refused_call_leaves_the_position(store):
    consume(store, b"1")
    try:
        consume(store, b"2", rows=[(5, 10, {"replies": 2**62})])
    except OverflowError:
        assert store.read_position("log") == b"1"


def test_another_process_reads_the_position_at_once(store, start_worker):
    worker = start_worker()
    for offset in range(1, 20):
        consume(store, b"%d" % offset)
        assert worker.ask("position", "log") == str(offset)


@pytest.mark.heavy
def test_a_killed_consumer_continues_where_its_counts_end(backend, start_worker):
    """Each message adds one. Whenever the consumer dies, counts and position agree."""
    for life in range(5):
        worker = start_worker()
        worker.send("consume", "log")
        time.sleep(0.05 * (life + 1))
        worker.process.kill()
        worker.process.wait(PATIENCE_S)
        worker.process.returncode = 9
        store = backend.open()
        position = store.read_position("log")  # first: a cluster completes what is under way
        consumed = total(store)
        assert position == (b"%d" % consumed if consumed else None)
        store.close()
    assert consumed > 5, "there was nothing to kill"
