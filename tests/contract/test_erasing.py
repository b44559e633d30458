"""Erasing counters and forgetting Tweets: what is asked is gone, and nothing else changes."""

import random
import threading

import numpy as np
import pytest

from contract.deltas import make_batch, make_tweets
from openengagement.engagement.types import TYPE_NAMES
from openengagement.stores.contract import Authored, Compacts, Erases, Forgets, Scrubs

HOURS = 40
VIDEO, OTHER = "13_1263145212760805376", "70"


def test_every_engine_can_erase(store):
    assert isinstance(store, Erases)
    assert isinstance(store, Forgets)


def read(store, ids):
    totals = store.read_totals(ids, TYPE_NAMES)
    hours = store.read_buckets(ids, TYPE_NAMES, start_hour=0, end_hour=HOURS)
    return totals, hours


def fill(store, ids, commits=20, chance=None):
    chance = chance or random.Random(1)
    for _ in range(commits):
        rows = [
            (each, chance.randrange(HOURS), {"replies": chance.randint(1, 9), "favorites": 1})
            for each in chance.sample(ids, len(ids) // 2)
        ]
        store.apply_batches([make_batch(rows)])


def views(store, *ids):
    return store.read_totals(list(ids), ["video_views"])[:, 0].tolist()


def register(store, *rows):
    """Register `(tweet_id, author_id, video_id)`."""
    store.apply_tweets(
        make_tweets(*((each, author, 0, video, False) for each, author, video in rows))
    )


def erase_author(store, author_id):
    authored = store.read_authored([author_id])
    store.erase(authored.counter_ids)
    store.forget(authored)


def test_erased_counters_are_gone_and_others_stay(store):
    ids = list(range(1, 60))
    fill(store, ids)
    if isinstance(store, Compacts):
        store.compact()
    fill(store, ids, commits=3)
    erased = [1, 7, 8, 31, 59]
    kept = [each for each in ids if each not in erased]
    before = read(store, kept)

    store.erase(erased)

    for asked, now in zip(before, read(store, kept), strict=True):
        assert np.array_equal(asked, now)
    assert not any(part.any() for part in read(store, erased))


def test_an_erasure_may_be_repeated(store):
    fill(store, [1, 2, 3, 4])
    for _ in range(3):
        store.erase([1, 2])
    assert not read(store, [1, 2])[0].any()
    assert read(store, [3, 4])[0].any()


@pytest.mark.parametrize("ids", [[], [99], [2**62, 5]])
def test_unknown_ids_change_nothing(store, ids):
    fill(store, [1, 2, 3, 4])
    before = read(store, [1, 2, 3, 4])
    store.erase(ids)
    for asked, now in zip(before, read(store, [1, 2, 3, 4]), strict=True):
        assert np.array_equal(asked, now)


def test_everything_may_be_erased(store):
    ids = list(range(1, 30))
    fill(store, ids)
    store.erase(ids)
    assert not read(store, ids)[0].any()
    fill(store, ids, commits=2)
    assert read(store, ids)[0].any()


def test_events_after_an_erasure_count(store):
    store.apply_batches([make_batch([(5, 10, {"replies": 3})])])
    store.erase([5])
    store.apply_batches([make_batch([(5, 11, {"replies": 4})])])
    totals, hours = read(store, [5])
    assert (totals.sum(), hours.sum()) == (4, 4)


def test_an_erasure_is_seen_by_other_processes(store, start_worker):
    store.apply_batches([make_batch([(5, 10, {"replies": 3}), (6, 10, {"replies": 1})])])
    worker = start_worker()
    assert worker.ask("totals", [5], ["replies"]) == [[3]]
    store.erase([5])
    assert worker.ask("totals", [5, 6], ["replies"]) == [[0], [1]]


def test_an_idempotency_key_outlives_the_counters(store):
    """A batch that is sent again after the erasure does not bring the counters back."""
    batch = make_batch([(5, 10, {"replies": 3})], key=b"k")
    store.apply_batches([batch])
    store.erase([5])
    assert store.apply_batches([batch])[0].duplicate
    assert not read(store, [5])[0].any()


def test_erasing_while_batches_are_applied(store):
    """A batch that is acknowledged meanwhile counts completely, for all other Tweets."""
    erased, kept = [1, 2, 3], [4, 5, 6]
    stopping, sent = threading.Event(), []

    def produce():
        while not stopping.is_set():
            store.apply_batches([make_batch([(each, 5, {"replies": 1}) for each in kept])])
            sent.append(1)

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        for _ in range(5):
            store.apply_batches([make_batch([(each, 5, {"replies": 1}) for each in erased])])
            store.erase(erased)
            assert not read(store, erased)[0].any()
            if isinstance(store, Scrubs):
                store.scrub()
    finally:
        stopping.set()
        thread.join()
    totals, hours = read(store, kept)
    assert totals[:, TYPE_NAMES.index("replies")].tolist() == [len(sent)] * 3
    assert hours.sum() == 3 * len(sent)


# Tweets


def test_authored_lists_deleted_tweets_too(store):
    register(store, (5, 7, None), (6, 7, None), (8, 9, None))
    store.delete_tweet(6)
    assert store.read_authored([7]) == Authored([7], [5, 6], [])
    assert store.read_authored([1]) == Authored([1], [], [])


def test_forgotten_tweets_are_not_registered(store):
    register(store, (5, 7, None), (6, 7, VIDEO), (8, 9, None))
    assert set(store.read_tweets([5, 6, 8])) == {5, 6, 8}  # cached from here on
    authored = store.read_authored([7])
    for _ in range(2):  # it may be repeated
        store.forget(authored)
        assert set(store.read_tweets([5, 6, 8])) == {8}
        assert store.list_tweets(7, limit=9) == []
        assert not store.delete_tweet(5)


def test_other_processes_forget_tweets_that_they_have_cached(store, start_worker):
    register(store, (5, 7, None), (8, 9, None))
    worker = start_worker()
    assert worker.ask("tweets", 5, 8) == [5, 8]
    store.forget(store.read_authored([7]))
    assert worker.ask("tweets", 5, 8) == [8]


def test_a_tweet_that_changed_its_author_meanwhile_stays(store):
    register(store, (5, 7, None), (6, 7, None))
    authored = store.read_authored([7])
    register(store, (5, 9, None))
    store.forget(authored)
    assert set(store.read_tweets([5, 6])) == {5}


# Videos


def test_views_stay_with_a_video_that_others_share(store):
    """They are other authors' metrics. An account that is closed must not change those."""
    register(store, (5, 7, VIDEO), (6, 9, VIDEO))
    view_all(store, {5: 30, 6: 12})
    assert store.read_authored([7]).videos == []
    erase_author(store, 7)
    assert views(store, 6) == [42]
    assert views(store, 5) == [0]


def test_a_video_of_one_author_is_erased(store):
    register(store, (5, 7, VIDEO), (6, 7, VIDEO), (8, 9, OTHER))
    view_all(store, {5: 30, 6: 12, 8: 4})
    ((number,),) = [set(store.read_videos([5, 6]).values())]
    assert store.read_authored([7]).videos == [number]
    erase_author(store, 7)
    assert views(store, 8) == [4]
    # The same video is registered again: it begins at zero, under another number.
    register(store, (10, 9, VIDEO))
    assert store.read_videos([10])[10] not in {number, store.read_videos([8])[8]}
    assert views(store, 10) == [0]
    view_all(store, {10: 3})
    assert views(store, 10, 8) == [3, 4]


def test_a_video_of_authors_who_are_erased_together(store):
    register(store, (5, 7, VIDEO), (6, 8, VIDEO), (9, 9, OTHER))
    view_all(store, {5: 30, 6: 12, 9: 4})
    ((number,),) = [set(store.read_videos([5, 6]).values())]
    authored = store.read_authored([7, 8])
    assert (authored.tweet_ids, authored.videos) == ([5, 6], [number])
    store.erase(authored.counter_ids)
    store.forget(authored)
    assert set(store.read_tweets([5, 6, 9])) == {9}
    assert views(store, 9) == [4]
    assert store.read_authored([]) == Authored([], [], [])


def test_a_new_video_never_inherits_views(store):
    """Another author's views stay with a video. Nobody has it any more, and a new video comes."""
    register(store, (5, 7, VIDEO), (6, 9, VIDEO))
    view_all(store, {5: 30, 6: 12})
    erase_author(store, 7)
    register(store, (6, 9, OTHER))  # takes its own 12 along, and leaves 30
    assert views(store, 6) == [12]
    erase_author(store, 7)
    register(store, (11, 9, "99_1"), (12, 9, VIDEO))
    assert views(store, 11, 12, 6) == [0, 0, 12]


def view_all(store, counts):
    rows = [(each, 10, {"video_views": count}) for each, count in counts.items()]
    store.apply_batches([make_batch(rows)])
