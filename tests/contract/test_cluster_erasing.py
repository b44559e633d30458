"""Erasing on a cluster: nothing brings counters back, and several machines do it one at a time."""

import threading
from contextlib import closing

import psycopg
import pytest

from contract.cluster import IDS, begin, expected_replies, replies, retry, states
from contract.crashing_store import ROWS
from contract.deltas import make_batch, make_tweets
from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster import erasing
from openengagement.stores.cluster import store as store_module
from support.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.heavy

KEPT = [3, 4, 5, 6]
ERASED = [1, 2]


def expect_erased(cluster, store):
    assert replies(store) == [0, 0, *expected_replies()[2:]]
    assert {row[0] for row in cluster.cells()} == set(KEPT)


def test_an_erasure_waits_for_a_commit_that_is_under_way(cluster):
    """Its server has died, so another one completes it."""
    with closing(cluster.open()) as store:
        begin(store, ROWS, key=b"k")
        threading.Timer(0.5, cluster.end_leases).start()
        store.erase(ERASED)
        assert cluster.flights() == 0
        expect_erased(cluster, store)


def test_an_erasure_is_refused_while_such_a_commit_cannot_be_completed(cluster, monkeypatch):
    monkeypatch.setattr(store_module, "_WAIT_MAX_S", 0.3)
    with closing(cluster.open()) as store:
        store.apply_batches([make_batch(ROWS)])
        begin(store, [(1, 10, {"replies": 1})], key=b"k")
        cluster.sql("UPDATE flights SET leased_until = now() + interval '1 day'")
        with pytest.raises(StoreUnavailable, match="an earlier commit has not ended"):
            store.erase(ERASED)
        assert replies(store) == expected_replies()
        store.erase([6])  # that commit has no counter of it
        assert replies(store)[5] == 0


def test_a_commit_that_was_set_aside_brings_nothing_back(cluster):
    with closing(cluster.open()) as store:
        begin(store, ROWS, key=b"k")
        cluster.sql("UPDATE flights SET began_at = now() - interval '8 days'")
        store.erase(ERASED)
        cluster.sql("UPDATE flights SET began_at = now()")  # an operator decides so
        cluster.end_leases()
        cluster.wait_for_flights()
        expect_erased(cluster, store)


def test_markers_stay_when_a_video_with_the_same_number_is_erased(cluster):
    """Without its marker, a block would be inserted again."""
    with closing(cluster.open()) as store:
        flight = begin(store, ROWS, key=b"k")
        store._inserter.insert(flight, repeated=False)
        store.apply_batches([make_batch(ROWS)])
        before = cluster.markers()
        store.erase([-flight.token, -(flight.token + 1), *range(-40, -20)])
        assert cluster.markers() == before
        store._inserter.insert(flight, repeated=True)
        assert replies(store) == [2 * count for count in expected_replies()]
        cluster.end_leases()
        cluster.wait_for_flights()


def test_many_ids_are_erased_in_several_statements(cluster, monkeypatch):
    monkeypatch.setattr("openengagement.stores.cluster.pruning._ERASED_AT_ONCE", 3)
    ids = list(range(1, 31))
    with closing(cluster.open()) as store:
        store.apply_batches([make_batch([(each, 10, {"replies": 1}) for each in ids])])
        store.erase(ids[:20])
        assert replies(store, ids) == [0] * 20 + [1] * 10


def test_many_tweets_are_forgotten_in_several_transactions(cluster, monkeypatch):
    monkeypatch.setattr(store_module, "_FORGOTTEN_AT_ONCE", 3)
    with closing(cluster.open()) as store:
        hers = [(each, 7, 0, f"{each // 4}", False) for each in range(1, 12)]
        store.apply_tweets(make_tweets(*hers, (20, 9, 0, "1", False), (21, 9, 0, None, False)))
        store.forget(store.read_authored([7]))
        assert cluster.sql("SELECT tweet_id FROM tweets ORDER BY 1") == [(20,), (21,)]
        assert cluster.sql("SELECT video_id FROM videos") == [(b"1",)]


def test_a_replica_that_was_away_has_erased_before_it_is_read(replicated):
    node = replicated.servers.nodes[1]
    with closing(replicated.open()) as store:
        store.apply_batches([make_batch(ROWS, key=b"k")])
        node.kill()
        retry(lambda: store.apply_batches([make_batch(ROWS, key=b"2")]))
        assert states(replicated) != {2}
        retry(lambda: store.erase(IDS))
        node.start()
        wait_for(lambda: states(replicated) == {2})
        assert replies(store) == [0] * len(IDS)
        assert replicated.cells() == {}


def test_deleted_tweets_are_erased_soon_after_a_failure(cluster, monkeypatch):
    """The chore is tried again within minutes, not in the next hour."""
    with closing(cluster.open()) as store:
        chores = store._chores
        monkeypatch.setattr("openengagement.stores.cluster.chores._RETRY_S", 0.1)
        failing = [OSError("once")]
        erase = chores._erase

        def fail_once(ids):
            if failing:
                raise failing.pop()
            erase(ids)

        monkeypatch.setattr(chores, "_erase", fail_once)
        store.apply_tweets(make_tweets((1, 7, 1000, None, False)))
        store.apply_batches([make_batch(ROWS)])
        store.delete_tweet(1)
        cluster.sql("UPDATE deletions SET deleted_at = deleted_at - interval '25 hours'")
        assert not chores._try(chores.erase_deleted)
        assert chores._try(chores.erase_deleted)
        assert replies(store)[0] == 0


def test_machines_erase_one_at_a_time(cluster, monkeypatch):
    with closing(cluster.open()) as here, closing(cluster.open()) as there:
        order = []

        def erase_there():
            with there.erasing():
                order.append("there")

        with here.erasing():
            thread = threading.Thread(target=erase_there)
            thread.start()
            thread.join(0.5)
            order.append("here")
            monkeypatch.setattr(erasing, "_WAIT_MAX_S", 0)
            with (
                closing(cluster.open()) as third,
                pytest.raises(StoreUnavailable, match="another erasure has not ended"),
                third.erasing(),
            ):
                pass
        thread.join(PATIENCE_S)
        assert order == ["here", "there"]


def test_the_lock_is_free_after_a_failure(cluster):
    with closing(cluster.open()) as store:
        for _ in range(2):
            with pytest.raises(KeyError), store.erasing():
                raise KeyError


def test_a_video_is_not_removed_while_a_tweet_is_registered_with_it(cluster):
    """The Tweet would have a video without an id, and the next one would get another number."""
    with closing(cluster.open()) as store:
        store.apply_tweets(make_tweets((1, 7, 1000, "70", False)))
        authored = store.read_authored([7])
        thread = threading.Thread(
            target=store.apply_tweets, args=(make_tweets((2, 9, 1000, "70", False)),)
        )
        with psycopg.connect(cluster.urls[0]) as forgetting:
            store_module.ledger.own_videos(forgetting)
            thread.start()
            thread.join(0.5)
            store_module.table.forget(forgetting, authored, unused=[])
        thread.join(PATIENCE_S)
        store.apply_tweets(make_tweets((3, 9, 1000, "70", False)))
        videos = store.read_videos([1, 2, 3])
        assert set(videos) == {2, 3}
        assert len(set(videos.values())) == 1


def test_nothing_of_a_forgotten_tweet_stays_in_postgresql(cluster):
    with closing(cluster.open()) as store:
        store.apply_tweets(make_tweets((1, 7, 1000, "70", False), (2, 9, 1000, None, False)))
        store.apply_batches([make_batch([(1, 10, {"replies": 2**41, "video_views": 2**41})])])
        store.delete_tweet(1)
        assert cluster.sql("SELECT count(*) FROM large_tweets") != [(0,)]
        authored = store.read_authored([7])
        store.erase(authored.counter_ids)
        store.forget(authored)
        for table in ("videos", "deletions", "large_tweets", "flights"):
            assert cluster.sql(f"SELECT count(*) FROM {table}") == [(0,)], table
        assert cluster.sql("SELECT tweet_id FROM tweets") == [(2,)]
        assert cluster.cells() == {}
