"""The writer commits waiting batches together, and each batch gets its own result."""

import threading
import time

import numpy as np
import pytest

from openengagement.engagement.counters import sum_rows
from openengagement.errors import InvalidField, KeyReused, StoreUnavailable, Unavailable
from openengagement.ingest import writer as writer_module
from openengagement.ingest.writer import BatchWriter
from openengagement.stores.contract import Applied, Batch, KeyConflict
from support.waiting import PATIENCE_S


class FakeStore:
    """Records commits, blocks them while the gate is closed, and fails for special keys."""

    def __init__(self):
        self.commits = []
        self.attempts = 0  # to apply batches while the store is away
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def apply_batches(self, batches):
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        keys = [batch.key for batch in batches]
        if any(key.startswith(b"bad") for key in keys):
            raise OSError("the disk is full")
        if any(key.startswith(b"away") for key in keys):
            self.attempts += 1
            raise StoreUnavailable("counters", "no network")
        if any(key.startswith(b"huge") for key in keys):
            raise OverflowError("a counter might not hold the deltas of this commit")
        self.commits.append(keys)
        return [
            KeyConflict() if key.startswith(b"conflict") else Applied(False, batch.outcome)
            for key, batch in zip(keys, batches, strict=True)
        ]

    def hold(self):
        self.gate.clear()
        self.entered.clear()


def batch(key, rows=1):
    ids = np.arange(1, rows + 1)
    deltas = sum_rows(ids, np.zeros_like(ids), counts=np.ones_like(ids))
    return Batch(deltas, key.encode(), b"digest", b"outcome")


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def failures():
    return []


@pytest.fixture
def start(store, failures):
    """Make writers, and close them after the test."""
    made = []

    def new(queue_max=8):
        made.append(BatchWriter(store, queue_max=queue_max, on_failure=failures.append))
        return made[-1]

    yield new
    store.gate.set()
    for writer in made:
        closer = threading.Thread(target=writer.close, daemon=True)
        closer.start()
        closer.join(PATIENCE_S)


def occupy(writer, store):
    """Block the writer in the commit of one batch."""
    store.hold()
    first = writer.submit(batch("first"))
    assert store.entered.wait(PATIENCE_S)
    return first


def test_a_batch_is_applied(start, store):
    applied = start().submit(batch("a")).result(PATIENCE_S)

    assert applied == Applied(duplicate=False, outcome=b"outcome")
    assert store.commits == [[b"a"]]


def test_waiting_batches_are_committed_together(start, store):
    writer = start()
    first = occupy(writer, store)
    waiting = [writer.submit(batch(name)) for name in "abc"]
    assert not first.done()
    store.gate.set()

    assert all(future.result(PATIENCE_S) for future in [first, *waiting])
    assert store.commits == [[b"first"], [b"a", b"b", b"c"]]


def test_the_size_of_a_commit_is_bounded(start, store, monkeypatch):
    """A commit takes no further batches once it has enough rows, and batches keep their order."""
    monkeypatch.setattr(writer_module, "ROWS_MAX", 10)
    writer = start()
    first = occupy(writer, store)
    waiting = [writer.submit(batch(name, rows=4)) for name in "abcdefg"]
    store.gate.set()
    for future in [first, *waiting]:
        future.result(PATIENCE_S)

    assert store.commits == [[b"first"], [b"a", b"b", b"c"], [b"d", b"e", b"f"], [b"g"]]


def test_a_bad_batch_fails_alone(start, store, failures):
    writer = start()
    first = occupy(writer, store)
    futures = {name: writer.submit(batch(name)) for name in ("a", "bad", "b", "bad 2", "c")}
    store.gate.set()

    for name in ("a", "b", "c"):
        assert futures[name].result(PATIENCE_S) == Applied(duplicate=False, outcome=b"outcome")
    for name in ("bad", "bad 2"):
        with pytest.raises(Unavailable, match="nothing of it was counted"):
            futures[name].result(PATIENCE_S)
    assert first.result(PATIENCE_S)
    assert [type(error) for error in failures] == [OSError, OSError]
    assert sorted(key for commit in store.commits for key in commit) == [b"a", b"b", b"c", b"first"]


def test_a_batch_that_overflows_a_counter_must_not_be_retried(start, failures):
    with pytest.raises(InvalidField, match="nothing was counted"):
        start().submit(batch("huge")).result(PATIENCE_S)
    assert failures == []


def test_batches_are_not_retried_while_the_store_is_away(start, store, failures):
    """They may have been applied: a retry could count a batch without a key twice."""
    writer = start()
    first = occupy(writer, store)
    waiting = [writer.submit(batch(name)) for name in ("away", "a")]
    store.gate.set()

    assert first.result(PATIENCE_S)
    for future in waiting:
        with pytest.raises(StoreUnavailable):
            future.result(PATIENCE_S)
    assert store.attempts == len(failures) == 1


def test_the_error_does_not_reveal_the_cause_of_a_failure(start):
    """It names no file, statement or value."""
    future = start().submit(batch("bad"))

    with pytest.raises(Unavailable) as refused:
        future.result(PATIENCE_S)
    assert "disk" not in str(refused.value)


def test_a_reused_key_is_an_error_of_its_own(start):
    writer = start()
    conflict, good = writer.submit(batch("conflict")), writer.submit(batch("a"))

    with pytest.raises(KeyReused):
        conflict.result(PATIENCE_S)
    assert good.result(PATIENCE_S)


def test_a_full_queue_refuses_a_batch_at_once(start, store):
    writer = start(queue_max=2)
    first = occupy(writer, store)
    waiting = [writer.submit(batch(name)) for name in "ab"]

    started = time.monotonic()
    with pytest.raises(Unavailable, match="again later") as refused:
        writer.submit(batch("c"))
    assert time.monotonic() - started < 20
    assert refused.value.headers["retry-after"]

    store.gate.set()
    for future in [first, *waiting]:
        future.result(PATIENCE_S)
    assert writer.submit(batch("c")).result(PATIENCE_S)
    assert store.commits[-1] == [b"c"]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_close_applies_the_waiting_batches(start, store, count):
    writer = start()
    first = occupy(writer, store)
    waiting = [writer.submit(batch(f"{index}")) for index in range(count)]
    closer = threading.Thread(target=writer.close)
    closer.start()
    store.gate.set()
    closer.join(PATIENCE_S)

    assert not closer.is_alive()
    assert all(future.done() and future.result() for future in [first, *waiting])


def test_a_cancelled_batch_does_not_stop_the_writer(start, store):
    """A cancelled request cancels its future. Its batch may still count."""
    writer = start()
    first = occupy(writer, store)
    given_up = writer.submit(batch("given up"))
    given_up.cancel()
    fitting = writer.submit(batch("fitting"))
    store.gate.set()

    assert first.result(PATIENCE_S)
    assert fitting.result(PATIENCE_S)
    assert writer.submit(batch("later")).result(PATIENCE_S)


def test_a_batch_after_close_is_refused(start):
    """Its sender must not wait for ever."""
    writer = start()
    writer.close()

    with pytest.raises(Unavailable):
        writer.submit(batch("late")).result(PATIENCE_S)


def test_many_senders_at_once(start, store):
    writer = start(queue_max=1000)
    futures = []
    lock = threading.Lock()

    def produce(name):
        for index in range(50):
            future = writer.submit(batch(f"{name} {index}"))
            with lock:
                futures.append(future)

    threads = [threading.Thread(target=produce, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    for future in futures:
        assert future.result(PATIENCE_S)

    keys = [key for commit in store.commits for key in commit]
    assert len(keys) == len(set(keys)) == 400
    for name in range(8):
        mine = [key for key in keys if key.startswith(f"{name} ".encode())]
        assert mine == [f"{name} {index}".encode() for index in range(50)]
