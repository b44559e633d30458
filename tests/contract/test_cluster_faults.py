"""A cluster when its servers die, freeze and come back, under load."""

import itertools
import threading
import time
from collections import Counter
from contextlib import closing
from functools import partial

import pytest

from contract.cluster import IDS, expected_replies, replies, retry, states
from contract.crashing_store import ROWS
from contract.deltas import make_batch
from openengagement.errors import StoreUnavailable
from openengagement.stores.contract import Applied
from support.waiting import wait_for

pytestmark = pytest.mark.cluster

# How long a request may take when a replica freezes. Usually it takes little over a second. Up to
# three were seen when the replica had a block that the other one had not fetched yet.
ANSWER_S = 6.0


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
