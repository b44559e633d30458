"""Remove old hours, and the counters of deleted Tweets."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster.counting import NAME
from openengagement.stores.cluster.native import decode_blocks
from openengagement.stores.cluster.reading import run_at_first
from openengagement.stores.cluster.replicas import InSyncSet, Replica
from openengagement.stores.cluster.routing import split_ids
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
# A marker has a negative id, and so have the counters of a video.
_ERASE: Final = "ALTER TABLE cells DELETE WHERE tweet_id IN ({ids}) AND type <> {marker}"
_ERASED_AT_ONCE: Final = 10_000  # a statement may have 256 KiB
# The number of the newest mutation plus 1, and how many are not done. A mutation appears a moment
# after its statement, and done ones disappear in time.
_MUTATIONS: Final = """
SELECT toInt64(max(toUInt64OrZero(extract(mutation_id, '[0-9]+')) + 1)) AS newest,
    toInt64(countIf(NOT is_done)) AS open
FROM system.mutations WHERE database = currentDatabase() AND table = 'cells' FORMAT Native
"""
_TIMEOUT_S: Final = 600.0
_PAUSE_S: Final = 0.05


class _Mutations(NamedTuple):
    """The row that `_MUTATIONS` returns."""

    newest: int
    still_open: int


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
        for replicas, mine in zip(in_sync, split_ids(ids, shards=len(in_sync)), strict=True):
            slices = [
                mine[at : at + _ERASED_AT_ONCE] for at in range(0, len(mine), _ERASED_AT_ONCE)
            ]
            queries = [
                _ERASE.format(ids=",".join(map(str, each)), marker=MARKER) for each in slices
            ]
            if queries:
                self._mutate(replicas, *queries)

    def _mutate(self, replicas: Sequence[Replica], *queries: str) -> None:
        """Run statements, and wait until every replica in sync has executed them."""
        give_up_s = time.monotonic() + _TIMEOUT_S
        for query in queries:
            before = [self._read_mutations(each) for each in replicas]
            run_at_first(self._replicas, replicas, query=query)
            for replica, known in zip(replicas, before, strict=True):
                self._wait(replica, partial(_is_newer, known), give_up_s=give_up_s)
        for replica in replicas:
            self._wait(replica, _are_done, give_up_s=give_up_s)

    def _wait(
        self, replica: Replica, condition: Callable[[_Mutations], bool], *, give_up_s: float
    ) -> None:
        """Wait until the mutations of a replica fulfil the condition."""
        while not condition(self._read_mutations(replica)):
            if time.monotonic() > give_up_s:
                raise StoreUnavailable(NAME, f"{replica.server.name} has not removed rows yet")
            time.sleep(_PAUSE_S)

    def _read_mutations(self, replica: Replica) -> _Mutations:
        body = run_at_first(self._replicas, [replica], query=_MUTATIONS)
        newest, still_open = decode_blocks(body, ["newest", "open"])
        return _Mutations(int(newest.sum()), int(still_open.sum()))


def _is_newer(known: _Mutations, now: _Mutations) -> bool:
    return now.newest > known.newest


def _are_done(now: _Mutations) -> bool:
    return not now.still_open
