"""Commits on a cluster: counted wholly and once, wherever a process dies.

Every count is compared on each replica: never lost, never twice, never half of a batch.
"""

import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
import zstandard

from contract.cluster import IDS, begin, expected_replies, replies
from contract.crashing_store import ROWS
from contract.deltas import make_batch
from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster.opening import read_cluster
from openengagement.stores.contract import Applied
from support.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.heavy

CRASHING = Path(__file__).with_name("crashing_store.py")
POINTS = [
    "claimed",
    *(f"sent {shard}" for shard in (1, 2, 3)),
    *(f"inserted {shard}" for shard in (1, 2, 3)),
    "synced",
    "ended",
]


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


def try_to_insert(store, flight, repeated):
    """On a slow machine, a replica may answer too late. Then a chore completes the flight."""
    with suppress(StoreUnavailable):
        store._inserter.insert(flight, repeated=repeated)


def test_two_that_complete_the_same_commit_at_once(cluster):
    """Such as a process that was frozen before its insert, and wakes when another has finished."""
    with closing(cluster.open()) as store:
        for number in range(1, 6):
            flight = begin(store, ROWS, key=b"%d" % number)
            threads = [
                threading.Thread(target=try_to_insert, args=(store, flight, repeated))
                for repeated in (True, False, True)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            cluster.end_leases()
            cluster.wait_for_flights()
            cluster.expect(ROWS * number)


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


def is_tried_again(cluster):
    """Let 5 s pass for the leases, which keeps their order. Return whether one commit is left."""
    cluster.sql("UPDATE flights SET leased_until = leased_until - interval '5 s'")
    ((flights, attempts),) = cluster.sql("SELECT count(*), max(attempts) FROM flights")
    return flights == 1 and attempts > 1


def test_a_commit_that_is_refused_holds_up_no_other(cluster):
    with closing(cluster.open()) as store:
        bad = begin(store, ROWS, key=b"bad")
        begin(store, ROWS, key=b"good")
        block = zstandard.compress(b"not in the Native format")
        cluster.sql("UPDATE flights SET blocks[1] = %s WHERE token = %s", block, bad.token)
        cluster.end_leases()
        wait_for(lambda: is_tried_again(cluster), pause_s=0.2)
        store._chores.close()
        assert cluster.sql("SELECT token FROM flights") == [(bad.token,)]
        ((attempts, reason),) = cluster.sql("SELECT attempts, reason FROM flights")
        assert attempts > 1
        assert reason
        status = read_cluster(*cluster.urls)
        assert status.commits_under_way == 1
        assert status.retries_under_way == attempts - 1
