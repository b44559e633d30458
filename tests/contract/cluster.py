"""A cluster under test: what its nodes hold, and what a test expects there."""

import itertools
import time
from collections import Counter

import psycopg

from contract.backends import KEEP_DAYS, ChosenClock
from contract.deltas import make_batch
from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster.opening import open_cluster
from openengagement.stores.cluster.tables import MARKER
from support.waiting import PATIENCE_S, wait_for

IDS = [1, 2, 3, 4, 5, 6]  # some of each shard of three: 3 and 4, then 1, 2 and 5, then 6


class Cluster:
    """Servers, and their URLs for one test."""

    def __init__(self, kind, servers, *, postgresql, urls):
        self.kind = kind
        self.servers = servers
        self.postgresql = postgresql
        self.urls = urls
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
        """Check that every replica of each Tweet's shard has these rows, their totals, no more.

        A replica that was put out because it was late joins again first.
        """
        wait_for(lambda: states(self) == {2}, reason="in sync")
        expected = Counter()
        for (tweet_id, hour, counts), each in itertools.product(rows, (0, 1)):
            expected[tweet_id, hour + 1 if each else 0] += counts["replies"]
        replies = {row[1] for row in self.cells()}
        assert len(replies) <= 1
        found = {(row[0], row[2]): row[3] for row in self.cells()}
        assert found == dict(expected)
        assert set(self.cells().values()) <= {self.servers.replicas}


def replies(store, ids=IDS):
    return store.read_totals(ids, ["replies"])[:, 0].tolist()


def expected_replies():
    return [2 * tweet_id for tweet_id in IDS]


def begin(store, rows, *, key):
    """Record a commit, and leave it there. No chore completes it before `end_leases`."""
    kept = []
    complete, store._complete = store._complete, kept.append
    try:
        store.apply_batches([make_batch(rows, key=key)])
    finally:
        store._complete = complete
    with store._pool.connection() as db:
        lease = "now() + interval '1 day'"
        db.execute(f"UPDATE flights SET leased_until = {lease} WHERE token = %s", (kept[0].token,))
    return kept[0]


def states(cluster):
    return {state for (state,) in cluster.sql("SELECT state FROM replicas")}


def retry(call):
    """Call until the store is available again, as a producer would."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except StoreUnavailable:
            assert time.monotonic() < end_s
            time.sleep(0.1)
