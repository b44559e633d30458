"""Sums over a window equal the sums of its hours."""

import random

import numpy as np
import pytest

from contract.deltas import make_batch, make_tweets
from openengagement.engagement.types import TYPE_NAMES
from openengagement.stores.contract import Compacts

HOURS = 40


def expected(store, ids, start_hour, end_hour):
    hours = store.read_buckets(ids, TYPE_NAMES, start_hour=start_hour, end_hour=end_hour)
    return hours.sum(axis=2), hours.sum(axis=0).T


def assert_sums(store, ids, start_hour, end_hour):
    sums = store.read_window(ids, start_hour=start_hour, end_hour=end_hour)
    by_tweet, by_hour = expected(store, ids, start_hour, end_hour)
    assert np.array_equal(sums.by_tweet, by_tweet)
    assert np.array_equal(sums.by_hour, by_hour)
    return sums


@pytest.mark.parametrize("seed", range(3))
def test_sums_of_a_window(store, seed):
    chance = random.Random(seed)
    ids = [*range(1, 41), 2**62 + 5]
    for commit in range(12):
        rows = [
            (
                chance.choice(ids),
                chance.randrange(HOURS),
                {chance.choice(TYPE_NAMES): chance.randint(-3, 9)},
            )
            for _ in range(60)
        ]
        store.apply_batches([make_batch(rows)])
        if commit == 8 and isinstance(store, Compacts):
            store.compact()
    for start, end in ((0, HOURS), (7, 8), (10, 30), (39, 90), (500_000, 500_100)):
        assert_sums(store, chance.sample(ids, 25), start, end)
    assert_sums(store, [99, 5, 98, 1], 0, HOURS)
    assert assert_sums(store, ids, 0, HOURS).by_tweet.any()


@pytest.mark.parametrize("tweets_from", [10, 25, 30])
def test_the_sums_by_tweet_may_begin_later(store, tweets_from):
    store.apply_batches(
        [make_batch([(each, hour, {"replies": hour + 1}) for hour in range(40) for each in (5, 7)])]
    )
    sums = store.read_window([7, 5], start_hour=10, end_hour=30, tweets_from=tweets_from)
    replies = TYPE_NAMES.index("replies")
    assert sums.by_tweet[:, replies].tolist() == [sum(range(tweets_from + 1, 31))] * 2
    assert sums.by_hour[:, replies].tolist() == [2 * hour for hour in range(11, 31)]


def test_windows_of_nothing(store):
    store.apply_batches([make_batch([(5, 10, {"replies": 1})])])
    assert store.read_window([], start_hour=0, end_hour=3).by_hour.shape == (3, len(TYPE_NAMES))
    assert not store.read_window([6], start_hour=0, end_hour=30).by_tweet.any()


def test_views_are_those_of_each_tweet(store):
    """As in hours, and unlike in totals, a video's views are not shared."""
    store.apply_tweets(make_tweets(*((each, 1, 0, "13_1", False) for each in (5, 6))))
    store.apply_batches([make_batch([(5, 10, {"video_views": 3}), (6, 11, {"video_views": 4})])])
    sums = assert_sums(store, [5, 6], 10, 12)
    views = TYPE_NAMES.index("video_views")
    assert sums.by_tweet[:, views].tolist() == [3, 4]
    assert sums.by_hour[:, views].tolist() == [3, 4]


def test_thousands_of_tweets(store):
    ids = list(range(1, 7001))
    store.apply_batches(
        [make_batch([(each, each % HOURS, {"replies": each, "favorites": 1}) for each in ids])]
    )
    sums = store.read_window(ids, start_hour=0, end_hour=HOURS)
    replies, favorites = (TYPE_NAMES.index(name) for name in ("replies", "favorites"))
    assert sums.by_tweet[:, replies].tolist() == ids
    assert sums.by_hour[:, favorites].tolist() == [175] * HOURS


def test_sums_that_may_wrap_around_are_refused(store):
    largest = 2**62 - 1
    store.apply_batches([make_batch([(each, 10, {"replies": largest})]) for each in (5,)])
    store.apply_batches([make_batch([(6, 10, {"replies": largest})])])
    store.apply_batches([make_batch([(7, 10, {"replies": largest})])])
    one = store.read_window([5], start_hour=10, end_hour=11)
    assert one.by_hour[0, TYPE_NAMES.index("replies")] == largest
    with pytest.raises(OverflowError):
        store.read_window([5, 6, 7], start_hour=10, end_hour=11)
