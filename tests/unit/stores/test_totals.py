"""Cached totals equal those that are read from the segments, whatever changes them."""

import random
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.deltas import make_batch, make_tweets
from openengagement.clock import SystemClock
from openengagement.engagement.types import TYPE_NAMES
from openengagement.stores.embedded import compaction, totals
from openengagement.stores.embedded.store import EmbeddedStore

TWEETS = range(1, 9)
SHOWN = ["video_views", "replies", "impressions"]


@pytest.fixture
def by_hand(monkeypatch):
    """Only the test itself starts merges."""
    monkeypatch.setattr(compaction.Compactor, "notify_commit", lambda _: None)


@pytest.fixture
def summed(monkeypatch):
    """The ids whose totals were added up over files, by call."""
    calls, add_up = [], totals.sum_totals
    monkeypatch.setattr(
        totals, "sum_totals", lambda files, ids: calls.append(list(ids)) or add_up(files, ids)
    )
    return calls


def count(store, replies=1, tweets=TWEETS, hour=0):
    store.apply_batches([make_batch([(tweet, hour, {"replies": replies}) for tweet in tweets])])


def flush(store):
    merger = store._compactor._merger
    merger.merge(merger.unflushed())


def compact(store):
    merger = store._compactor._merger
    merger.merge(merger.files())


def replies(store, *tweets):
    return store.read_totals(tweets, ["replies"])[:, 0].tolist()


def kept(store):
    return len(store._reader._open[1].totals._rows)


def test_only_tweets_that_are_not_cached_are_read(store, by_hand, summed):
    count(store)
    flush(store)
    assert replies(store, 1, 2) == replies(store, 2, 1) == [1, 1]
    assert replies(store, 3, 2, 99, 1) == [1, 1, 0, 1]
    assert replies(store, 99, 3) == [0, 1]
    assert summed == [[1, 2], [3, 99]]


def test_a_read_of_unchanged_data_runs_no_statement(store, by_hand, monkeypatch):
    store.apply_tweets(make_tweets(*((tweet, 7, 1000, "clip", None) for tweet in TWEETS)))
    count(store)
    flush(store)
    count(store)
    for _ in range(2):
        assert len(store.read_tweets([1, 2])) == 2
        assert store.read_totals([1, 2], SHOWN)[:, 1].tolist() == [2, 2]
        monkeypatch.setattr(store._database, "connection", None)
        monkeypatch.setattr(store._database._commits, "_connection", None)


def test_commits_add_to_cached_totals(store, open_store, by_hand, summed):
    count(store)
    flush(store)
    assert replies(store, 1, 2) == [1, 1]
    count(open_store(), 10, tweets=[2])
    count(store, 100, tweets=[1])
    assert replies(store, 1, 2) == [101, 11]
    assert summed == [[1, 2]]


def test_other_files_have_another_cache(store, open_store, by_hand, summed):
    other = open_store()
    for change in (flush, flush, compact):
        if change is flush:
            count(store)
        change(other)
        assert len(set(replies(store, *TWEETS))) == 1
    assert replies(store, 1) == [2]
    assert len(summed) == 3


@pytest.mark.parametrize(("cached_max", "left"), [(0, 0), (1, 0), (3, 2), (4, 2), (5, 5), (8, 5)])
def test_the_number_of_cached_tweets_is_bounded(open_store, by_hand, cached_max, left):
    store = open_store(totals_cached_max=cached_max)
    count(store)
    flush(store)
    for _ in range(3):
        assert replies(store, 1, 2, 3) == [1, 1, 1]
        assert kept(store) <= cached_max
        assert replies(store, 4, 5) == [1, 1]
        assert kept(store) <= cached_max
    assert kept(store) == left
    assert replies(store, *TWEETS) == [1] * 8
    assert kept(store) <= cached_max


STEP = st.one_of(
    st.tuples(st.just("count"), st.sampled_from(TWEETS), st.integers(0, 3), st.integers(-5, 9)),
    st.tuples(st.just("video"), st.sampled_from(TWEETS), st.sampled_from("abc")),
    st.tuples(st.just("delete"), st.sampled_from(TWEETS)),
    st.tuples(st.just("prune"), st.integers(0, 4)),
    st.tuples(st.sampled_from(["flush", "compact"])),
)


class Folder:
    """A folder that three stores share: one caches few totals, one many, and one none."""

    def __init__(self, path, stack):
        self.stores = [
            EmbeddedStore(
                path, clock=SystemClock(), idempotency_keep_days=9, totals_cached_max=cached_max
            )
            for cached_max in (3, 1000, 0)
        ]
        for store in self.stores:
            stack.callback(store.close)
        self.changes = 0

    def take(self, step):
        """Make a change, through another store each time."""
        self.changes += 1
        store = self.stores[self.changes % len(self.stores)]
        match step:
            case ("count", tweet, hour, number):
                counts = {name: number * (1 + index) for index, name in enumerate(SHOWN)}
                store.apply_batches([make_batch([(tweet, hour, counts)])])
            case ("video", tweet, video):
                store.apply_tweets(make_tweets((tweet, 7, 1000, video, None)))
            case ("delete", tweet):
                store.delete_tweet(tweet)
            case ("prune", hour):
                store.prune(oldest_hour=hour)
            case ("flush",):
                flush(store)
            case ("compact",):
                compact(store)


@pytest.mark.usefixtures("by_hand")
@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(STEP, st.sets(st.sampled_from(TWEETS), min_size=1)), max_size=14))
def test_cached_totals_equal_those_of_the_segments(steps):
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        shared = Folder(Path(folder) / "counters.sqlite3", stack)
        for step, asked in steps:
            shared.take(step)
            reads = [each.read_totals([*asked], SHOWN).tolist() for each in shared.stores]
            assert reads[0] == reads[1] == reads[2]


@pytest.mark.parametrize("cached_max", [5, 1000])
def test_no_read_mixes_two_commits(open_store, by_hand, cached_max):
    """Every commit counts one for each Tweet, so all numbers of a read are the same."""
    store, writer = open_store(totals_cached_max=cached_max), open_store()
    done, wrong = threading.Event(), []

    def read():
        chance, last = random.Random(threading.get_ident()), 0
        while not done.is_set():
            numbers = set(replies(store, *chance.sample(TWEETS, chance.randint(1, 8))))
            if len(numbers) != 1 or min(numbers) < last:
                wrong.append((numbers, last))
            last = max(numbers)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(32):
        count(writer, hour=number)
        if number % 4 == 3:
            flush(writer)
        if number % 16 == 15:
            compact(writer)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert replies(store, *TWEETS) == [32] * 8


def test_a_row_has_every_type(store, by_hand):
    counts = {name: 2**40 + index for index, name in enumerate(TYPE_NAMES)}
    store.apply_batches([make_batch([(5, 0, counts)])])
    flush(store)
    for _ in range(2):
        assert store.read_totals([5], TYPE_NAMES).tolist() == [[*counts.values()]]
