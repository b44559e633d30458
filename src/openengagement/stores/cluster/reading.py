"""Read counters. All shards work at the same time, each at a replica in sync."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from openengagement.engagement.counters import TYPE_BITS, Counters, Ints, sum_rows
from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster.cells import TYPES, add_up, split_ids
from openengagement.stores.cluster.clickhouse import Answer, Refused, Unreachable
from openengagement.stores.cluster.counting import NAME
from openengagement.stores.cluster.native import decode_blocks
from openengagement.stores.cluster.replicas import InSync, InSyncSet, Replica

_COLUMNS: Final = ("tweet_id", "place", "n")
# A server that does not answer within this time is avoided, and the next replica is asked.
_FIRST_TIMEOUT_S: Final = 0.5
_TIMEOUT_S: Final = 3.0
# Rows are not added up by ClickHouse: that takes longer than to send and add up all of them.
_TOTALS: Final = """
SELECT tweet_id, toInt64(type) AS place, n FROM cells
PREWHERE tweet_id IN ({ids}) WHERE hour = 0 AND type < {types} FORMAT Native
"""
_BUCKETS: Final = """
SELECT tweet_id, toInt64(type) * {hours} + hour - {start} - 1 AS place, n FROM cells
PREWHERE tweet_id IN ({ids}) WHERE hour > {start} AND hour <= {end} AND type < {types} FORMAT Native
"""
_ALL: Final = """
SELECT tweet_id, toInt64(hour) * {place} + type AS place, n FROM cells
PREWHERE tweet_id IN ({ids}) WHERE type < {types} FORMAT Native
"""


class CellReader:
    """Reads totals and hours."""

    def __init__(self, replicas: InSyncSet) -> None:
        self._replicas = replicas

    def read_totals(self, ids: Sequence[int]) -> Ints:
        """Read all-time counts, `[id, type number]`. The ids are unique.

        Raises:
            OverflowError
            StoreUnavailable
        """
        return self.start_totals(ids, self._replicas.read()).finish()

    def start_totals(self, ids: Sequence[int], in_sync: InSync) -> "Reading":
        """Begin to read all-time counts, `[id, type number]`, at these replicas."""
        return Reading(self._replicas, in_sync, query=_TOTALS, ids=ids, width=TYPES)

    def start_buckets(
        self, ids: Sequence[int], in_sync: InSync, *, start_hour: int, end_hour: int
    ) -> "Reading":
        """Begin to read counts, `[id, type number * hours + hour - start_hour]`."""
        hours = end_hour - start_hour
        query = _BUCKETS.replace("{hours}", str(hours)).replace("{start}", str(start_hour))
        query = query.replace("{end}", str(end_hour))
        return Reading(self._replicas, in_sync, query=query, ids=ids, width=TYPES * hours)

    def read_all(self, ids: Sequence[int]) -> tuple[Counters, Counters]:
        """Read everything that is known of some ids: the hours, and the totals.

        Raises:
            StoreUnavailable
        """
        query = _ALL.replace("{place}", str(1 << TYPE_BITS))
        reading = Reading(self._replicas, self._replicas.read(), query=query, ids=ids, width=0)
        row_ids, places, counts = reading.rows()
        hourly = places >= 1 << TYPE_BITS
        hours = sum_rows(row_ids[hourly], places[hourly] - (1 << TYPE_BITS), counts=counts[hourly])
        totals = sum_rows(row_ids[~hourly], places[~hourly], counts=counts[~hourly])
        return hours, totals


class Reading:
    """A read that has begun. Each shard that has some of the ids works on it."""

    def __init__(
        self, replicas: InSyncSet, in_sync: InSync, *, query: str, ids: Sequence[int], width: int
    ) -> None:
        self._replicas = replicas
        self._in_sync = in_sync
        self.ids = ids
        self._width = width
        self._queries = {
            shard: query.format(ids=",".join(map(str, some)), types=TYPES)
            for shard, some in enumerate(split_ids(ids, shards=len(in_sync)))
            if some
        }
        self._sent = {shard: self._send(shard) for shard in self._queries}

    def abandon(self) -> None:
        """Give up what was not received."""
        for sent in self._sent.values():
            if sent is not None:
                sent[1].abandon()

    def finish(self) -> Ints:
        """Return the counts, `[id, place]`.

        Raises:
            OverflowError
            StoreUnavailable
        """
        return add_up(self.rows(), self.ids, width=self._width)

    def receive(self) -> list[bytes]:
        """Return the answers of the shards.

        Raises:
            StoreUnavailable
        """
        try:
            return [self._receive(shard) for shard in self._queries]
        finally:
            self.abandon()  # if one shard has failed

    def rows(self) -> list[Ints]:
        """Return the rows of all shards: the columns id, place and count.

        Raises:
            StoreUnavailable
        """
        found = [decode_blocks(body, _COLUMNS) for body in self.receive()]
        empty = [np.zeros(0, np.int64) for _ in _COLUMNS]
        return [np.concatenate(columns) for columns in zip(empty, *found, strict=True)]

    def _send(self, shard: int) -> tuple[Replica, Answer] | None:
        """Send the query to the first replica that can be connected to."""
        replicas = self._in_sync[shard]
        for replica in replicas:
            timeout_s = _FIRST_TIMEOUT_S if len(replicas) > 1 else _TIMEOUT_S
            try:
                return replica, replica.server.send(self._queries[shard], timeout_s=timeout_s)
            except Unreachable:
                self._replicas.avoid(replica)
        return None

    def _receive(self, shard: int) -> bytes:
        """Read the answer, or that of another replica if this one does not answer."""
        reason: Exception | None = None
        replicas = self._in_sync[shard]
        if (sent := self._sent[shard]) is not None:
            first, answer = sent
            try:
                return answer.read()
            except (Unreachable, Refused) as error:
                reason = error
                self._replicas.avoid(first)
                replicas = [each for each in replicas if each is not first] or [first]
        return run_at_first(self._replicas, replicas, query=self._queries[shard], reason=reason)


def run_at_first(
    in_sync_set: InSyncSet,
    replicas: Sequence[Replica],
    *,
    query: str,
    reason: Exception | None = None,
) -> bytes:
    """Run a query at the first replica that answers. `reason` says why others did not.

    Raises:
        StoreUnavailable
    """
    for replica in replicas:
        try:
            return replica.server.run(query, timeout_s=_TIMEOUT_S)
        except (Unreachable, Refused) as error:
            reason = error
            in_sync_set.avoid(replica)
    raise StoreUnavailable(NAME, str(reason or "no replica is in sync")) from reason
