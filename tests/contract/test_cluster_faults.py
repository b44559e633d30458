"""The store of a cluster when servers and processes die, freeze and come back.

Every count is compared on each replica: never lost, never twice, never half of a batch.
"""

import itertools
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg
import pytest
import zstandard

from contract.backends import KEEP_DAYS, ChosenClock
from contract.conftest import empty_cluster
from contract.crashing_store import ROWS
from contract.deltas import make_batch, make_tweets
from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster.opening import init_cluster, open_cluster, read_cluster
from openengagement.stores.cluster.tables import MARKER
from openengagement.stores.contract import Applied
from support.clickhouse import PASSWORD
from support.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.cluster

CRASHING = Path(__file__).with_name("crashing_store.py")
POINTS = [
    "claimed",
    *(f"sent {shard}" for shard in (1, 2, 3)),
    *(f"inserted {shard}" for shard in (1, 2, 3)),
    "synced",
    "ended",
]
# How long a request may take when a replica freezes. Usually it takes little over a second. Up to
# three were seen when the replica had a block that the other one had not fetched yet.
ANSWER_S = 6.0
IDS = [1, 2, 3, 4, 5, 6]  # two of each shard


class Cluster:
    """Servers, and their URLs for one test."""

    def __init__(self, kind, servers, postgresql):
        self.kind = kind
        self.servers = servers
        self.postgresql = postgresql
        self.urls = empty_cluster(servers, postgresql)
        self.database = self.urls[1].rpartition("/")[2].partition("?")[0]

    def open(self):
        return open_cluster(*self.urls, clock=ChosenClock(), idempotency_keep_days=KEEP_DAYS)

    def sql(self, statement, *values):
        with psycopg.connect(self.urls[0]) as db:
            cursor = db.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def end_leases(self):
        self.sql("UPDATE flights SET leased_until = now() - interval '1 s'")

    def flights(self):
        return self.sql("SELECT count(*) FROM flights")[0][0]

    def wait_for_flights(self):
        wait_for(lambda: not self.flights())

    def cells(self):
        """Return what all nodes hold: id, type, hour and count, with how many nodes have it."""
        query = (
            f"SELECT tweet_id, type, hour, sum(n) AS n FROM {self.database}.cells "
            f"WHERE type <> {MARKER} GROUP BY tweet_id, type, hour HAVING n <> 0"
        )
        held = Counter()
        for node in self.servers.nodes:
            held.update(tuple(map(int, row.split())) for row in node.run(query).splitlines())
        return held

    def markers(self):
        query = (
            f"SELECT count(), sum(n) FROM {self.database}.cells WHERE type = {MARKER} "
            "GROUP BY tweet_id FORMAT TSV"
        )
        return [row for node in self.servers.nodes for row in node.run(query).splitlines()]

    def expect(self, rows):
        """Check that every replica of each Tweet's shard has these rows, their totals, no more."""
        expected = Counter()
        for (tweet_id, hour, counts), each in itertools.product(rows, (0, 1)):
            expected[tweet_id, hour + 1 if each else 0] += counts["replies"]
        replies = {row[1] for row in self.cells()}
        assert len(replies) <= 1
        found = {(row[0], row[2]): row[3] for row in self.cells()}
        assert found == dict(expected)
        assert set(self.cells().values()) <= {self.servers.replicas}


@pytest.fixture(params=["cluster", "replicated"])
def cluster(request, postgresql_server):
    names = {"cluster": "modern_servers", "replicated": "replicated_servers"}
    servers = request.getfixturevalue(names[request.param])
    yield Cluster(request.param, servers, postgresql_server)
    servers.start()


@pytest.fixture
def replicated(replicated_servers, postgresql_server):
    yield Cluster("replicated", replicated_servers, postgresql_server)
    replicated_servers.start()


@pytest.fixture
def modern(modern_servers, postgresql_server):
    yield Cluster("cluster", modern_servers, postgresql_server)
    modern_servers.start()


def replies(store, ids=IDS):
    return store.read_totals(ids, ["replies"])[:, 0].tolist()


def expected_replies():
    return [2 * tweet_id for tweet_id in IDS]


# A process dies


@pytest.mark.parametrize("point", POINTS)
def test_a_commit_is_completed_wherever_its_process_dies(cluster, point):
    command = [sys.executable, CRASHING, point, *cluster.urls]
    assert subprocess.run(command, check=False, timeout=PATIENCE_S).returncode == 9
    assert cluster.flights() == (point != "ended")
    cluster.end_leases()
    with closing(cluster.open()) as store:
        cluster.wait_for_flights()
        assert replies(store) == expected_replies()
        cluster.expect(ROWS)
        (again,) = store.apply_batches([make_batch(ROWS, key=b"k", outcome=b"second")])
        assert again == Applied(duplicate=True, outcome=b"first")
        assert cluster.markers() == ["1\t1"] * 3 * cluster.servers.replicas
        store.apply_batches([make_batch(ROWS, key=b"equal, but another batch")])
        cluster.expect([*ROWS, *ROWS])


def test_a_repeat_waits_for_the_first_attempt(cluster):
    """The producer sends it again before anybody completes it. The answer comes when it counts."""
    command = [sys.executable, CRASHING, "sent 1", *cluster.urls]
    subprocess.run(command, check=False, timeout=PATIENCE_S)
    with closing(cluster.open()) as store:
        threading.Timer(0.5, cluster.end_leases).start()
        (again,) = store.apply_batches([make_batch(ROWS, key=b"k", outcome=b"second")])
        assert again == Applied(duplicate=True, outcome=b"first")
        assert replies(store) == expected_replies()
        cluster.expect(ROWS)


def test_two_that_complete_the_same_commit_at_once(cluster):
    """Such as a process that was frozen before its insert, and wakes when another has finished."""
    with closing(cluster.open()) as store:
        for number in range(1, 6):
            flight = begin(store, ROWS, key=b"%d" % number)
            threads = [
                threading.Thread(
                    target=store._inserter.insert, args=(flight,), kwargs={"repeated": repeated}
                )
                for repeated in (True, False, True)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            cluster.end_leases()
            cluster.wait_for_flights()
            cluster.expect(ROWS * number)


def begin(store, rows, *, key):
    """Record a commit, and leave it there."""
    kept = []
    complete, store._complete = store._complete, kept.append
    try:
        store.apply_batches([make_batch(rows, key=key)])
    finally:
        store._complete = complete
    return kept[0]


def test_a_block_that_clickhouse_has_forgotten_is_not_inserted_again(modern):
    """Its own deduplication remembers a bounded number of blocks."""
    for node in modern.servers.nodes:
        window = "non_replicated_deduplication_window = 2"
        node.run(f"ALTER TABLE {modern.database}.cells MODIFY SETTING {window}")
    with closing(modern.open()) as store:
        flight = begin(store, ROWS, key=b"k")
        store._inserter.insert(flight, repeated=False)
        for number in range(5):
            store.apply_batches([make_batch(ROWS, key=b"%d" % number)])
        modern.end_leases()
        modern.wait_for_flights()
        modern.expect(ROWS * 6)
        store._inserter.insert(flight, repeated=False)  # the marker is what held
        assert replies(store)[0] > 6 * 2


def test_a_commit_that_nobody_completed_for_days_is_set_aside(cluster):
    """The marker of its block may be gone, so nobody knows whether it was counted."""
    with closing(cluster.open()) as store:
        begin(store, ROWS, key=b"k")
        cluster.sql("UPDATE flights SET began_at = now() - interval '8 days'")
        cluster.end_leases()
        store._chores.complete_flights()
        assert cluster.flights() == 1
        assert replies(store) == [0] * len(IDS)
        status = read_cluster(*cluster.urls)
        assert (status.commits_set_aside, status.commits_under_way) == (1, 0)
        assert status.problems == ["commits set aside, not completed within 7 days: 1"]


def test_a_commit_that_is_refused_holds_up_no_other(cluster):
    with closing(cluster.open()) as store:
        bad = begin(store, ROWS, key=b"bad")
        begin(store, ROWS, key=b"good")
        block = zstandard.compress(b"not in the Native format")
        cluster.sql("UPDATE flights SET blocks[1] = %s WHERE token = %s", block, bad.token)
        for _ in range(3):
            cluster.end_leases()
            time.sleep(1.2)
        assert cluster.sql("SELECT token FROM flights") == [(bad.token,)]
        ((attempts, reason),) = cluster.sql("SELECT attempts, reason FROM flights")
        assert attempts > 1
        assert reason
        status = read_cluster(*cluster.urls)
        assert status.commits_under_way == 1
        assert status.retries_under_way == attempts - 1


# A server dies or freezes


class Load:
    """Writes and reads all the time, and notes how long that took and what was wrong."""

    def __init__(self, cluster):
        self.stores = [cluster.open() for _ in range(3)]
        self.acknowledged = 0
        self.unknown = []
        self.slowest_s = 0.0
        self.refused = Counter()  # by reason
        self.reads = 0
        self.stale = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(self.stores[0],)),
            *(threading.Thread(target=self._read, args=(store,)) for store in self.stores[1:]),
        ]
        for thread in self._threads:
            thread.start()

    def _timed(self, call):
        began_s = time.monotonic()
        try:
            return call()
        except StoreUnavailable as error:
            self.refused[str(error)] += 1
            return None
        finally:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)

    def _write(self, store):
        for number in itertools.count():
            if self._stop.is_set():
                return
            batch = make_batch([(each, 10, {"replies": 1}) for each in IDS], key=b"%d" % number)
            if self._timed(partial(store.apply_batches, [batch])) is None:
                self.unknown.append(batch)
                time.sleep(0.05)
            else:
                self.acknowledged += 1

    def _read(self, store):
        while not self._stop.is_set():
            before = self.acknowledged
            found = self._timed(lambda: replies(store))
            if found is not None:
                self.reads += 1
                if min(found) < before:
                    self.stale.append((before, found))

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        for store in self.stores:
            store.close()


@pytest.mark.parametrize("how", ["freeze", "kill"])
@pytest.mark.parametrize("replica", [1, 2])
def test_one_replica_of_each_shard_is_lost_under_load(replicated, how, replica):
    nodes = [replicated.servers.node(shard, replica) for shard in (1, 2, 3)]
    with Load(replicated) as load:
        time.sleep(1)
        wait_for(lambda: states(replicated) == {2})
        for node in nodes:
            getattr(node, how)()
        time.sleep(5)
        before = load.acknowledged
        time.sleep(1)
        went_on = load.acknowledged - before
        slowest_s = load.slowest_s
        for node in nodes:
            node.wake()
            if how == "kill":
                time.sleep(max(0, node.killed_at_s + 3.5 - time.monotonic()))
                node.start()
        time.sleep(1)
        load.stop()
        assert load.stale == []
        # Those that one replica had, and had not given to the other one, wait until it is back.
        assert len(load.unknown) <= 3, load.refused
        assert went_on > 3, (load.refused, load.slowest_s)
        assert slowest_s < ANSWER_S
        assert load.reads > 20
        for batch in load.unknown:
            (answer,) = retry(partial(load.stores[0].apply_batches, [batch]))
            assert answer.duplicate
        wait_for(lambda: states(replicated) == {2})
        count = load.acknowledged + len(load.unknown)
        replicated.expect([(each, 10, {"replies": count}) for each in IDS])


def states(cluster):
    return {state for (state,) in cluster.sql("SELECT state FROM replicas")}


@pytest.mark.parametrize("how", ["freeze", "kill"])
def test_a_whole_shard_is_lost(cluster, how):
    """Tweets of other shards are served. Batches are refused as a whole, and not half counted."""
    with closing(cluster.open()) as store:
        store.apply_batches([make_batch(ROWS, key=b"before")])
        nodes = [node for node in cluster.servers.nodes if node.shard == 1]
        for node in nodes:
            getattr(node, how)()
        others = [each for each in IDS if each % 3]
        assert replies(store, others) == [2 * each for each in others]
        began_s = time.monotonic()
        with pytest.raises(StoreUnavailable, match="the counters store is unavailable"):
            replies(store)
        with pytest.raises(StoreUnavailable):
            store.apply_batches([make_batch(ROWS, key=b"k", outcome=b"first")])
        assert time.monotonic() - began_s < 30
        time.sleep(4 if how == "kill" and cluster.kind == "replicated" else 0)
        cluster.servers.start()
        retried = retry(lambda: store.apply_batches([make_batch(ROWS, key=b"k", outcome=b"x")]))
        assert retried == [Applied(duplicate=True, outcome=b"first")]
        assert replies(store) == [2 * each for each in expected_replies()]
        wait_for(lambda: states(cluster) == {2})
        cluster.expect([*ROWS, *ROWS])


def retry(call):
    """Call until the store is available again, as a producer would."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except StoreUnavailable:
            assert time.monotonic() < end_s
            time.sleep(0.1)


def test_postgresql_is_restarted(cluster):
    with closing(cluster.open()) as store:
        store.apply_batches([make_batch(ROWS, key=b"k")])
        cluster.postgresql.stop()
        try:
            with pytest.raises(StoreUnavailable, match="the Tweet store is unavailable"):
                store.apply_batches([make_batch(ROWS, key=b"other")])
            with pytest.raises(StoreUnavailable):
                store.read_tweets([1])
        finally:
            cluster.postgresql.start()
        retry(lambda: store.apply_batches([make_batch(ROWS, key=b"other")]))
        assert replies(store) == [2 * each for each in expected_replies()]
        cluster.expect([*ROWS, *ROWS])


def test_reads_continue_without_zookeeper(replicated):
    zookeeper = replicated.servers.zookeeper
    with closing(replicated.open()) as store:
        store.apply_batches([make_batch(ROWS, key=b"k")])
        zookeeper.kill()
        try:
            time.sleep(0.5)
            for _ in range(20):
                assert replies(store) == expected_replies()
            with pytest.raises(StoreUnavailable):
                store.apply_batches([make_batch(ROWS, key=b"other", outcome=b"first")])
            assert 2 in states(replicated)
        finally:
            zookeeper.start()
        (answer,) = retry(lambda: store.apply_batches([make_batch(ROWS, key=b"other")]))
        assert answer == Applied(duplicate=True, outcome=b"first")
        assert replies(store) == [2 * each for each in expected_replies()]
        wait_for(lambda: states(replicated) == {2})
        replicated.expect([*ROWS, *ROWS])


def test_a_restarted_server_is_used_again_at_once(modern):
    """Connections that were kept to it are broken, however many there are."""
    with closing(modern.open()) as store:
        store.apply_batches([make_batch(ROWS, key=b"k")])
        threads = [threading.Thread(target=replies, args=(store,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for node in modern.servers.nodes:
            node.kill()
            node.start()
        assert replies(store) == expected_replies()
        store.apply_batches([make_batch(ROWS, key=b"other")])
        modern.expect([*ROWS, *ROWS])


def test_two_never_put_out_the_last_replica_of_a_shard(replicated):
    first, second = replicated.open(), replicated.open()
    one, other = first._replicas.shards[0]
    for _ in range(20):
        barrier = threading.Barrier(2)

        def put_out(store, replica, barrier=barrier):
            barrier.wait()
            store._replicas.put_out(replica)

        threads = [
            threading.Thread(target=put_out, args=each) for each in ((first, one), (second, other))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        query = "SELECT count(*) FROM replicas WHERE shard = 1 AND state = 2"
        assert replicated.sql(query)[0][0] >= 1
        replicated.sql("UPDATE replicas SET state = 2, changes = changes + 1")
    first.close()
    second.close()


def test_a_server_that_was_put_out_meanwhile_does_not_join_by_an_earlier_decision(replicated):
    with closing(replicated.open()) as store:
        store._chores.close()
        replica = store._replicas.shards[0][1]
        store._replicas.put_out(replica)
        store._replicas.read()
        before = store._replicas.known[1][3]
        store._replicas._change(replica, to=1, changes=before)
        store._replicas.put_out(replica)
        assert not store._replicas._change(replica, to=2, changes=before + 1)


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


def test_tables_of_another_version_are_refused(cluster):
    cluster.sql("UPDATE store_layout SET version = version + 1")
    with pytest.raises(Exception, match="run `openengagement cluster init`"):
        cluster.open()
    with pytest.raises(Exception, match="a newer version of the server made the tables"):
        init_cluster(*cluster.urls)


def test_a_server_without_its_table_is_refused(cluster):
    cluster.servers.nodes[-1].run(f"DROP DATABASE {cluster.database}")
    with pytest.raises(Exception, match=r"run `openengagement cluster init`|Database .* exist"):
        cluster.open()


def test_servers_of_which_none_answers(postgresql_server, modern):
    for node in modern.servers.nodes:
        node.kill()
    with pytest.raises(StoreUnavailable, match="no server answers at 127"):
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
