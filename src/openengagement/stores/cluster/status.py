"""The state of a cluster: which servers answer, what lags, what is full, what is under way."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from openengagement.stores.cluster import query_times
from openengagement.stores.cluster.clickhouse import Refused, Unreachable
from openengagement.stores.cluster.layout import ClickhouseUrl, opened
from openengagement.stores.cluster.query_times import QueryTimes
from openengagement.stores.cluster.replicas import IN_SYNC, JOINING, OUT, Replica, read_states
from openengagement.stores.cluster.tables import FLIGHT_DAYS_MAX

_STATES: Final = {OUT: "out of sync", JOINING: "joining", IN_SYNC: "in sync"}
_TIMEOUT_S: Final = 2.0
_LAG_MAX_S: Final = 10
_FLIGHT_MAX_S: Final = 30  # a flight that takes longer is not completed by anybody
_FREE_MIN: Final = 0.05  # of a disk
_PARTS: Final = """
SELECT toUInt64(sum(rows)) AS counters, toUInt64(sum(bytes)) AS bytes, count() AS parts
FROM system.parts WHERE database = currentDatabase() AND table = 'cells' AND active
FORMAT JSONEachRow
"""
_QUEUE: Final = """
SELECT queue_size AS queued, absolute_delay AS lag_s, is_readonly AS read_only
FROM system.replicas WHERE database = currentDatabase() AND table = 'cells' FORMAT JSONEachRow
"""
_DISK: Final = """
SELECT min(free_space / total_space) AS free_share FROM system.disks FORMAT JSONEachRow
"""
_FLIGHTS: Final = f"""
SELECT count(*) FILTER (WHERE recent), count(*) FILTER (WHERE NOT recent),
    coalesce(sum(attempts - 1), 0)::bigint,
    coalesce(extract(epoch FROM now() - min(began_at) FILTER (WHERE recent)), 0)::bigint,
    coalesce(min(reason) FILTER (WHERE reason <> ''), '')
FROM (SELECT *, began_at > now() - interval '{FLIGHT_DAYS_MAX} days' AS recent FROM flights) AS all_
"""  # noqa: S608 (no text of a user is in it)


class ReplicaStatus(msgspec.Struct, kw_only=True):
    """One server. The figures are None if it does not answer, or does not know them."""

    shard: int
    replica: int
    server: str
    state: str
    answers: bool
    counters: int | None = None
    bytes: int | None = None
    parts: int | None = None
    queued: int | None = None
    lag_s: int | None = None
    read_only: int | None = None
    free_share: float | None = None
    queries: dict[str, QueryTimes] = {}


class ClusterStatus(msgspec.Struct, kw_only=True):
    """The whole cluster. `problems` are sentences; without any, it is healthy."""

    healthy: bool
    problems: list[str]
    commits_under_way: int
    commits_set_aside: int
    retries_under_way: int
    oldest_commit_s: int
    replicas: list[ReplicaStatus]


def read_status(postgresql: str, url: ClickhouseUrl) -> ClusterStatus:
    """Ask every server.

    Raises:
        UnusableCluster: `cluster init` was not run, or for other servers.
        StoreUnavailable: PostgreSQL does not answer.
    """
    with opened(postgresql, url) as (db, replicas):
        states = {(shard, number): _STATES[state] for shard, number, state, _ in read_states(db)}
        times = query_times.read(db)
        ((flights, aside, retries, oldest_s, reason),) = db.execute(_FLIGHTS).fetchall()
        found = [_ask(each, states[each.shard, each.number]) for each in replicas]
    for each in found:
        each.queries = times.get((each.shard, each.replica), {})
    problems = [text for each in found for text in _problems_of(each)]
    if oldest_s > _FLIGHT_MAX_S:
        problems.append(f"a commit has been under way for {oldest_s} s: {reason or 'no reason'}")
    if aside:
        problems.append(f"commits set aside, not completed within {FLIGHT_DAYS_MAX} days: {aside}")
    return ClusterStatus(
        healthy=not problems,
        problems=problems,
        commits_under_way=flights,
        commits_set_aside=aside,
        retries_under_way=retries,
        oldest_commit_s=oldest_s,
        replicas=found,
    )


def _ask(replica: Replica, state: str) -> ReplicaStatus:
    found = ReplicaStatus(
        shard=replica.shard,
        replica=replica.number,
        server=replica.server.name,
        state=state,
        answers=False,
    )
    try:
        figures = {**_read(replica, _PARTS), **_read(replica, _QUEUE)}
    except (Unreachable, Refused):
        return found
    with suppress(Unreachable, Refused):  # older versions have no such table
        figures |= _read(replica, _DISK)
    return msgspec.structs.replace(found, answers=True, **figures)


def _read(replica: Replica, query: str) -> Mapping[str, Any]:
    settings = {"output_format_json_quote_64bit_integers": "0"}
    body = replica.server.run(query, timeout_s=_TIMEOUT_S, settings=settings)
    lines: Sequence[bytes] = body.splitlines()
    found: dict[str, Any] = msgspec.json.decode(lines[0]) if lines else {}
    return found


def _problems_of(each: ReplicaStatus) -> list[str]:
    name = f"{each.server} (shard {each.shard}, replica {each.replica})"
    if not each.answers:
        return [f"{name} does not answer"]
    problems = []
    if each.state != _STATES[IN_SYNC]:
        problems.append(f"{name} is {each.state}")
    if each.read_only:
        problems.append(f"{name} is read-only: it has no connection to ZooKeeper")
    if (each.lag_s or 0) > _LAG_MAX_S:
        problems.append(f"{name} is {each.lag_s} s behind")
    if each.free_share is not None and each.free_share < _FREE_MIN:
        problems.append(f"the disk of {name} is nearly full")
    return problems
