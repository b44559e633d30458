"""The cache of Tweets drops each changed Tweet before the next read."""

import itertools
import random
import threading

import pytest

from contract.deltas import make_batch, make_tweets
from openengagement.engagement.types import Tweet
from openengagement.stores.embedded import tweets as module

PAUSE_S = 0.001  # between the reads of one thread, so that the writer gets on


@pytest.fixture
def other(open_store, store):
    """A second store on the same file, as another process would have it."""
    return open_store()


@pytest.fixture
def looked_up(monkeypatch):
    """The ids that were looked up in the table, by call."""
    calls, read = [], module.read_tweets
    monkeypatch.setattr(
        module, "read_tweets", lambda db, ids: calls.append(list(ids)) or read(db, ids)
    )
    return calls


def register(store, *rows):
    store.apply_tweets(make_tweets(*((*row, None, None) for row in rows)))


def test_a_cached_tweet_is_not_looked_up_again(store, looked_up):
    register(store, (5, 7, 1000), (6, 7, 1001))
    first = store.read_tweets([5, 6])
    assert store.read_tweets([6, 5]) == first
    assert looked_up == [[5, 6]]


def test_only_changed_tweets_are_looked_up_again(store, other, looked_up):
    register(store, (5, 7, 1000), (6, 7, 1001))
    store.read_tweets([5, 6])
    register(other, (5, 8, 1000))
    assert store.read_tweets([5, 6])[5] == Tweet(5, 8, 1000, deleted=False)
    other.delete_tweet(6)
    assert store.read_tweets([5, 6])[6].deleted
    assert looked_up == [[5, 6], [5], [6]]


def test_an_equal_registration_is_no_change(store, other, looked_up):
    register(store, (5, 7, 1000))
    store.read_tweets([5])
    register(other, (5, 7, 1000))
    store.read_tweets([5])
    assert looked_up == [[5]]


def test_a_new_tweet_is_seen_at_once(store, other, looked_up):
    assert store.read_tweets([5]) == {}
    register(other, (5, 7, 1000))
    assert set(store.read_tweets([5])) == {5}


def test_changes_that_were_deleted_before_they_were_seen(store, other, monkeypatch):
    monkeypatch.setattr(module, "_CHANGES_KEPT", 3)
    ids = list(range(1, 11))
    register(store, *((tweet_id, 7, 1000) for tweet_id in ids))
    store.read_tweets(ids)
    register(other, *((tweet_id, 8, 1000) for tweet_id in ids))
    rows = store._database.connection().execute("SELECT count(*) FROM tweet_changes").fetchone()
    assert rows == (3,)
    assert {tweet.author_id for tweet in store.read_tweets(ids).values()} == {8}


@pytest.fixture
def videos_looked_up(monkeypatch):
    """The ids whose videos were looked up in the table, by call."""
    calls, read = [], module.read_videos
    monkeypatch.setattr(
        module, "read_videos", lambda db, ids: calls.append(list(ids)) or read(db, ids)
    )
    return calls


def views(store, *tweet_ids):
    return store.read_totals(tweet_ids, ["video_views"])[:, 0].tolist()


def test_videos_are_cached_until_one_changes(store, other, videos_looked_up):
    other.apply_tweets(
        make_tweets((5, 7, 1000, "1", None), (6, 7, 1000, "1", None), (8, 7, 1000, None, None))
    )
    other.apply_batches([make_batch([(5, 1, {"video_views": 3}), (8, 1, {"video_views": 4})])])
    videos_looked_up.clear()
    assert views(store, 5, 6, 8) == [3, 3, 4]
    assert views(store, 8, 6) == [4, 3]
    assert videos_looked_up == [[5, 6, 8]]
    other.apply_tweets(make_tweets((6, 7, None, "2", None)))
    videos_looked_up.clear()
    assert views(store, 5, 6, 8) == [3, 0, 4]
    assert videos_looked_up == [[6]]


def test_a_first_video_is_seen(store, other):
    register(store, (5, 7, 1000))
    other.apply_batches([make_batch([(5, 1, {"video_views": 3})])])
    assert views(store, 5) == [3]
    store.read_tweets([5])
    other.apply_tweets(make_tweets((6, 7, 1000, "1", None), (5, 7, None, "1", None)))
    assert views(store, 5, 6) == [3, 3]


@pytest.mark.parametrize("rounds", [30, pytest.param(100, marks=pytest.mark.heavy)])
def test_no_reader_sees_views_of_another_video(store, other, rounds):
    """Views move with the Tweet in one commit. A reader sees the state before or after it."""
    other.apply_tweets(
        make_tweets((5, 7, 1000, "1", None), (6, 7, 1000, "1", None), (8, 7, 1000, "2", None))
    )
    other.apply_batches([make_batch([(5, 1, {"video_views": 3}), (8, 1, {"video_views": 10})])])
    done, seen = threading.Event(), set()

    def watch():
        while not done.wait(PAUSE_S):
            seen.add(tuple(views(store, 5, 6, 8)))

    watchers = [threading.Thread(target=watch) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    for index in itertools.count():
        if index >= rounds and len(seen) > 1:  # a busy machine may run the watchers late
            break
        other.apply_tweets(make_tweets((5, 7, None, "21"[index % 2], None)))
    done.set()
    for watcher in watchers:
        watcher.join()
    assert seen == {(3, 3, 10), (13, 0, 13)}


def test_memory_is_bounded(store, monkeypatch):
    monkeypatch.setattr(module, "_CACHED_MAX", 10)
    register(store, *((tweet_id, 7, 1000) for tweet_id in range(1, 31)))
    for tweet_id in range(1, 31, 3):
        assert set(store.read_tweets([tweet_id, tweet_id + 1, tweet_id + 2])) == {
            tweet_id,
            tweet_id + 1,
            tweet_id + 2,
        }
        assert len(store._tweets._tweets) <= 10


@pytest.mark.parametrize("rounds", [40, pytest.param(150, marks=pytest.mark.heavy)])
def test_a_read_contains_every_earlier_change(store, other, rounds):
    ids = list(range(1, 9))
    register(store, *((tweet_id, 1, 1000) for tweet_id in ids))
    done, faults, newest = threading.Event(), [], [1]

    def watch():
        while not done.wait(PAUSE_S):
            least = newest[0]
            asked = random.sample(ids, 4)
            authors = [tweet.author_id for tweet in store.read_tweets(asked).values()]
            if min(authors) < least:
                faults.append((least, authors))

    watchers = [threading.Thread(target=watch) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    for author_id in range(2, rounds):
        register(other, *((tweet_id, author_id, 1000) for tweet_id in ids))
        newest[0] = author_id
    done.set()
    for watcher in watchers:
        watcher.join()
    assert not faults
