"""A process that commits and merges as fast as it can, and prints each commit, until killed."""

import sys
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.deltas import make_batch
from openengagement.clock import SystemClock
from openengagement.stores.embedded import compaction
from openengagement.stores.embedded.store import EmbeddedStore

TWEETS = range(1, 400)


def main():
    path, first = sys.argv[1:]
    # Merge after every second commit, so that most kills hit a merge.
    compaction.FLUSH_MIN, compaction._COMPACT_MIN, compaction.BACKLOG_MAX = 2, 2, 3
    store = EmbeddedStore(Path(path), clock=SystemClock(), idempotency_keep_days=90)
    for index in count(int(first)):
        rows = [(tweet, index % 50, {"replies": 1, "favorites": tweet}) for tweet in TWEETS]
        (answer,) = store.apply_batches([make_batch(rows, key=b"%d" % index)])
        print(index if not answer.duplicate else f"{index} was counted before", flush=True)


if __name__ == "__main__":
    main()
