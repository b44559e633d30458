"""Several processes on one store see each other's commits at once and count nothing twice."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from contract.deltas import make_batch, make_tweets
from support.waiting import PATIENCE_S

ROW = [[5, 10, {"replies": 1}]]


def test_another_process_sees_our_commits_at_once(store, start_worker):
    worker = start_worker()
    for index in range(1, 30):
        store.apply_batches([make_batch([(5, 10, {"replies": 1})])])
        assert worker.ask("totals", [5], ["replies"]) == [[index]]


def test_commits_of_another_process_are_seen_at_once(store, start_worker):
    worker = start_worker()
    for index in range(1, 30):
        assert worker.ask("apply", None, ROW) is False
        assert store.read_totals([5], ["replies"]).tolist() == [[index]]


def test_a_handle_opened_later_sees_everything(backend, store):
    store.apply_tweets(make_tweets((5, 7, 1000, None, False)))
    store.apply_batches([make_batch([(5, 10, {"replies": 3})], key=b"k")])

    again = backend.open()
    try:
        assert again.read_totals([5], ["replies"]).tolist() == [[3]]
        assert set(again.read_tweets([5])) == {5}
        (answer,) = again.apply_batches([make_batch([(5, 10, {"replies": 3})], key=b"k")])
        assert answer.duplicate
    finally:
        again.close()


def test_keys_hold_across_processes(store, start_worker):
    worker = start_worker()

    assert worker.ask("apply", "k", ROW) is False
    (answer,) = store.apply_batches([make_batch([(5, 10, {"replies": 1})], key=b"k")])
    assert answer.duplicate
    assert worker.ask("apply", "k", ROW) is True
    assert store.read_totals([5], ["replies"]).tolist() == [[1]]


def test_commits_outlive_their_process(store, start_worker):
    worker = start_worker()
    worker.ask("apply", "k", ROW)
    worker.send("die")
    assert worker.process.wait(PATIENCE_S) == 9

    assert store.read_totals([5], ["replies"]).tolist() == [[1]]
    (answer,) = store.apply_batches([make_batch([(5, 10, {"replies": 1})], key=b"k")])
    assert answer.duplicate


def test_processes_apply_while_others_read(store, start_worker):
    """Each of three processes sends its own batches and the same shared ones; we watch.

    A batch adds as much to one Tweet as to the other, in different hours, so half a batch, or a
    total apart from its hours, would be seen. Both Tweets are in the same of three shards of a
    cluster: the shards of one show a batch one after the other.
    """
    times, rounds = 4, 12
    rows = [[3, 3, {"replies": 2}], [4, 4, {"replies": 1}], [4, 5, {"replies": 1}]]
    workers = [start_worker() for _ in range(3)]
    seen, last = set(), 0
    for number in range(rounds):
        for index, worker in enumerate(workers):
            worker.send("count", times, f"worker {index}", rows, number * times)
        last = watch(store, last, until=2 * times * 4 * (number + 1), seen=seen)
        assert sum(worker.answer() for worker in workers) == times * 4
    assert len(seen) > 10


def watch(store, last, *, until, seen):
    """Read until the totals are `until`, and check each answer. Return the last total."""
    while last < until:
        low = store.read_totals([3, 4], ["replies"])[:, 0].tolist()
        buckets = store.read_buckets([3, 4], ["replies"], start_hour=0, end_hour=10)
        between = buckets.sum(axis=(1, 2)).tolist()
        high = store.read_totals([3, 4], ["replies"])[:, 0].tolist()
        for pair in (low, between, high):
            assert pair[0] == pair[1], "half a batch"
        assert last <= low[0] <= between[0] <= high[0] <= until
        last = high[0]
        seen.add(last)
    return last


def test_processes_that_open_it_first_at_the_same_time(backend, start_worker):
    """Without the `store` fixture: the three processes create the store."""
    with ThreadPoolExecutor(3) as pool:
        workers = list(pool.map(lambda _: start_worker(), range(3)))
    for index, worker in enumerate(workers):
        assert worker.ask("apply", f"{index}", ROW) is False

    assert workers[0].ask("totals", [5], ["replies"]) == [[3]]


@pytest.mark.parametrize("deaths", [2])
def test_a_dead_process_blocks_no_other(store, start_worker, deaths):
    for index in range(deaths):
        worker = start_worker()
        worker.ask("apply", f"{index}", ROW)
        worker.send("count", 1000, f"{index}", ROW)
        worker.process.kill()
        worker.process.wait(PATIENCE_S)
        worker.process.returncode = 9
        store.apply_batches([make_batch([(6, 1, {"replies": 1})])])

    assert store.read_totals([6], ["replies"]).tolist() == [[deaths]]
    total = int(store.read_totals([5], ["replies"])[0, 0])
    buckets = store.read_buckets([5], ["replies"], start_hour=0, end_hour=20)
    assert buckets.sum() == total >= deaths
