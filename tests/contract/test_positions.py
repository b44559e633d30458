"""Positions: a source's offset is committed with its counts, whichever process dies.

A batch follows a position. The store refuses it unless the source is at that position, so it does
not matter how many consumers believe that they own a source.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from contract.deltas import make_batch
from openengagement.stores.contract import Applied, KeyConflict, Position, PositionConflict
from support.waiting import PATIENCE_S, wait_for

ROW = [(5, 10, {"replies": 1})]


def at(offset, after, *, source="log", rows=ROW, **kwargs):
    return make_batch(rows, position=Position(source, offset, after), **kwargs)


def consume(store, offset, after, **kwargs):
    return store.apply_batches([at(offset, after, **kwargs)])[0]


def total(store):
    return int(store.read_totals([5], ["replies"])[0, 0])


def test_a_source_without_batches_has_no_position(store):
    assert store.read_position("log") is None


def test_the_last_position_of_each_source_is_read(store):
    for after, offset in ((None, b"1"), (b"1", b"2"), (b"2", b"\0\xff")):
        consume(store, offset, after)
    consume(store, b"7", None, source="other")

    assert store.read_position("log") == b"\0\xff"
    assert store.read_position("other") == b"7"
    assert total(store) == 4


@pytest.mark.parametrize("after", [None, b"0", b"2", b"3", b"", b"1\0"])
def test_a_batch_that_follows_another_position_is_refused(store, after):
    consume(store, b"1", None)

    assert isinstance(consume(store, b"2", after), PositionConflict)
    assert store.read_position("log") == b"1"
    assert total(store) == 1


def test_a_batch_that_follows_a_position_is_refused_at_the_beginning(store):
    assert isinstance(consume(store, b"2", b"1"), PositionConflict)
    assert store.read_position("log") is None
    assert total(store) == 0


def test_a_refused_batch_delays_no_other(store):
    """A commit may have batches of several sources, and batches of senders with keys."""
    consume(store, b"1", None)
    answers = store.apply_batches(
        [
            at(b"9", b"8"),
            at(b"1", None, source="other"),
            at(b"2", b"1"),
            make_batch(ROW, key=b"k"),
            at(b"9", b"8", source="third", key=b"third"),
        ]
    )

    refused = [isinstance(answer, PositionConflict) for answer in answers]
    assert refused == [True, False, False, False, True]
    assert store.read_position("log") == b"2"
    assert store.read_position("third") is None
    assert total(store) == 4
    (again,) = store.apply_batches([make_batch(ROW, key=b"third")])
    assert again == Applied(False, b"outcome"), "the key of a refused batch is still unused"


def test_batches_of_one_call_follow_each_other(store):
    answers = store.apply_batches(
        [at(b"2", None), at(b"9", b"2"), at(b"5", b"2"), at(b"3", b"9"), make_batch(ROW)]
    )

    assert [isinstance(answer, PositionConflict) for answer in answers] == [
        *(False, False, True, False),
        False,
    ]
    assert store.read_position("log") == b"3"
    assert total(store) == 4


def test_one_of_two_consumers_commits(store):
    """Both read the same message from the log, again and again."""

    def take(_):
        after = store.read_position("log")
        offset = b"%d" % (int(after or b"0") + 1)
        return isinstance(consume(store, offset, after), Applied)

    with ThreadPoolExecutor(4) as pool:
        applied = sum(pool.map(take, range(60)))
    assert store.read_position("log") == b"%d" % applied
    assert total(store) == applied


def test_consumers_of_several_sources_do_not_wait_for_each_other_for_ever(store):
    """Their commits name the sources in different orders."""

    def take(sources):
        for _ in range(10):
            positions = {source: store.read_position(source) for source in sources}
            store.apply_batches(
                [
                    at(b"%d" % (int(after or b"0") + 1), after, source=source)
                    for source, after in positions.items()
                ]
            )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(take, (["a", "b", "c"], ["c", "b", "a"])))
    assert total(store) == sum(int(store.read_position(source)) for source in "abc")


def test_a_batch_without_counts_moves_the_position(store):
    """A consumer skips messages in this way."""
    consume(store, b"1", None, rows=[])
    consume(store, b"2", b"1", rows=[], key=b"k")

    assert store.read_position("log") == b"2"


def test_a_repeat_moves_the_position(store):
    """Its events are counted, so its consumer goes on after it."""
    consume(store, b"1", None, key=b"k")
    answers = store.apply_batches(
        [at(b"2", b"1", key=b"k"), at(b"3", b"2", key=b"k"), at(b"4", b"3")]
    )

    assert [answer.duplicate for answer in answers] == [True, True, False]
    assert store.read_position("log") == b"4"
    assert total(store) == 2


def test_a_repeat_within_a_call_moves_the_position(store):
    answers = store.apply_batches([at(b"1", None, key=b"k"), at(b"2", b"1", key=b"k")])

    assert [answer.duplicate for answer in answers] == [False, True]
    assert store.read_position("log") == b"2"
    assert total(store) == 1


def test_a_repeat_of_a_consumer_that_was_replaced_leaves_the_position(store):
    """It must not move its successor back."""
    consume(store, b"1", None, key=b"k")
    consume(store, b"2", b"1")

    assert isinstance(consume(store, b"1", None, key=b"k"), PositionConflict)
    assert store.read_position("log") == b"2"


def test_a_key_is_counted_once_in_two_sources(store):
    """A sender that got no answer sent its batch again, and it came into another partition."""

    def take(source):
        return consume(store, b"1", None, source=source, key=b"k").duplicate

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(take, "abcd")) == [False, True, True, True]
    assert [store.read_position(source) for source in "abcd"] == [b"1"] * 4
    assert total(store) == 1


def test_a_conflict_leaves_the_position(store):
    consume(store, b"1", None, key=b"k", digest=b"one")

    assert isinstance(consume(store, b"2", b"1", key=b"k", digest=b"two"), KeyConflict)
    assert store.read_position("log") == b"1"


def test_a_refused_call_leaves_the_position(store):
    consume(store, b"1", None)
    try:
        consume(store, b"2", b"1", rows=[(5, 10, {"replies": 2**62})])
    except OverflowError:
        assert store.read_position("log") == b"1"


def test_another_process_reads_the_position_at_once(store, start_worker):
    worker = start_worker()
    for offset in range(1, 20):
        consume(store, b"%d" % offset, b"%d" % (offset - 1) if offset > 1 else None)
        assert worker.ask("position", "log") == str(offset)


@pytest.mark.heavy
def test_a_killed_consumer_continues_where_its_counts_end(backend, start_worker):
    """Each message adds one. Whenever the consumer dies, counts and position agree."""
    for life in range(5):
        worker = start_worker()
        with closing(backend.open()) as watched:
            least = int(watched.read_position("log") or 0) + 2 * (life + 1)
            worker.send("consume", "log")
            wait_for(lambda: int(watched.read_position("log") or 0) >= least)  # noqa: B023
        worker.process.kill()
        worker.process.wait(PATIENCE_S)
        worker.process.returncode = 9
        store = backend.open()
        position = store.read_position("log")  # first: a cluster completes what is under way
        consumed = total(store)
        assert position == (b"%d" % consumed if consumed else None)
        store.close()
    assert consumed >= 2 * (1 + 2 + 3 + 4 + 5)
