"""PostgreSQL 15: COPY of folded deltas into a staging table, then INSERT ... ON CONFLICT DO UPDATE.

One row per Tweet and hour with a column per event type: fewer rows than one per counter. Two
connections upsert half of the waiting batches each, split by Tweet so that they never wait for each
other. Each half is one transaction with the keys of its batches.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import fold
import polars as pl
import postgresql_server
import psycopg
from contender import Contender, Words

CONNECTIONS = 2
Halves = list[bytes]
# Log files to reuse, as on a server that has run for a while: as much as
# `min_wal_size` keeps.
_FILL_LOG = """
SELECT pg_logical_emit_message(false, '', repeat('x', 8000000)) FROM generate_series(1, 250)
"""


class Postgresql(Contender):
    """Stores hours only; totals are their sums, which saves half of the upserts."""

    together = 4
    durable = True
    how = "synchronous_commit=on"

    def __init__(self, connections: Sequence[psycopg.Connection], words: Words) -> None:
        self._connections = connections
        self._words = words
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(CONNECTIONS)
        self._db = connections[0]
        self.version = self._value("SHOW server_version").split()[0]
        columns = ", ".join(f"{name} integer NOT NULL" for name in words.types)
        added = ", ".join(f"{name} = hours.{name} + excluded.{name}" for name in words.types)
        self._upsert = (
            "INSERT INTO hours SELECT * FROM staged ORDER BY tweet_id, hour "
            f"ON CONFLICT (tweet_id, hour) DO UPDATE SET {added}"
        )
        self._db.execute(
            f"CREATE TABLE hours (tweet_id bigint, hour integer, {columns}, "
            "PRIMARY KEY (tweet_id, hour))"
        )
        self._db.execute("CREATE TABLE batches (key text PRIMARY KEY)")
        self._db.execute(_FILL_LOG)
        self._db.execute("CHECKPOINT")
        for each in connections:
            each.execute("CREATE TEMPORARY TABLE staged (LIKE hours) ON COMMIT DELETE ROWS")
        sums_of = (f"sum({' + '.join(words.parts(name))})" for name in words.totals)
        self._totals = (
            f"SELECT tweet_id, {', '.join(sums_of)} FROM hours WHERE tweet_id = ANY(%s) "
            "GROUP BY tweet_id"
        )

    def prepare(self, paths: Sequence[Path]) -> Halves:
        deltas = fold.read_deltas(paths, self._words.types)
        rows = fold.by_hour(deltas, self._words.types)
        half = pl.col("tweet_id") % CONNECTIONS
        return [rows.filter(half == index).write_csv(None).encode() for index in range(CONNECTIONS)]

    def apply(self, keys: Sequence[str], prepared: Halves) -> None:
        halves = [[f"{key}/{index}" for key in keys] for index in range(CONNECTIONS)]
        with self._lock:
            list(self._pool.map(self._apply_half, self._connections, halves, prepared))

    def _apply_half(self, db: psycopg.Connection, keys: Sequence[str], rows: bytes) -> None:
        with db.transaction():
            claim = "INSERT INTO batches SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"
            fresh = db.execute(claim, [keys]).rowcount
            if fresh == 0:
                return
            if fresh < len(keys):
                raise RuntimeError("some of these batches were counted")
            with db.cursor().copy("COPY staged FROM STDIN (FORMAT csv, HEADER)") as copy:
                copy.write(rows)
            db.execute(self._upsert)

    def compact(self) -> None:
        self._db.execute("VACUUM ANALYZE hours")
        self._db.execute("CHECKPOINT")

    def sums(self) -> dict[str, int]:
        sums = ", ".join(f"sum({name})" for name in self._words.types)
        row = self._db.execute(f"SELECT {sums} FROM hours").fetchone()
        return dict(zip(self._words.types, map(int, row), strict=True))

    def totals(self, tweet_ids: Sequence[int]) -> dict[int, list[int]]:
        rows = self._db.execute(self._totals, [list(tweet_ids)])
        return {tweet_id: list(counts) for tweet_id, *counts in rows}

    def disk_bytes(self) -> int:
        return int(self._value("SELECT pg_total_relation_size('hours')"))

    def _value(self, statement: str) -> str:
        return self._db.execute(statement).fetchone()[0]


@contextmanager
def opened(_folder: Path, words: Words) -> Iterator[Postgresql]:
    """Open a new cluster, next to `_folder`, where its unprivileged user has access."""
    with postgresql_server.running() as server, ExitStack() as stack:
        connections = [
            stack.enter_context(
                psycopg.connect(
                    host=str(server.socket), user=server.user, dbname="postgres", autocommit=True
                )
            )
            for _ in range(CONNECTIONS)
        ]
        yield Postgresql(connections, words)
