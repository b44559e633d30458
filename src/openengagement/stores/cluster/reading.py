"""Read counters. All shards work at the same time, each at a replica in sync."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Final

import numpy as np

from openengagement.engagement.counters import TYPE_BITS, Counters, Ints, sum_rows
from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster.cells import TYPES, add_up
from openengagement.stores.cluster.clickhouse import Answer, Refused, Unreachable
from openengagement.stores.cluster.counting import NAME
from openengagement.stores.cluster.native import decode_blocks, iter_blocks
from openengagement.stores.cluster.replicas import InSync, InSyncSet, Replica
from openengagement.stores.cluster.routing import split_ids

# A server that does not answer within this time is avoided, and the next replica is asked.
_FIRST_TIMEOUT_S: Final = 0.5
_TIMEOUT_S: Final = 3.0


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
        where = f"hour = 0 AND type < {TYPES}"
        return self._start(ids, in_sync, place="type", where=where, width=TYPES)

    def start_buckets(
        self, ids: Sequence[int], in_sync: InSync, *, types: Sequence[int], hours: range
    ) -> "Reading":
        """Begin to read counts, `[id, index in types * len(hours) + index in hours]`.

        `types` are the numbers of types, each once.
        """
        listed = ",".join(map(str, types))
        return self._start(
            ids,
            in_sync,
            place=f"{_index_in(types)} * {len(hours)} + hour - {hours.start + 1}",
            where=f"hour > {hours.start} AND hour <= {hours.stop} AND type IN ({listed})",
            width=len(types) * len(hours),
        )

    def read_all(self, ids: Sequence[int]) -> tuple[Counters, Counters]:
        """Read everything that is known of some ids: the hours, and the totals.

        Raises:
            StoreUnavailable
        """
        reading = Reading(self._replicas, self._replicas.read(), ids=ids, query=_everything)
        found = [decode_blocks(body, ("tweet_id", "cell", "n")) for body in reading.receive()]
        row_ids, cells, counts = (np.concatenate(columns) for columns in zip(*found, strict=True))
        hourly = cells >= 1 << TYPE_BITS
        hours = sum_rows(row_ids[hourly], cells[hourly] - (1 << TYPE_BITS), counts=counts[hourly])
        totals = sum_rows(row_ids[~hourly], cells[~hourly], counts=counts[~hourly])
        return hours, totals

    def _start(
        self, ids: Sequence[int], in_sync: InSync, *, place: str, where: str, width: int
    ) -> "Reading":
        starts = {each: number * width for number, each in enumerate(ids)}

        def query(some: Sequence[int]) -> str:
            given = {each: starts[each] for each in some}
            return _placed_counts(given, place=place, where=where)

        return Reading(self._replicas, in_sync, ids=ids, query=query, width=width)


def _index_in(types: Sequence[int]) -> str:
    """Return the expression for the index of a row's type in these."""
    before = ",".join(map(str, types))
    after = ",".join(map(str, range(len(types))))
    if before == after:
        return "toUInt32(type)"
    return (
        f"transform(toUInt32(type), CAST('[{before}]' AS Array(UInt32)), "
        f"CAST('[{after}]' AS Array(UInt32)), toUInt32(0))"
    )


def _placed_counts(starts: Mapping[int, int], *, place: str, where: str) -> str:
    """Ask for counts and for their places in the result: the start of the id, and `place`.

    An id in each row would double the answer. The rows are not added up, because that takes longer
    than to send all of them.
    """
    ids, places = ",".join(map(str, starts)), ",".join(map(str, starts.values()))
    # Arrays as text: 18.16 has no common type for the literals of a large id and a negative one.
    first = (
        f"transform(tweet_id, CAST('[{ids}]' AS Array(Int64)), "
        f"CAST('[{places}]' AS Array(Int64)), toInt64(0))"
    )
    return (
        f"SELECT toUInt32(toUInt32({first}) + {place}) AS place, n FROM cells "  # noqa: S608
        f"PREWHERE tweet_id IN ({ids}) WHERE {where} FORMAT Native"
    )


def _everything(ids: Sequence[int]) -> str:
    return (
        f"SELECT tweet_id, toInt64(hour) * {1 << TYPE_BITS} + type AS cell, n FROM cells "  # noqa: S608
        f"PREWHERE tweet_id IN ({','.join(map(str, ids))}) WHERE type < {TYPES} FORMAT Native"
    )


class Reading:
    """A read that has begun. Each shard that has some of the ids works on it.

    `query` makes the query for the ids of a shard. `width` is the number of counts of an id.
    """

    def __init__(
        self,
        replicas: InSyncSet,
        in_sync: InSync,
        *,
        ids: Sequence[int],
        query: Callable[[Sequence[int]], str],
        width: int = 0,
    ) -> None:
        self._replicas = replicas
        self._in_sync = in_sync
        self.ids = ids
        self._width = width
        self._queries = {
            shard: query(some)
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
        bodies = self.receive()
        sums = add_up(
            lambda: chain.from_iterable(iter_blocks(body, ("place", "n")) for body in bodies),
            size=len(self.ids) * self._width,
        )
        return sums.reshape(len(self.ids), self._width)

    def receive(self) -> list[bytes]:
        """Return the answers of the shards.

        Raises:
            StoreUnavailable
        """
        try:
            return [self._receive(shard) for shard in self._queries]
        finally:
            self.abandon()  # if one shard has failed

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
    timeout_s: float = _TIMEOUT_S,
) -> bytes:
    """Run a query at the first replica that answers. `reason` says why others did not.

    Raises:
        StoreUnavailable
    """
    for replica in replicas:
        try:
            return replica.server.run(query, timeout_s=timeout_s)
        except (Unreachable, Refused) as error:
            reason = error
            in_sync_set.avoid(replica)
    raise StoreUnavailable(NAME, str(reason or "no replica is in sync")) from reason
