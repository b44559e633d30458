"""Remove old hours, and the counters of deleted Tweets."""

import time
from collections.abc import Sequence
from typing import Final

from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster.counting import NAME
from openengagement.stores.cluster.native import decode_blocks
from openengagement.stores.cluster.reading import run_at_first
from openengagement.stores.cluster.replicas import InSyncSet, Replica
from openengagement.stores.cluster.tables import MARKER, MARKERS_KEPT_HOURS

# The rows are removed in the background, but no query returns them from then on.
_COUNT: Final = """
SELECT toInt64(count()) AS n FROM cells
WHERE hour > 0 AND hour <= {hour} AND type <> {marker} FORMAT Native
"""
_PRUNE: Final = """
ALTER TABLE cells DELETE
WHERE (hour > 0 AND hour <= {hour} AND type <> {marker})
    OR (type = {marker} AND hour <= {marker_hour})
"""
_ERASE: Final = "ALTER TABLE cells DELETE WHERE tweet_id IN ({ids})"
# The number of the newest mutation plus 1, and how many are not done. A mutation appears a moment
# after its statement, and done ones disappear in time.
_MUTATIONS: Final = """
SELECT toInt64(max(toUInt64OrZero(extract(mutation_id, '[0-9]+')) + 1)) AS newest,
    toInt64(countIf(NOT is_done)) AS open
FROM system.mutations WHERE database = currentDatabase() AND table = 'cells' FORMAT Native
"""
_TIMEOUT_S: Final = 600.0
_PAUSE_S: Final = 0.05


class Pruner:
    """Removes counters."""

    def __init__(self, replicas: InSyncSet) -> None:
        self._replicas = replicas

    def prune(self, oldest_hour: int, *, now_hour: int) -> int:
        """Remove the hours before this one, and return the number of rows.

        A counter has several rows until ClickHouse has merged them. Markers of blocks are kept for
        `MARKERS_KEPT_HOURS`, so that flights can be completed.

        Raises:
            StoreUnavailable
        """
        removed = 0
        marker_hour = min(oldest_hour, now_hour - MARKERS_KEPT_HOURS)
        for replicas in self._replicas.read():
            query = _COUNT.format(hour=oldest_hour, marker=MARKER)
            (counts,) = decode_blocks(run_at_first(self._replicas, replicas, query=query), ["n"])
            removed += int(counts.sum())
            query = _PRUNE.format(hour=oldest_hour, marker=MARKER, marker_hour=marker_hour)
            self._mutate(replicas, query)
        return removed

    def erase(self, ids: Sequence[int]) -> None:
        """Remove all counters of these Tweets.

        Raises:
            StoreUnavailable
        """
        in_sync = self._replicas.read()
        for shard, replicas in enumerate(in_sync):
            mine = [each for each in ids if each % len(in_sync) == shard]
            if mine:
                self._mutate(replicas, _ERASE.format(ids=",".join(map(str, mine))))

    def _mutate(self, replicas: Sequence[Replica], query: str) -> None:
        """Run a statement, and wait until every replica in sync has executed it."""
        before = {each.server.name: self._read_mutations(each)[0] for each in replicas}
        run_at_first(self._replicas, replicas, query=query)
        give_up_s = time.monotonic() + _TIMEOUT_S
        for replica in replicas:
            while True:
                newest, still_open = self._read_mutations(replica)
                if newest > before[replica.server.name] and not still_open:
                    break
                if time.monotonic() > give_up_s:
                    raise StoreUnavailable(NAME, f"{replica.server.name} has not removed rows yet")
                time.sleep(_PAUSE_S)

    def _read_mutations(self, replica: Replica) -> tuple[int, int]:
        body = run_at_first(self._replicas, [replica], query=_MUTATIONS)
        newest, still_open = decode_blocks(body, ["newest", "open"])
        return int(newest.sum()), int(still_open.sum())
