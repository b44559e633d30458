"""The servers of a cluster, and which of them are in sync.

A shard has one replica or more. Of those that are *in sync*, each has every acknowledged commit: a
commit is acknowledged when all of them have it. A replica that does not answer in time is put out,
unless it is the last one in sync. It joins again once it has fetched what it missed. PostgreSQL
holds the states, so all servers of the product use the same ones. Kafka calls this the in-sync set.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from openengagement.stores.cluster.clickhouse import Answer, Refused, Server, Unreachable

Connect = Callable[[], AbstractContextManager[psycopg.Connection[Any]]]
# Shard, replica, state, and the number of changes of the state.
States = list[tuple[int, int, int, int]]

OUT: Final = 0
JOINING: Final = 1  # it gets every commit, but is not read yet
IN_SYNC: Final = 2
_ZOOKEEPER_LOST: Final = {225, 242, 999}  # error codes
_AVOIDED_S: Final = 2.0  # a server that did not answer is asked last for this long
_SYNC_TIMEOUT_S: Final = 1.0
_JOIN_TIMEOUT_S: Final = 10.0
_SYNC: Final = "SYSTEM SYNC REPLICA cells"
_HEALTH: Final = """
SELECT toUInt8(is_readonly OR is_session_expired) AS ill FROM system.replicas
WHERE database = currentDatabase() AND table = 'cells' FORMAT TSV
"""
_STATES: Final = "SELECT shard, replica, state, changes FROM replicas ORDER BY shard, replica"
# Two servers could put out each other's last replica. So one at a time may put one out.
_LOCK: Final = "SELECT pg_advisory_xact_lock(7106908)"
_PUT_OUT: Final = f"""
UPDATE replicas SET state = {OUT}, changes = changes + 1
WHERE shard = %(shard)s AND replica = %(replica)s AND EXISTS (
    SELECT FROM replicas AS other
    WHERE other.shard = %(shard)s AND other.replica <> %(replica)s AND other.state = {IN_SYNC}
)
"""  # noqa: S608 (no text of a user is in it)
_CHANGE: Final = """
UPDATE replicas SET state = %(state)s, changes = changes + 1
WHERE shard = %(shard)s AND replica = %(replica)s AND changes = %(changes)s
"""


@dataclass(frozen=True, slots=True)
class Replica:
    """One server, and its place in the cluster. Both numbers begin at 1."""

    shard: int
    number: int
    server: Server
    version: int  # ClickHouse's major version


InSync = list[list[Replica]]  # by shard; those that answered lately come first


class InSyncSet:
    """The replicas of each shard, with their states."""

    def __init__(self, replicas: Sequence[Replica], connect: Connect) -> None:
        self._connect = connect
        self.shards = [
            [each for each in replicas if each.shard == shard]
            for shard in sorted({each.shard for each in replicas})
        ]
        self.replicated = any(len(shard) > 1 for shard in self.shards)
        self._avoided: dict[str, float] = {}
        self.known: States = []

    def read(self) -> InSync:
        """Read the states. Return the replicas in sync of each shard."""
        if self.replicated:
            with self._connect() as db:
                self.known = read_states(db).fetchall()
        return self.last_known()

    def last_known(self) -> InSync:
        """Return the replicas that were in sync when the states were last read."""
        return [
            sorted(shard, key=self.is_avoided) for shard in self._with_state(self.known, {IN_SYNC})
        ]

    def close(self) -> None:
        """Close all connections."""
        for replica in self.all():
            replica.server.close()

    def all(self) -> Iterable[Replica]:
        """Return all replicas, in sync or not."""
        return (replica for shard in self.shards for replica in shard)

    def avoid(self, replica: Replica) -> None:
        """Ask this replica last for a while, because it did not answer."""
        self._avoided[replica.server.name] = time.monotonic() + _AVOIDED_S

    def is_avoided(self, replica: Replica) -> bool:
        """Whether this replica did not answer lately."""
        return self._avoided.get(replica.server.name, 0) > time.monotonic()

    def put_out(self, replica: Replica) -> bool:
        """Put a replica out of the set. False if it is the last one of its shard."""
        self.avoid(replica)
        if not self.replicated:
            return False
        place = {"shard": replica.shard, "replica": replica.number}
        with self._connect() as db, db.transaction():
            db.execute(_LOCK)
            return db.execute(_PUT_OUT, place).rowcount > 0

    def sync(self, inserted: Mapping[int, Replica]) -> dict[int, Exception]:
        """Wait until all replicas of some shards that are in sync, or join, have what one has.

        `inserted` holds that one for each shard, counted from 0. Return the shards where that
        failed, with the reason.
        """
        failed: dict[int, Exception] = {}
        if not self.replicated:
            return failed
        done = {(shard, each.number) for shard, each in inserted.items()}
        while waiting := [
            replica
            for shard, members in enumerate(self._members())
            for replica in members
            if shard in inserted and shard not in failed and (shard, replica.number) not in done
        ]:
            done |= {(replica.shard - 1, replica.number) for replica in waiting}
            for replica, error in _sync_all(waiting):
                shard = replica.shard - 1
                source = inserted[shard]
                if _is_healthy(source):
                    if not self.put_out(replica):
                        failed[shard] = error
                    continue
                # It may have waited for the source. It has everything that was acknowledged.
                failed[shard] = error
                if not (isinstance(error, Refused) and error.code in _ZOOKEEPER_LOST):
                    self.put_out(source)
        return failed

    def rejoin(self) -> None:
        """Let replicas join again that are out and work."""
        if not self.replicated:
            return
        with self._connect() as db:
            states = read_states(db).fetchall()
        replicas = {(each.shard, each.number): each for each in self.all()}
        for shard, number, state, changes in states:
            replica = replicas.get((shard, number))
            if replica is not None and state != IN_SYNC:
                self._rejoin(replica, state, changes=changes)

    def _rejoin(self, replica: Replica, state: int, *, changes: int) -> None:
        try:
            if not _is_healthy(replica):
                return
            if state == OUT:
                if not self._change(replica, to=JOINING, changes=changes):
                    return
                changes += 1
            replica.server.run(_SYNC, timeout_s=_JOIN_TIMEOUT_S)
            if _is_healthy(replica):
                self._change(replica, to=IN_SYNC, changes=changes)
        except (Unreachable, Refused):
            return

    def _members(self) -> InSync:
        with self._connect() as db:
            return self._with_state(read_states(db).fetchall(), {JOINING, IN_SYNC})

    def _with_state(self, states: States, wanted: set[int]) -> InSync:
        if not self.replicated:
            return self.shards
        known = {row[:2]: row[2] for row in states}
        return [
            [each for each in shard if known.get((each.shard, each.number)) in wanted]
            for shard in self.shards
        ]

    def _change(self, replica: Replica, *, to: int, changes: int) -> bool:
        """Change the state of a replica, unless somebody else did so meanwhile."""
        place = {"shard": replica.shard, "replica": replica.number}
        with self._connect() as db:
            return db.execute(_CHANGE, {**place, "state": to, "changes": changes}).rowcount > 0


def read_states(db: psycopg.Connection[Any]) -> psycopg.Cursor[Any]:
    """Read `States`. If two are equal, there was no other state between."""
    return db.execute(_STATES)


def _sync_all(replicas: Sequence[Replica]) -> list[tuple[Replica, Exception]]:
    """Let replicas fetch what they miss, all at the same time. Return those that have failed."""
    failed: list[tuple[Replica, Exception]] = []
    sent: list[tuple[Replica, Answer]] = []
    for replica in replicas:
        try:
            sent.append((replica, replica.server.send(_SYNC, timeout_s=_SYNC_TIMEOUT_S)))
        except Unreachable as error:
            failed.append((replica, error))
    for replica, answer in sent:
        try:
            answer.read()
        except (Unreachable, Refused) as error:
            failed.append((replica, error))
    return failed


def _is_healthy(replica: Replica) -> bool:
    """Whether it answers, is connected to ZooKeeper and accepts inserts."""
    try:
        return replica.server.run(_HEALTH, timeout_s=_SYNC_TIMEOUT_S).strip() == b"0"
    except (Unreachable, Refused):
        return False
