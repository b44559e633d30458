"""The servers of a cluster, and which of them are in sync.

A shard has one replica or more. Of those that are *in sync*, each has every acknowledged commit: a
commit is acknowledged when all of them have it. A replica that does not answer in time is put out,
unless it is the last one in sync. It joins again once it has fetched what it missed. PostgreSQL
holds the states, so all servers of the product use the same ones. Kafka calls this the in-sync set.
"""

import math
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
_AVOIDED_S: Final = 2.0  # a server that did not answer is asked last for this long
# In the worst case, a commit waits for an insert, then for both of these: under two seconds.
_SYNC_TIMEOUT_S: Final = 0.7
_HEALTH_TIMEOUT_S: Final = 0.3
_JOIN_TIMEOUT_S: Final = 2.0
_SYNC: Final = "SYSTEM SYNC REPLICA cells"
_HEALTH: Final = """
SELECT toUInt8(is_readonly OR is_session_expired) AS ill FROM system.replicas
WHERE database = currentDatabase() AND table = 'cells' FORMAT TSV
"""
# The same, and whether blocks are to be fetched that it knows of.
_BEHIND: Final = _HEALTH.replace("is_session_expired", "is_session_expired OR inserts_in_queue > 0")
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

    def has_all(self, replica: Replica) -> bool:
        """Whether a replica has every block that another one of its shard has."""
        return not self.replicated or bool(_caught_up([replica], timeout_s=_SYNC_TIMEOUT_S))

    def fetch_all(self, replica: Replica) -> bool:
        """Wait until a replica has every block that another one has. False if it takes too long."""
        return not self.replicated or not _sync([replica], timeout_s=_SYNC_TIMEOUT_S)

    def sync(self, inserted: Mapping[int, Replica], *, extra_s: float) -> dict[int, Exception]:
        """Wait until all replicas of some shards that are in sync, or join, have what one has.

        `inserted` holds that one for each shard, counted from 0. Large blocks get extra time.
        Return the shards where that failed, with the reason.
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
            late = _sync(waiting, timeout_s=_SYNC_TIMEOUT_S + extra_s)
            sources = {replica: inserted[replica.shard - 1] for replica in late}
            healthy = _healthy({*sources, *sources.values()})
            for replica, source in sources.items():
                if source in healthy:
                    if self.put_out(replica):
                        continue
                elif replica in healthy:
                    # It waits for the source. It has everything that was acknowledged.
                    self.put_out(source)
                failed[replica.shard - 1] = late[replica]
        return failed

    def rejoin(self) -> None:
        """Let replicas join again that are out and work."""
        if not self.replicated:
            return
        with self._connect() as db:
            states = read_states(db).fetchall()
        replicas = {(each.shard, each.number): each for each in self.all()}
        known = {
            replicas[shard, number]: (state, changes)
            for shard, number, state, changes in states
            if (shard, number) in replicas and state != IN_SYNC
        }
        # While a replica is out, no commit waits for it: it catches up before it joins.
        ready = _caught_up(known, timeout_s=_JOIN_TIMEOUT_S)
        joining: dict[Replica, int] = {}
        for replica in ready:
            state, changes = known[replica]
            if state == JOINING:
                joining[replica] = changes
            elif self._change(replica, to=JOINING, changes=changes):
                joining[replica] = changes + 1
        late = _sync(joining, timeout_s=_JOIN_TIMEOUT_S)
        for replica in _healthy(each for each in joining if each not in late):
            self._change(replica, to=IN_SYNC, changes=joining[replica])

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


def _ask_all(
    replicas: Iterable[Replica],
    query: str,
    *,
    timeout_s: float,
    settings: Mapping[str, str] | None = None,
) -> dict[Replica, bytes | Exception]:
    """Run a query on some replicas at the same time. Return the answers, or the errors."""
    answers: dict[Replica, bytes | Exception] = {}
    sent: dict[Replica, Answer] = {}
    for replica in replicas:
        try:
            sent[replica] = replica.server.send(query, timeout_s=timeout_s, settings=settings)
        except Unreachable as error:
            answers[replica] = error
    for replica, answer in sent.items():
        try:
            answers[replica] = answer.read()
        except (Unreachable, Refused) as error:
            answers[replica] = error
    return answers


def _healthy(replicas: Iterable[Replica], query: str = _HEALTH) -> list[Replica]:
    """Return the replicas that answer, are connected to ZooKeeper and accept inserts."""
    answers = _ask_all(replicas, query, timeout_s=_HEALTH_TIMEOUT_S)
    return [replica for replica, answer in answers.items() if answer == b"0\n"]


def _sync(replicas: Iterable[Replica], *, timeout_s: float) -> dict[Replica, Exception]:
    """Let replicas fetch what they miss. Return those that did not in time, with the reason."""
    # The server gives up, too, when nobody waits any longer. Version 18.16 never does.
    settings = {"receive_timeout": str(math.ceil(timeout_s))}
    answers = _ask_all(replicas, _SYNC, timeout_s=timeout_s, settings=settings)
    return {each: answer for each, answer in answers.items() if isinstance(answer, Exception)}


def _caught_up(replicas: Iterable[Replica], *, timeout_s: float) -> list[Replica]:
    """Return the replicas that work and have every block.

    One that is behind is not asked to sync: while a block cannot be fetched, it would never answer.
    """
    ready = _healthy(replicas, _BEHIND)
    late = _sync(ready, timeout_s=timeout_s)
    return [replica for replica in ready if replica not in late]
