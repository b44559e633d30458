"""A cluster is set up, pruned, erased and watched. Settings that do not fit it are refused."""

from contextlib import closing

import pytest

from contract.backends import ChosenClock
from contract.cluster import IDS, begin, expected_replies, replies
from contract.crashing_store import ROWS
from contract.deltas import make_batch, make_tweets
from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster.layout import UnusableCluster
from openengagement.stores.cluster.opening import init_cluster, open_cluster, read_cluster
from openengagement.stores.cluster.tables import VERSION
from support.clickhouse import PASSWORD

pytestmark = pytest.mark.heavy


# Pruning and erasing


def test_deleted_tweets_are_erased_a_day_later(cluster):
    with closing(cluster.open()) as store:
        store.apply_tweets(make_tweets(*((each, 7, 1000, None, False) for each in IDS)))
        store.apply_tweets(make_tweets((1, 7, 1000, "video", False), (2, 7, 1000, "video", False)))
        views = [(each, 10, {"video_views": 5}) for each in (1, 2)]
        store.apply_batches([make_batch(ROWS), make_batch(views)])
        for each in (1, 3, 4):
            assert store.delete_tweet(each)
        store.apply_tweets(make_tweets((4, 7, None, None, False)))  # registered again
        store._chores.erase_deleted()
        assert replies(store) == expected_replies()
        cluster.sql("UPDATE deletions SET deleted_at = deleted_at - interval '25 hours'")
        store._chores.erase_deleted()
        assert replies(store) == [0, 4, 0, 8, 10, 12]
        assert {row[0] for row in cluster.cells()} & {1, 3} == set()
        assert store.read_totals([2], ["video_views"]).tolist() == [[10]]
        assert cluster.sql("SELECT count(*) FROM deletions") == [(0,)]


def test_markers_outlive_the_hours(cluster):
    with closing(cluster.open()) as store:
        flight = begin(store, ROWS, key=b"k")
        store._inserter.insert(flight, repeated=False)
        assert store.prune(oldest_hour=500_000) == len(ROWS)
        assert replies(store) == expected_replies()
        assert not store.read_buckets(IDS, ["replies"], start_hour=0, end_hour=100).any()
        cluster.end_leases()
        cluster.wait_for_flights()
        assert replies(store) == expected_replies()


# Settings that do not fit


def test_a_password_that_is_wrong(cluster):
    postgresql, clickhouse = cluster.urls
    wrong = clickhouse.replace("tester:", "tester:secret", 1)
    with pytest.raises(Exception, match="the server refuses") as caught:
        open_cluster(postgresql, wrong, clock=ChosenClock(), idempotency_keep_days=9)
    for secret in (PASSWORD, "secret"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("cluster=test", "cluster=other"), "the counters are in the cluster 'test', but"),
        (("/contract", "/another"), "the counters are in the database"),
        (("127.0.0.1", "127.0.0.2"), "the cluster was set up with other servers"),
    ],
)
def test_a_url_that_does_not_fit(cluster, change, text):
    postgresql, clickhouse = cluster.urls
    with pytest.raises(Exception, match=text):
        open_cluster(
            postgresql,
            clickhouse.replace(*change, 1),
            clock=ChosenClock(),
            idempotency_keep_days=9,
        )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (1, "^a newer version of the server made the tables: use that version$"),
        (-1, "^an earlier version .* chose shards otherwise: run its `openengagement move --from"),
        (-2, "^an earlier version .* then move the folder to new databases$"),
    ],
)
def test_tables_of_another_version_are_refused(cluster, change, text):
    cluster.sql("UPDATE store_layout SET version = version + %s", change)
    with pytest.raises(UnusableCluster, match=text):
        cluster.open()
    with pytest.raises(UnusableCluster, match=text):
        init_cluster(*cluster.urls)
    with pytest.raises(UnusableCluster, match=text):
        read_cluster(*cluster.urls)
    assert cluster.sql("SELECT version FROM store_layout") == [(VERSION + change,)]


def test_tables_without_a_layout_are_refused(cluster):
    cluster.sql("DELETE FROM store_layout")
    with pytest.raises(UnusableCluster, match="no tables yet: run `openengagement cluster init`"):
        cluster.open()


def test_a_server_without_its_table_is_refused(cluster):
    cluster.servers.nodes[-1].run(f"DROP DATABASE {cluster.database}")
    with pytest.raises(Exception, match=r"run `openengagement cluster init`|Database .* exist"):
        cluster.open()


def test_servers_of_which_none_answers(postgresql_server, modern):
    for node in modern.servers.nodes:
        node.kill()
    with pytest.raises(StoreUnavailable, match="no server answers: 127"):
        modern.open()


def test_init_may_be_repeated_and_tells_the_number_of_shards(cluster):
    with closing(cluster.open()) as store:
        store.apply_batches([make_batch(ROWS)])
        assert init_cluster(*cluster.urls) == 3
        assert replies(store) == expected_replies()


# What an operator sees


def test_the_status_of_a_healthy_cluster(cluster):
    with closing(cluster.open()) as store:
        store.apply_batches([make_batch(ROWS)])
        replies(store)
        store._chores._note_times()
        status = read_cluster(*cluster.urls)
    assert (status.healthy, status.problems) == (True, [])
    assert len(status.replicas) == len(cluster.servers.nodes)
    first = status.replicas[0]
    assert first.answers
    assert first.counters >= 6
    assert first.queries["insert"].count == 1
    assert first.queries["read"].failures == 0
    assert 0 < first.queries["insert"].mean_ms <= first.queries["insert"].max_ms


def test_the_status_names_a_server_that_does_not_answer(cluster):
    node = cluster.servers.nodes[1]
    node.kill()
    status = read_cluster(*cluster.urls)
    place = f"127.0.0.1:{node.port} (shard {node.shard}, replica {node.replica})"
    assert not status.healthy
    assert f"{place} does not answer" in status.problems
