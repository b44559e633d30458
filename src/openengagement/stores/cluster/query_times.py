"""How long the queries to each server took: noted by every server of the product, and added up."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
import psycopg

from openengagement.stores.cluster.replicas import Replica

_NOTE: Final = """
INSERT INTO query_times (shard, replica, kind, count, failures, sum_s, max_s)
VALUES (%(shard)s, %(replica)s, %(kind)s, %(count)s, %(failures)s, %(sum_s)s, %(max_s)s)
"""
_CLEAR: Final = "DELETE FROM query_times WHERE ended_at < now() - interval '10 minutes'"
_READ: Final = """
SELECT shard, replica, kind, sum(count)::bigint, sum(failures)::bigint,
    1000 * sum(sum_s) / sum(count), 1000 * max(max_s)
FROM query_times WHERE ended_at > now() - interval '1 minute' GROUP BY shard, replica, kind
"""


class QueryTimes(msgspec.Struct, kw_only=True):
    """The queries of one kind to one server in the last minute, by all servers of the product."""

    count: int
    failures: int
    mean_ms: float
    max_ms: float


def note(db: psycopg.Connection[Any], replicas: Iterable[Replica]) -> None:
    """Note the queries of this process since the last call."""
    for replica in replicas:
        for kind, each in replica.server.times.take().items():
            place = {"shard": replica.shard, "replica": replica.number, "kind": kind}
            figures = {"count": each.count, "failures": each.failures}
            db.execute(_NOTE, {**place, **figures, "sum_s": each.sum_s, "max_s": each.max_s})
    db.execute(_CLEAR)


def read(db: psycopg.Connection[Any]) -> dict[tuple[int, int], dict[str, QueryTimes]]:
    """Read the queries of the last minute, by shard and replica, and by kind."""
    found: dict[tuple[int, int], dict[str, QueryTimes]] = {}
    for shard, replica, kind, count, failures, mean_ms, max_ms in db.execute(_READ):
        times = QueryTimes(
            count=count, failures=failures, mean_ms=round(mean_ms, 1), max_ms=round(max_ms, 1)
        )
        found.setdefault((shard, replica), {})[kind] = times
    return found
