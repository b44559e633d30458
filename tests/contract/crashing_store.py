"""Apply one batch on a cluster, and die at a chosen point of the commit.

The arguments: the point, the URL of PostgreSQL, that of ClickHouse.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.backends import ChosenClock
from contract.deltas import make_batch
from openengagement.stores.cluster import counting, ledger
from openengagement.stores.cluster.clickhouse import Answer
from openengagement.stores.cluster.opening import open_cluster
from openengagement.stores.cluster.replicas import InSyncSet

# Tweets of every shard of three, with counts in two hours.
ROWS = [(tweet_id, hour, {"replies": tweet_id}) for tweet_id in range(1, 7) for hour in (10, 11)]


def die(*_, **__):
    os._exit(9)


def after(call, times):
    """Return a call that works `times` times, and dies at the end of the last time."""
    left = [times]

    def counted(*arguments, **named):
        result = call(*arguments, **named)
        left[0] -= 1
        return result if left[0] else die()

    return counted


def arm(point):
    """Die at this point."""
    name, _, number = point.partition(" ")
    match name:
        case "claimed":
            counting.Inserter.insert = die
        case "sent":
            counting._send = after(counting._send, int(number))
        case "inserted":
            Answer.read = after(Answer.read, int(number))
        case "synced":
            InSyncSet.sync = after(InSyncSet.sync, 1)
        case "ended":
            ledger.end_flight = after(ledger.end_flight, 1)


if __name__ == "__main__":
    point, postgresql, clickhouse = sys.argv[1:]
    store = open_cluster(postgresql, clickhouse, clock=ChosenClock(), idempotency_keep_days=90)
    arm(point)
    store.apply_batches([make_batch(ROWS, key=b"k", outcome=b"first")])
