"""The consumer, on a log in memory and a real store: every message counts once."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from openengagement.errors import StoreDamaged, StoreUnavailable
from openengagement.ingest.logs import consumer as consumer_module
from openengagement.ingest.logs.contract import LogUnavailable
from openengagement.settings import Settings
from openengagement.stores.contract import Position
from unit.ingest.logs.conftest import Consuming, MemoryLog, event


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(consumer_module, "_RETRY_S", 0.001)


def reasons(consuming):
    return [json.loads(letter)["reason"] for _, letter in consuming.letters]


def test_every_message_counts_once(consume, total, store):
    consuming = consume([event() * 2, event(count=5), event(6)] * 4)

    assert total() == 28
    assert total(6) == 4
    assert store.read_position("log") == b"made@12"
    reached = consuming.progress.reached()
    assert (reached.messages, reached.events, reached.dead_letters) == (12, 16, 0)
    assert reached.age_s > 0


def test_a_second_run_continues_at_the_position(consume, total):
    bodies = [event()] * 5
    consume(bodies)
    consume([*bodies, event(count=10)])

    assert total() == 15


def test_sources_have_positions_of_their_own(consume, total, store):
    consume({"a": [event()] * 4, "b": [event(6)] * 9, "c": []})

    assert (total(), total(6)) == (4, 9)
    assert store.read_position("a") == b"made@4"
    assert store.read_position("b") == b"made@9"
    assert store.read_position("c") is None


def test_a_message_that_cannot_be_counted_blocks_no_other(consume, total):
    consuming = consume([event(), b"nonsense", event(type_="hearts"), b"", b"\xff\xfe", event()])

    assert total() == 2
    assert reasons(consuming) == ["unsupported_body", "unknown_type", "unsupported_body"]


def test_a_commit_that_another_consumer_has_made_is_not_repeated(consume, total):
    """It reads ahead of the store. Then somebody else moves the position."""

    def change(consuming):
        other, apply = MemoryLog(consuming.log.bodies, consuming.store), []

        def beaten(batches):
            if not apply:
                apply.append(True)
                consuming.store.apply_batches = original
                other_run = type(consuming)(other, consuming.store, consuming.settings)
                other_run.run()
            return original(batches)

        original = consuming.store.apply_batches
        consuming.store.apply_batches = beaten

    consuming = consume([event()] * 10, change=change)

    assert total() == 10
    assert consuming.progress.reached().conflicts >= 1
    assert consuming.progress.reached().events == 0


def test_two_consumers_that_both_own_a_source(store, total):
    """Their batches end at different messages. Whoever commits first, each message counts once."""
    bodies = {"log": [event(count=number % 7 + 1) for number in range(120)]}
    consumers = [
        Consuming(MemoryLog(bodies, store, batch=batch), store, Settings()) for batch in (3, 7)
    ]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Consuming.run, consumers))

    assert total() == sum(number % 7 + 1 for number in range(120))
    assert sum(each.progress.reached().messages for each in consumers) == 120
    assert store.read_position("log") == b"made@120"


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("failures", [1, 3])
def test_an_unknown_outcome_is_looked_up(consume, total, store, applied, failures):
    """The store failed after it applied the batches, or before."""
    left = [failures]

    def change(consuming):
        original = consuming.store.apply_batches

        def failing(batches):
            if not left[0]:
                return original(batches)
            left[0] -= 1
            if applied:
                original(batches)
            raise StoreUnavailable("counters", "gone")

        consuming.store.apply_batches = failing

    consume([event()] * 20, change=change)

    assert total() == 20
    assert store.read_position("log") == b"made@20"


def test_dead_letters_come_before_the_commit(consume, total):
    """If they cannot be written, nothing is committed, and the messages are read again."""
    seen = []

    def change(consuming):
        def put(letters):
            seen.append((len(letters), total()))
            if len(seen) == 1:
                raise LogUnavailable("no stream")
            consuming.letters.extend(letters)

        consuming.put = put

    consuming = consume([event(), b"{}", event()], change=change)

    assert seen == [(1, 0), (1, 0)]
    assert total() == 2
    assert len(consuming.letters) == 1


def test_a_count_that_would_overflow_is_a_dead_letter(consume, total, store):
    """The other messages of its commit count, those of the same source too."""
    huge = b'{"tweet_id":5,"type":"replies","at":"2025-11-22T09:30:00Z","count":1000000000}\n'
    nearly = Position("other", b"1", None)
    store.apply_batches([_batch(2**62 - 10, nearly)])

    consuming = consume(
        {"a": [event(), huge, event()], "b": [event(6)]},
    )

    assert total() == 2**62 - 8
    assert total(6) == 1
    assert reasons(consuming) == ["too_large"]
    letter = json.loads(consuming.letters[0][1])
    assert letter["offset"] == 2
    assert letter["row"] == huge.decode()


def _batch(count, position):
    from contract.deltas import make_batch

    return make_batch([(5, 10, {"replies": count})], position=position)


def test_what_is_not_committed_when_it_stops_is_left(consume, total):
    def change(consuming):
        original = consuming.store.apply_batches

        def stopping(batches):
            consuming.stop.set()
            return original(batches)

        consuming.store.apply_batches = stopping

    bodies = [event()] * 20
    consume(bodies, change=change)
    assert 0 < total() < 20

    consume(bodies)
    assert total() == 20


@pytest.mark.parametrize("method", ["apply_batches", "read_position"])
def test_damage_ends_it(consume, store, monkeypatch, method):
    """A retry would not help."""
    consume([event()])
    damage = StoreDamaged("counters", "counters.sqlite3", reason="a fault")

    def meet(*_):
        raise damage

    monkeypatch.setattr(store, method, meet)
    with pytest.raises(StoreDamaged):
        consume([event()] * 2)
