"""A cluster when its servers die, freeze and come back, under load."""

import itertools
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from functools import partial

import pytest

from contract.cluster import IDS, expected_replies, replies, retry, states
from contract.crashing_store import ROWS
from contract.deltas import make_batch
from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster import layout
from openengagement.stores.cluster.opening import init_cluster
from openengagement.stores.contract import Applied
from support.waiting import wait_for

pytestmark = pytest.mark.cluster

# How long a request may take when a replica freezes. The time limits add up to less than two
# seconds; the rest is for a machine with other work.
ANSWER_S = 4.0


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

    def go_on(self):
        """Wait until batches and reads have gone on."""
        batches, reads = self.acknowledged, self.reads
        wait_for(
            lambda: self.acknowledged > batches + 3 and self.reads > reads + 10,
            reason=lambda: f"going on: {self.refused}, {self.slowest_s} s",
        )

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
        load.go_on()
        wait_for(lambda: states(replicated) == {2})
        usual_s = load.slowest_s  # how fast this machine is
        for node in nodes:
            getattr(node, how)()
        time.sleep(5)
        load.go_on()
        slowest_s = load.slowest_s
        for node in nodes:
            node.wake()
            if how == "kill":
                time.sleep(max(0, node.killed_at_s + 3.5 - time.monotonic()))
                node.start()
        load.go_on()
        load.stop()
        assert load.stale == []
        # Those that one replica had, and had not given to the other one, wait until it is back.
        assert len(load.unknown) <= 3, load.refused
        assert slowest_s < ANSWER_S + 4 * usual_s
        for batch in load.unknown:
            (answer,) = retry(partial(load.stores[0].apply_batches, [batch]))
            assert answer.duplicate
        wait_for(lambda: states(replicated) == {2})
        count = load.acknowledged + len(load.unknown)
        replicated.expect([(each, 10, {"replies": count}) for each in IDS])


@contextmanager
def freezing(store, first, second, *, answered):
    """Freeze the first replica when it has a block of the next commit, and the second one has not.

    `answered` tells whether the first one has answered the insert.
    """
    inserter, database = store._inserter, store._replicas.shards[0][0].server._access.database
    insert_at_once = inserter._insert_at_once

    def insert_and_freeze(blocks, *, token):
        inserted = insert_at_once(blocks, token=token)
        first.freeze()
        if not answered:
            store._replicas.put_out(inserted.pop(0))
        return inserted

    second.run(f"SYSTEM STOP FETCHES {database}.cells")
    inserter._insert_at_once = insert_and_freeze
    try:
        yield
    finally:
        del inserter._insert_at_once
        second.run(f"SYSTEM START FETCHES {database}.cells")


@pytest.mark.parametrize("answered", [True, False])
def test_a_replica_freezes_with_a_block_that_the_other_one_lacks(replicated, answered):
    """That batch waits until the replica is back. ClickHouse would drop it anywhere else."""
    first, second = (replicated.servers.node(1, number) for number in (1, 2))
    with closing(replicated.open()) as store:
        began_s = time.monotonic()
        with freezing(store, first, second, answered=answered), pytest.raises(StoreUnavailable):
            store.apply_batches([make_batch(ROWS, key=b"k", outcome=b"first")])
        assert time.monotonic() - began_s < ANSWER_S
        began_s = time.monotonic()
        store.apply_batches([make_batch(ROWS, key=b"other")])
        assert store.read_totals(IDS[2:3], ["replies"])[0, 0] == 6
        assert time.monotonic() - began_s < ANSWER_S
        first.wake()
        (answer,) = retry(lambda: store.apply_batches([make_batch(ROWS, key=b"k")]))
        assert answer == Applied(duplicate=True, outcome=b"first")
        wait_for(lambda: states(replicated) == {2})
        assert replies(store) == [2 * each for each in expected_replies()]
        replicated.expect([*ROWS, *ROWS])


def test_a_block_that_a_frozen_replica_has_is_not_inserted_again(replicated, monkeypatch):
    """ClickHouse drops a repeated block only as long as it remembers it."""
    create_cells = layout.create_cells

    def with_a_small_window(*arguments, **named):
        window = "replicated_deduplication_window = 2, cleanup_delay_period = 1"
        statement = create_cells(*arguments, **named)
        return statement.replace("replicated_deduplication_window = 10000", window)

    monkeypatch.setattr(layout, "create_cells", with_a_small_window)
    database = f"{replicated.database}_small"
    replicated.urls = (replicated.urls[0], replicated.servers.url(database))
    replicated.database = database
    replicated.postgresql.drop()
    init_cluster(*replicated.urls)
    first, second = (replicated.servers.node(1, number) for number in (1, 2))
    path = f"/openengagement/{database}/cells/1/blocks"
    blocks = f"SELECT count() FROM system.zookeeper WHERE path = '{path}'"
    with closing(replicated.open()) as store:
        with freezing(store, first, second, answered=True), pytest.raises(StoreUnavailable):
            store.apply_batches([make_batch(ROWS, key=b"k", outcome=b"first")])
        for number in range(5):
            store.apply_batches([make_batch(ROWS, key=b"%d" % number)])
        wait_for(lambda: int(second.run(blocks)) <= 2)
        before = syncs_of(second)
        for _ in range(3):
            replicated.end_leases()
            with pytest.raises(StoreUnavailable):
                store._chores.complete_flights()
        assert syncs_of(second) == before > 0
        first.wake()
        replicated.end_leases()
        replicated.wait_for_flights()
        wait_for(lambda: states(replicated) == {2})
        replicated.expect(ROWS * 6)


def syncs_of(node):
    """Count the queries that wait on a server for blocks. Version 18.16 never ends them."""
    query = "SELECT count() FROM system.processes WHERE query LIKE 'SYSTEM SYNC%'"
    return int(node.run(query))


def test_a_replica_that_is_late_is_put_out_only_if_the_other_one_works(replicated):
    """With both frozen, nobody knows which of them is at fault."""
    with closing(replicated.open()) as store:
        store._chores.close()
        store._replicas.read()
        nodes = [replicated.servers.node(1, number) for number in (1, 2)]
        source = store._replicas.shards[0][0]
        for node in nodes:
            node.freeze()
        assert set(store._replicas.sync({0: source}, extra_s=0)) == {0}
        assert states(replicated) == {2}
        nodes[0].wake()
        wait_for(lambda: store._replicas.sync({0: source}, extra_s=0) == {})
        assert states(replicated) == {0, 2}
        nodes[1].wake()


@pytest.mark.parametrize("how", ["freeze", "kill"])
def test_a_whole_shard_is_lost(cluster, how):
    """Tweets of other shards are served. Batches are refused as a whole, and not half counted."""
    with closing(cluster.open()) as store:
        store.apply_batches([make_batch(ROWS, key=b"before")])
        nodes = [node for node in cluster.servers.nodes if node.shard == 1]
        for node in nodes:
            getattr(node, how)()
        others = [1, 2, 5, 6]
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
