"""Insert the blocks of flights into ClickHouse, each exactly once.

A block carries a marker row. Before a block is inserted again, the marker is looked up: ClickHouse
drops a repeated block too, but forgets a block after some ten thousand newer ones.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster.clickhouse import Answer, Refused, Unreachable
from openengagement.stores.cluster.ledger import Flight
from openengagement.stores.cluster.replicas import InSyncSet, Replica
from openengagement.stores.cluster.tables import MARKER, insert_settings

NAME: Final = "counters"
# A replica that does not answer in time is put out. If no other one is in sync, it gets more time.
_TIMEOUT_S: Final = 0.8
_ALONE_TIMEOUT_S: Final = 8.0
_BYTES_PER_S_MIN: Final = 20_000_000  # large blocks get more time
_INSERT: Final = "INSERT INTO cells FORMAT Native"
_FIND: Final = "SELECT 1 FROM cells PREWHERE tweet_id = {id} WHERE type = {type} LIMIT 1 FORMAT TSV"


class Inserter:
    """Inserts the blocks of flights."""

    def __init__(self, replicas: InSyncSet) -> None:
        self._replicas = replicas

    def insert(self, flight: Flight, *, repeated: bool) -> None:
        """Insert a flight's blocks. Return when every replica in sync has them.

        `repeated` tells whether somebody may have inserted some of the blocks before.

        Raises:
            StoreUnavailable: try again, with `repeated`.
        """
        blocks = {shard: block for shard, block in enumerate(flight.blocks) if block is not None}
        inserted = {} if repeated else self._insert_at_once(blocks, token=flight.token)
        for shard in sorted(set(blocks) - set(inserted)):
            in_sync = self._replicas.read()[shard]  # without those that were just put out
            if repeated:
                # ClickHouse may have forgotten a block that a replica which is out still has.
                in_sync = [each for each in in_sync if self._replicas.has_all(each)]
            inserted[shard] = self._insert_again(in_sync, blocks[shard], token=flight.token)
        extra_s = max(map(len, blocks.values())) / _BYTES_PER_S_MIN
        if failed := self._replicas.sync(inserted, extra_s=extra_s):
            error = next(iter(failed.values()))
            raise StoreUnavailable(NAME, str(error)) from error

    def _insert_at_once(self, blocks: Mapping[int, bytes], *, token: int) -> dict[int, Replica]:
        """Insert into all shards at the same time. Return where that has succeeded."""
        in_sync = self._replicas.read()
        sent: dict[int, tuple[Replica, Answer]] = {}
        for shard, block in blocks.items():
            for replica in in_sync[shard][:1]:
                try:
                    answer = _send(replica, block, token=token, alone=len(in_sync[shard]) == 1)
                    sent[shard] = replica, answer
                except Unreachable:
                    self._replicas.put_out(replica)
        done: dict[int, Replica] = {}
        for shard, (replica, answer) in sent.items():
            try:
                answer.read()
                done[shard] = replica
            except Unreachable:
                self._replicas.put_out(replica)
            except Refused:
                pass  # the reason is found when it is tried again
        return done

    def _insert_again(self, replicas: Sequence[Replica], block: bytes, *, token: int) -> Replica:
        """Insert one block, unless it is there already, at the first replica that answers.

        Replicas that did not answer lately are asked last. If another replica has the block, and
        died before this one fetched it, ClickHouse drops it here: it must come from there.

        Raises:
            StoreUnavailable
        """
        reason: Exception | None = None
        alone = len(replicas) == 1
        for replica in sorted(replicas, key=self._replicas.is_avoided):
            try:
                if _has(replica, token, alone=alone):
                    return replica
                _send(replica, block, token=token, alone=alone).read()
                if _has(replica, token, alone=alone):
                    return replica
                # It was dropped: the replica has to fetch it from the one that has it.
                if self._replicas.fetch_all(replica) and _has(replica, token, alone=alone):
                    return replica
                reason = Refused(0, f"{replica.server.name} waits for another replica")
            except Unreachable as error:
                reason = error
                self._replicas.put_out(replica)
            except Refused as error:
                reason = error
        why = reason or "no replica in sync has every block"
        raise StoreUnavailable(NAME, str(why)) from reason


def _has(replica: Replica, token: int, *, alone: bool) -> bool:
    """Whether a replica has the block of a flight."""
    query = _FIND.format(id=-token, type=MARKER)
    return bool(replica.server.run(query, timeout_s=_ALONE_TIMEOUT_S if alone else _TIMEOUT_S))


def _send(replica: Replica, block: bytes, *, token: int, alone: bool) -> Answer:
    """Send a block. `alone` tells whether no other replica is in sync."""
    settings = insert_settings(replica.version, token)
    timeout_s = (_ALONE_TIMEOUT_S if alone else _TIMEOUT_S) + len(block) / _BYTES_PER_S_MIN
    return replica.server.send(_INSERT, block, timeout_s=timeout_s, settings=settings)
