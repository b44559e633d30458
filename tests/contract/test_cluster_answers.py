"""Whether a cluster answers: known without queries while it is used, and told within seconds."""

import time
from contextlib import closing

import pytest

from contract.cluster import IDS, begin, replies, retry, states
from contract.crashing_store import ROWS
from contract.deltas import make_batch, make_tweets
from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster import pinging
from openengagement.stores.contract import Measures, StoreFault
from support.waiting import wait_for, wait_in_time

pytestmark = pytest.mark.heavy


def queries(store):
    """Return how many queries each server got since the last call."""
    return [
        sum(each.count for each in replica.server.times.take().values())
        for replica in store._replicas.all()
    ]


@pytest.fixture
def store(cluster):
    with closing(cluster.open()) as opened:
        yield opened


def test_an_idle_process_asks_one_server_of_each_shard_now_and_then(cluster, store):
    store._chores.close()  # they ask too
    for replica in store._replicas.all():
        replica.server.answered_s = 0
    queries(store)
    for _ in range(20):
        store.ping()
    asked = sum(queries(store))
    assert 3 <= asked <= 3 + len(cluster.servers.nodes)  # others, if one is late


def test_a_process_that_reads_asks_nothing_more(store, monkeypatch):
    replies(store)
    monkeypatch.setattr(pinging, "_send", lambda _: pytest.fail("asked"))
    store.ping()


def test_a_ping_does_not_disturb_reads(store, monkeypatch):
    """A read begins again if what it knows of the replicas has changed."""
    store.apply_tweets(make_tweets(*((each, 7, 1000, "70", None) for each in IDS)))
    store.read_totals(IDS, ["video_views"])
    begun = []
    start = store._reader.start_totals
    monkeypatch.setattr(store._reader, "start_totals", lambda *a: begun.append(a) or start(*a))
    for number in range(1, 4):
        store.ping()
        store.read_totals(IDS, ["video_views"])
        assert len(begun) == number


def test_a_shard_that_does_not_answer_is_noticed(modern, monkeypatch):
    with closing(modern.open()) as store:
        for node in modern.servers.nodes:
            store.ping()
            node.kill()
            wait_in_time(
                lambda: store.ping() == [StoreFault.SOME_UNREADABLE], limit_s=pinging._FRESH_S
            )
            node.start()
            wait_for(lambda: store.ping() == [])
        for node in modern.servers.nodes:
            node.kill()
        monkeypatch.setattr(pinging, "_FRESH_S", 0)
        with pytest.raises(StoreUnavailable, match="no server answers: 127"):
            store.ping()


def test_a_server_that_fails_a_request_is_asked_again_at_once(modern):
    with closing(modern.open()) as store:
        replies(store)
        modern.servers.nodes[0].kill()
        with pytest.raises(StoreUnavailable):
            replies(store)
        assert store.ping() == [StoreFault.SOME_UNREADABLE]


def test_a_server_that_hangs_is_noticed(modern, monkeypatch):
    monkeypatch.setattr(pinging, "_FRESH_S", 0)
    with closing(modern.open()) as store:
        for node in modern.servers.nodes:
            node.freeze()
        try:
            began_s = time.monotonic()
            with pytest.raises(StoreUnavailable):
                store.ping()
            assert time.monotonic() - began_s < 4
        finally:
            for node in modern.servers.nodes:
                node.wake()


def test_a_replica_is_enough(replicated, monkeypatch):
    monkeypatch.setattr(pinging, "_FRESH_S", 0)
    with closing(replicated.open()) as store:
        first, second = [node for node in replicated.servers.nodes if node.shard == 1]
        first.kill()
        assert store.ping() == []
        retry(lambda: store.apply_batches([make_batch(ROWS, key=b"k")]))
        assert states(replicated) != {2}
        second.kill()
        assert store.ping() == [StoreFault.SOME_UNREADABLE]


def test_postgresql_is_a_part_of_it(cluster, store):
    cluster.postgresql.stop()
    try:
        with pytest.raises(StoreUnavailable):
            store.ping()
    finally:
        cluster.postgresql.start()
    retry(store.ping)


def test_batches_that_wait(cluster, store):
    assert not is_behind(store)
    begin(store, ROWS, key=b"k")
    assert not is_behind(store)
    cluster.sql("UPDATE flights SET began_at = now() - interval '31 s'")
    assert is_behind(store)
    cluster.sql("UPDATE flights SET began_at = now() - interval '8 days'")  # set aside
    assert not is_behind(store)


def test_figures_for_operators(cluster, store):
    assert isinstance(store, Measures)
    store.apply_tweets(make_tweets(*((each, 7, 1000, None, False) for each in IDS)))
    begin(store, ROWS, key=b"k")
    begin(store, ROWS, key=b"2")
    cluster.sql(
        "UPDATE flights SET began_at = now() - interval '8 days' "
        "WHERE token = (SELECT min(token) FROM flights)"
    )
    expected = {"tweets": 6, "commits_under_way": 1, "commits_set_aside": 1}
    assert store.measure() == expected


def is_behind(store):
    return StoreFault.BEHIND in store.ping()
