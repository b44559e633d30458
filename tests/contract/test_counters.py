"""Counters: every batch is read back completely, once, and in order."""

import copy
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from contract.backends import KEEP_DAYS
from contract.deltas import make_batch, make_tweets
from openengagement.engagement.counters import COUNTER_MAX, HOUR_MAX
from openengagement.engagement.types import DAY_S, TYPE_NAMES
from openengagement.stores.contract import Applied, Compacts, KeyConflict

BIG = COUNTER_MAX // 2 + 1
MOST = 2**63 - 1


def apply(store, *batches):
    return store.apply_batches(
        [batch if hasattr(batch, "key") else make_batch(batch) for batch in batches]
    )


def total(store, tweet_id, name="replies"):
    return int(store.read_totals([tweet_id], [name])[0, 0])


def hours(store, tweet_id, name="replies", window=(0, 100)):
    counts = store.read_buckets([tweet_id], [name], start_hour=window[0], end_hour=window[1])
    return {window[0] + index: int(n) for index, n in enumerate(counts[0, 0]) if n}


# Reading


def test_a_batch_is_read_back(store):
    apply(store, [(5, 10, {"replies": 3, "favorites": 1}), (5, 11, {"replies": 4})])

    assert total(store, 5) == 7
    assert total(store, 5, "favorites") == 1
    assert hours(store, 5) == {10: 3, 11: 4}
    assert hours(store, 5, "favorites") == {10: 1}


def test_reads_keep_the_order_of_the_ids_and_types(store):
    apply(
        store,
        [(index, index, {"replies": index, "favorites": 100 + index}) for index in range(1, 10)],
    )
    ids = [7, 2, 9, 1, 5]

    counts = store.read_totals(ids, ["favorites", "impressions", "replies"])
    assert counts.dtype == np.int64
    assert counts.tolist() == [[100 + index, 0, index] for index in ids]

    buckets = store.read_buckets(ids, ["replies", "favorites"], start_hour=0, end_hour=10)
    assert buckets.dtype == np.int64
    assert buckets.shape == (5, 2, 10)
    for row, index in enumerate(ids):
        assert np.flatnonzero(buckets[row, 0]).tolist() == [index]
        assert buckets[row, :, index].tolist() == [index, 100 + index]

    repeated = ["favorites", "replies", "favorites"]
    buckets = store.read_buckets([2, 2], repeated, start_hour=2, end_hour=3)
    assert buckets.tolist() == [[[102], [2], [102]]] * 2


@pytest.mark.parametrize("types", [["video_views"], ["replies", "video_views"], [*TYPE_NAMES]])
def test_unknown_tweets_are_zeros(store, types):
    apply(store, [(5, 10, {"replies": 3, "video_views": 2})])

    assert not store.read_totals([6, MOST], types).any()
    assert not store.read_buckets([6, MOST], types, start_hour=0, end_hour=20).any()
    assert store.read_totals([6, 5], ["replies"]).tolist() == [[0], [3]]


def test_an_empty_store(store):
    assert store.read_totals([1, 2], ["replies", "video_views"]).tolist() == [[0, 0], [0, 0]]
    assert store.read_buckets([1], ["replies"], start_hour=5, end_hour=8).tolist() == [[[0, 0, 0]]]
    assert store.read_tweets([1, 2]) == {}


def test_buckets_are_half_open(store):
    apply(store, [(5, index, {"replies": 1 + index}) for index in range(10, 20)])

    assert hours(store, 5, window=(12, 15)) == {12: 13, 13: 14, 14: 15}
    assert hours(store, 5, window=(12, 13)) == {12: 13}
    assert hours(store, 5, window=(19, 25)) == {19: 20}
    assert hours(store, 5, window=(20, 25)) == {}
    assert hours(store, 5, window=(0, 10)) == {}


def test_every_type_has_its_own_counter(store):
    counts = {name: index + 1 for index, name in enumerate(TYPE_NAMES)}
    apply(store, [(5, 10, counts), (6, 10, {"replies": 99})])

    assert store.read_totals([5], TYPE_NAMES).tolist() == [list(counts.values())]
    backwards = list(reversed(TYPE_NAMES))
    buckets = store.read_buckets([5], backwards, start_hour=10, end_hour=11)
    assert buckets[0, :, 0].tolist() == list(reversed(counts.values()))


def test_250_tweets_with_every_type(store):
    ids = [MOST - index * 7919 for index in range(250)]
    apply(store, [(one, 10, dict.fromkeys(TYPE_NAMES, index)) for index, one in enumerate(ids)])
    random.Random(1).shuffle(ids)

    counts = store.read_totals(ids, TYPE_NAMES)

    assert counts.shape == (250, len(TYPE_NAMES))
    assert counts[:, 0].tolist() == [(MOST - one) // 7919 for one in ids]
    assert (counts == counts[:, :1]).all()
    buckets = store.read_buckets(ids, TYPE_NAMES, start_hour=9, end_hour=12)
    assert (buckets[:, :, 1] == counts).all()
    assert not buckets[:, :, [0, 2]].any()


def test_ids_and_hours_at_their_edges(store):
    apply(store, [(1, 0, {"replies": 1}), (MOST, HOUR_MAX - 1, {"replies": 2})])

    assert store.read_totals([MOST, 1], ["replies"]).tolist() == [[2], [1]]
    assert hours(store, 1, window=(0, 1)) == {0: 1}
    last = HOUR_MAX - 1
    assert hours(store, MOST, window=(last, last + 1)) == {last: 2}


def test_an_unknown_type_is_refused(store):
    for name in ("likes", "replies; DROP TABLE hours", "tweet_id", "hour"):
        with pytest.raises(ValueError):  # noqa: PT011 - a programmer's mistake, whatever it says
            store.read_totals([5], [name])
        with pytest.raises(ValueError):  # noqa: PT011 - a programmer's mistake, whatever it says
            store.read_buckets([5], [name], start_hour=0, end_hour=1)


def test_negative_counts(store):
    apply(store, [(5, 10, {"replies": 3, "favorites": -2})])
    apply(store, [(5, 10, {"replies": -5}), (5, 11, {"replies": -1})])

    assert total(store, 5) == -3
    assert total(store, 5, "favorites") == -2
    assert hours(store, 5) == {10: -2, 11: -1}


# Exactly once


def test_a_key_is_applied_once(store):
    first = apply(store, make_batch([(5, 10, {"replies": 3})], key=b"k", outcome=b"first"))
    again = apply(store, make_batch([(5, 10, {"replies": 3})], key=b"k", outcome=b"second"))

    assert first == [Applied(duplicate=False, outcome=b"first")]
    assert again == [Applied(duplicate=True, outcome=b"first")]
    assert total(store, 5) == 3


def test_a_key_with_another_digest_conflicts(store):
    apply(store, make_batch([(5, 10, {"replies": 3})], key=b"k", digest=b"one"))
    (answer,) = apply(store, make_batch([(5, 10, {"replies": 4})], key=b"k", digest=b"two"))

    assert isinstance(answer, KeyConflict)
    assert total(store, 5) == 3
    (repeat,) = apply(store, make_batch([(5, 10, {"replies": 3})], key=b"k", digest=b"one"))
    assert repeat.duplicate


def test_a_batch_without_a_key_counts_each_time(store):
    for _ in range(3):
        (answer,) = apply(store, make_batch([(5, 10, {"replies": 3})]))
        assert not answer.duplicate

    assert total(store, 5) == 9


@pytest.mark.parametrize("key", [b"", b"\0", b"\xff\xfe", b"a" * 260, "schlüssel".encode()])
def test_keys_are_bytes(store, key):
    answers = [apply(store, make_batch([(5, 10, {"replies": 1})], key=key))[0] for _ in range(2)]

    assert [answer.duplicate for answer in answers] == [False, True]


def test_repeats_and_conflicts_within_one_commit(store):
    row = [(5, 10, {"replies": 1})]
    answers = apply(
        store,
        make_batch(row, key=b"a", outcome=b"1"),
        make_batch(row, key=b"b", outcome=b"2"),
        make_batch(row, key=b"a", outcome=b"3"),
        make_batch(row, key=b"b", digest=b"other", outcome=b"4"),
        make_batch(row, key=None, outcome=b"5"),
        make_batch(row, key=None, outcome=b"6"),
    )

    assert answers[:3] == [Applied(False, b"1"), Applied(False, b"2"), Applied(True, b"1")]
    assert isinstance(answers[3], KeyConflict)
    assert answers[4:] == [Applied(False, b"5"), Applied(False, b"6")]
    assert total(store, 5) == 4


def test_the_key_of_an_empty_batch_is_kept(store):
    """All of its lines were rejected. The repeat gets the same answer."""
    empty = make_batch([], key=b"k", outcome=b"nothing")

    assert apply(store, empty) == [Applied(False, b"nothing")]
    assert apply(store, empty) == [Applied(True, b"nothing")]


def test_the_outcome_of_an_applied_batch_is_read_by_its_key_and_digest(store):
    row = [(5, 10, {"replies": 1})]
    apply(store, make_batch(row, key=b"k", digest=b"one", outcome=b"1"))
    apply(store, make_batch(row, key=b"k", digest=b"one", outcome=b"2"))
    apply(store, make_batch(row, key=b"k", digest=b"two", outcome=b"3"))
    apply(store, make_batch([], key=b"\xff\0", digest=b"one", outcome=b"\0"))

    assert store.read_outcome(b"k", b"one") == b"1"
    assert store.read_outcome(b"\xff\0", b"one") == b"\0"
    assert store.read_outcome(b"k", b"two") is None
    assert store.read_outcome(b"K", b"one") is None
    assert store.read_outcome(b"", b"") is None


def test_no_batches_at_all(store):
    assert apply(store) == []


def test_keys_expire(store, clock):
    batch = make_batch([(5, 10, {"replies": 1})], key=b"k")
    apply(store, batch)
    clock.at_s += KEEP_DAYS * DAY_S
    assert apply(store, batch)[0].duplicate

    clock.at_s += DAY_S
    assert not apply(store, batch)[0].duplicate
    assert apply(store, batch)[0].duplicate
    assert total(store, 5) == 2


@pytest.mark.parametrize("jumped_s", [91 * DAY_S, 10_000 * DAY_S])
def test_a_clock_that_jumps_forward_and_back_forgets_no_key(store, clock, jumped_s):
    batch = make_batch([(5, 10, {"replies": 1})], key=b"k")
    apply(store, batch)
    clock.jump(jumped_s)
    apply(store, make_batch([], key=b"meanwhile"))
    clock.jump(-jumped_s)
    assert apply(store, batch)[0].duplicate
    assert apply(store, make_batch([], key=b"meanwhile"))[0].duplicate
    clock.at_s += (KEEP_DAYS + 1) * DAY_S
    assert not apply(store, batch)[0].duplicate


def test_a_key_of_a_time_when_the_clock_was_years_behind_is_kept(store, clock):
    clock.jump(-2000 * DAY_S)
    batch = make_batch([(5, 10, {"replies": 1})], key=b"k")
    apply(store, batch)
    clock.jump(2000 * DAY_S)
    apply(store, make_batch([], key=b"later"))
    clock.at_s += KEEP_DAYS * DAY_S
    assert apply(store, batch)[0].duplicate
    clock.at_s += 2 * DAY_S
    assert not apply(store, batch)[0].duplicate


@pytest.mark.parametrize("off_s", [-2000 * DAY_S, 60, 91 * DAY_S])
def test_a_start_of_the_machine_forgets_no_key(backend, clock, off_s):
    """The clock of a machine that starts may be wrong, so the time that it was off counts for
    nothing."""
    store = backend.open(clock)
    batch = make_batch([(5, 10, {"replies": 1})], key=b"k")
    apply(store, batch)
    store.close()
    for _ in range(3):
        clock.reboot(off_s=off_s)
        store = backend.open(clock)
        assert apply(store, batch)[0].duplicate
        clock.at_s += 29 * DAY_S
        assert apply(store, batch)[0].duplicate
        store.close()
    clock.at_s += 4 * DAY_S
    store = backend.open(clock)
    assert not apply(store, batch)[0].duplicate
    store.close()


def test_an_expired_key_accepts_another_digest(store, clock):
    apply(store, make_batch([(5, 10, {"replies": 1})], key=b"k", digest=b"one"))
    clock.at_s += (KEEP_DAYS + 1) * DAY_S

    other = make_batch([(5, 10, {"replies": 5})], key=b"k", digest=b"two")
    assert apply(store, other) == [Applied(False, b"outcome")]
    assert total(store, 5) == 6


# Several batches in a commit


def test_batches_of_one_commit_add_up(store):
    apply(
        store,
        [(5, 10, {"replies": 1}), (6, 10, {"favorites": 2})],
        [(5, 10, {"favorites": 4, "engagements": 8})],
        [(5, 11, {"replies": 16}), (5, 10, {"replies": 32})],
        [],
        [(5, 10, {"video_views": 64, "replies": -1})],
    )

    names = ["replies", "favorites", "engagements", "video_views"]
    assert store.read_totals([5, 6], names).tolist() == [[48, 4, 8, 64], [0, 2, 0, 0]]
    assert hours(store, 5) == {10: 32, 11: 16}


def test_batches_that_cancel_each_other_out(store):
    apply(store, [(5, 10, {"replies": 3})], [(5, 10, {"replies": -3})])

    assert total(store, 5) == 0
    assert hours(store, 5) == {}


def fails(store, *batches):
    """Check that the commit is refused. The caller checks that the store has not changed."""
    with pytest.raises(Exception) as refused:  # noqa: PT011 - whichever way a store says no
        apply(store, *batches)
    assert not isinstance(refused.value, AssertionError)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_counter_past_its_limit_is_refused_and_nothing_is_applied(store, sign):
    apply(store, [(5, 10, {"replies": sign * BIG})])
    over = make_batch([(6, 10, {"replies": 1}), (5, 10, {"replies": sign * BIG})], key=b"o")

    fails(store, over)

    assert (total(store, 5), total(store, 6)) == (sign * BIG, 0)
    assert hours(store, 5) == {10: sign * BIG}
    (answer,) = apply(store, make_batch([(5, 10, {"replies": 1})], key=b"o"))
    assert answer == Applied(False, b"outcome"), "the key was not used up"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bad_batch_fails_the_whole_commit(store, place):
    apply(store, [(5, 10, {"replies": COUNTER_MAX - 2})])
    good = [make_batch([(6, index, {"replies": 1})], key=b"%d" % index) for index in range(2)]
    good.insert(place, make_batch([(5, 10, {"replies": 3})], key=b"bad"))

    fails(store, *good)

    assert (total(store, 5), total(store, 6)) == (COUNTER_MAX - 2, 0)
    for batch in good:
        if batch.key != b"bad":
            assert apply(store, batch) == [Applied(False, b"outcome")]
    assert total(store, 6) == 2


def test_a_total_past_its_limit_is_refused_though_no_hour_is(store):
    apply(store, [(5, 10, {"replies": BIG})])

    fails(store, [(5, 11, {"replies": BIG})])

    assert (total(store, 5), hours(store, 5)) == (BIG, {10: BIG})


def test_a_batch_whose_own_total_is_past_the_limit_is_refused(store):
    fails(store, [(5, 10, {"replies": BIG}), (5, 11, {"replies": BIG})])

    assert (total(store, 5), hours(store, 5)) == (0, {})


def test_batches_whose_sum_is_past_the_limit_are_refused(store):
    """Each batch fits. Their sum must not wrap around to a negative count."""
    batches = [make_batch([(5, 10, {"replies": BIG})], key=b"%d" % index) for index in range(2)]

    fails(store, *batches)

    assert (total(store, 5), hours(store, 5)) == (0, {})


def test_views_of_a_video_past_the_limit_are_refused(store):
    store.apply_tweets(make_tweets((5, 1, 0, "70", False), (6, 1, 0, "70", False)))
    apply(store, [(5, 10, {"video_views": BIG})])

    fails(store, [(6, 10, {"video_views": BIG})])

    assert store.read_totals([5, 6], ["video_views"]).tolist() == [[BIG], [BIG]]


@pytest.mark.parametrize("correction", [-1, -(2**60), -COUNTER_MAX, -(2**61) - 5])
def test_a_full_counter_refuses_no_correction_and_no_other_counter(store, correction):
    apply(store, [(5, 10, {"replies": COUNTER_MAX})])
    fails(store, [(5, 10, {"replies": 1})])
    fails(store, [(5, 12, {"replies": 1})])
    apply(store, [(5, 10, {"replies": correction})])
    apply(store, [(6, 10, {"replies": COUNTER_MAX})], [(7, 10, {"replies": 3})])
    apply(store, [(5, 10, {"favorites": 8})])
    if isinstance(store, Compacts):
        store.compact()
    assert total(store, 5) == COUNTER_MAX + correction
    assert hours(store, 5) == ({10: COUNTER_MAX + correction} if total(store, 5) else {})
    assert (total(store, 6), total(store, 7)) == (COUNTER_MAX, 3)
    assert total(store, 5, "favorites") == 8


def test_the_store_works_after_a_refusal(store):
    apply(store, [(5, 10, {"replies": COUNTER_MAX - 9})])
    for _ in range(5):
        fails(store, [(5, 10, {"replies": 10})])
    apply(store, [(5, 10, {"replies": -1})], [(6, 10, {"replies": 4})])

    assert (total(store, 5), total(store, 6)) == (COUNTER_MAX - 10, 4)


# A total is the sum of its hours


@pytest.mark.parametrize("seed", range(3))
def test_random_batches_against_a_plain_count(store, seed):
    """Random commits of random batches, with repeats and conflicts."""
    chance = random.Random(seed)
    names = chance.sample(TYPE_NAMES, 5)
    expected, keys = Counter(), {}
    for _ in range(60):
        batches = []
        for _ in range(chance.randint(1, 4)):
            rows = {
                (chance.randint(1, 8), chance.randint(0, 30)): {
                    name: chance.randint(-5, 20) for name in chance.sample(names, 3)
                }
                for _ in range(chance.randint(0, 6))
            }
            key = chance.choice([None, b"%d" % chance.randint(0, 30)])
            digest = b"%d" % chance.randint(0, 1)
            made = make_batch(
                [(*index, counts) for index, counts in rows.items()], key=key, digest=digest
            )
            batches.append(made)
            if key is None or key not in keys:
                keys[key] = digest
                for (tweet_id, hour), counts in rows.items():
                    for name, count in counts.items():
                        expected[tweet_id, hour, name] += count
        store.apply_batches(batches)

    ids = list(range(1, 10))
    totals = store.read_totals(ids, names)
    buckets = store.read_buckets(ids, names, start_hour=0, end_hour=31)
    assert (buckets.sum(axis=2) == totals).all()
    for (tweet_id, hour, name), count in expected.items():
        assert buckets[tweet_id - 1, names.index(name), hour] == count
    assert buckets.sum() == sum(expected.values())


def test_the_deltas_of_the_caller_are_not_changed(store):
    batches = [
        make_batch([(index, 2, {"replies": 1}), (9 - index, 1, {"replies": 2})]) for index in (5, 6)
    ]
    before = [copy.deepcopy(batch.deltas) for batch in batches]
    store.apply_batches(batches)

    for batch, was in zip(batches, before, strict=True):
        for name in ("ids", "starts", "cells", "counts"):
            assert np.array_equal(getattr(batch.deltas, name), getattr(was, name))


def test_totals_of_fifty_thousand_tweets(store):
    """As many as the list of an author's Tweets shows, with ids of 19 digits."""
    ids = range(2_124_462_388_521_473_622, 2_124_462_388_521_473_622 + 50_000 * 2**22, 2**22)
    apply(store, make_batch([(ids[7], 5, {"replies": 3}), (ids[-1], 6, {"replies": 4})]))
    found = store.read_totals(ids, ["replies"])[:, 0]
    assert (found[7], found[-1], found.sum()) == (3, 4, 7)


# Threads of one process


def test_threads_apply_and_read_at_once(store):
    """Totals only grow, are equal for two Tweets that every batch counts, and end exact.

    Both Tweets are in the same shard of a cluster.
    """
    stop = threading.Event()
    faults = []

    def watch():
        last = 0
        while not stop.wait(0.001):
            low = store.read_totals([3, 4], ["replies"])[:, 0]
            between = store.read_buckets([3, 4], ["replies"], start_hour=0, end_hour=10).sum(
                axis=(1, 2)
            )
            high = store.read_totals([3, 4], ["replies"])[:, 0]
            if not (low[0] == low[1] and between[0] == between[1] and high[0] == high[1]):
                faults.append(f"half a batch was seen: {low} {between} {high}")
            if not last <= low[0] <= between[0] <= high[0]:
                faults.append(f"totals and hours disagree: {last} {low} {between} {high}")
            last = high[0]

    def write(name):
        rows = [(3, name, {"replies": 1}), (4, 9 - name, {"replies": 1})]
        for index in range(15):
            apply(
                store,
                make_batch(rows, key=b"%d %d" % (name, index)),
                make_batch(rows, key=b"%d" % index),
            )

    watchers = [threading.Thread(target=watch) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    stop.set()
    for watcher in watchers:
        watcher.join()

    assert faults == []
    assert store.read_totals([3, 4], ["replies"]).tolist() == [[75], [75]]
