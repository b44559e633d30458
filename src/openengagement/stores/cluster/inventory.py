"""Everything in the store of a cluster, for a move (see `stores.inventory`)."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import polars as pl

from openengagement.engagement.counters import TYPE_BITS, Counters, sum_rows
from openengagement.engagement.differences import plain_form
from openengagement.engagement.tweets import TWEET_SCHEMA
from openengagement.engagement.types import ID_MAX
from openengagement.engagement.videos import VIDEO_VIEWS
from openengagement.errors import StoreUnavailable
from openengagement.postgresql import Pool, is_sealed, release_tables, seal_tables
from openengagement.stores.cluster import ledger, tweets
from openengagement.stores.cluster.cells import TYPES
from openengagement.stores.cluster.native import decode_blocks
from openengagement.stores.cluster.reading import CellReader, run_at_first
from openengagement.stores.cluster.replicas import InSyncSet
from openengagement.stores.inventory import NEVER, PROGRESS, KeyRow

_ROWS: Final = 125_000  # of a slice
_TIMEOUT_S: Final = 60.0
_COMMITS_MAX_S: Final = 60.0
_PAUSE_S: Final = 0.05
# Those of which commits, registrations and erasures change at least one. Flights still end.
_SEALED: Final = (
    *("batches", "positions", "tweets", "videos", "contents", "deletions", "large_tweets"),
    "flights INSERT",
)
_CUT: Final = """
SELECT tweet_id AS id FROM cells PREWHERE tweet_id > {after} WHERE type < {types}
ORDER BY tweet_id LIMIT 1 OFFSET {rows} FORMAT Native
"""
_CELLS: Final = """
SELECT tweet_id, toInt64(hour) * {hour} + type AS cell, n FROM cells
PREWHERE tweet_id > {after} AND tweet_id <= {last} WHERE type < {types} FORMAT Native
"""
_COUNT: Final = """
SELECT toInt64(count()) AS n FROM cells WHERE tweet_id > 0 AND hour >= {hour} FORMAT Native
"""
_TWEETS: Final = """
SELECT tweet_id, author_id, created_at_s, video_id, deleted, coalesce(text, ''), coalesce(url, ''),
    coalesce(thumbnail_url, '')
FROM tweets LEFT JOIN videos USING (video_number) LEFT JOIN contents USING (tweet_id)
WHERE tweet_id > %s ORDER BY tweet_id LIMIT %s
"""
_VIDEOS: Final = """
SELECT video_number, video_id FROM videos WHERE video_number > %s ORDER BY video_number LIMIT %s
"""
_KEYS: Final = """
SELECT applied_at_s, key, digest, outcome FROM batches
WHERE applied_at_s >= %(time)s AND (applied_at_s, key) > (%(time)s, %(key)s)
ORDER BY applied_at_s, key LIMIT %(limit)s
"""
_LASTING_KEYS: Final = """
SELECT %(never)s::bigint, key, digest, outcome FROM batches
WHERE applied_at_s IS NULL AND key > %(key)s ORDER BY key LIMIT %(limit)s
"""
_EMPTY: Final = """
SELECT NOT EXISTS (SELECT FROM tweets) AND NOT EXISTS (SELECT FROM batches)
    AND NOT EXISTS (SELECT FROM flights)
    AND NOT EXISTS (SELECT FROM positions WHERE source <> %s)
"""


class ClusterInventory:
    """Implements `Inventory`."""

    def __init__(self, pool: Pool, replicas: InSyncSet, *, reader: CellReader) -> None:
        self._pool = pool
        self._replicas = replicas
        self._reader = reader

    def is_empty(self) -> bool:
        return bool(self._select(_EMPTY, [PROGRESS])[0][0]) and not self._count_cells(hour=0)

    def count(self) -> tuple[int, int]:
        return self._count_cells(hour=1), self._select("SELECT count(*) FROM tweets", [])[0][0]

    def _count_cells(self, *, hour: int) -> int:
        """Count the rows of this stored hour, where 0 is the total, and of later ones."""
        return sum(int(part.sum()) for (part,) in self._ask(_COUNT.format(hour=hour), "n"))

    def cut(self, after_id: int) -> int:
        rows = _ROWS // len(self._replicas.shards)
        query = _CUT.format(after=after_id, types=TYPES, rows=rows)
        found = [int(ids[0]) for (ids,) in self._ask(query, "id") if len(ids)]
        return min(found, default=ID_MAX)

    def read_counters(self, after_id: int, last_id: int) -> Counters:
        query = _CELLS.format(after=after_id, last=last_id, types=TYPES, hour=1 << TYPE_BITS)
        columns = zip(*self._ask(query, "tweet_id", "cell", "n"), strict=True)
        ids, cells, counts = map(np.concatenate, columns)
        hourly = cells >= 1 << TYPE_BITS
        hours = cells[hourly] - (1 << TYPE_BITS)  # bucket h is stored as hour h + 1
        return plain_form(
            sum_rows(ids[hourly], hours, counts=counts[hourly]),
            sum_rows(ids[~hourly], cells[~hourly], counts=counts[~hourly]),
        )

    def next_tweets(self, after_id: int, limit: int) -> pl.DataFrame:
        return _frame(self._select(_TWEETS, [after_id, limit]))

    def next_videos(self, after_number: int, limit: int) -> list[tuple[int, str]]:
        rows = self._select(_VIDEOS, [after_number, limit])
        return [(number, bytes(video_id).decode()) for number, video_id in rows]

    def number_videos(self, video_ids: Sequence[str]) -> Mapping[str, int]:
        with self._pool.connection() as db, db.transaction():
            ledger.own_videos(db)
            return tweets.number_ids(db, video_ids)

    def read_views(self, numbers: Sequence[int]) -> list[int]:
        sums = self._reader.read_totals([-number for number in numbers])
        views: list[int] = sums[:, VIDEO_VIEWS].tolist()
        return views

    def next_keys(self, after: tuple[int, bytes], limit: int) -> list[KeyRow]:
        time_s, key = after
        values = {"time": time_s, "key": key, "limit": limit, "never": NEVER}
        rows = self._select(_KEYS, values) if time_s < NEVER else []
        if not rows:
            values["key"] = key if time_s == NEVER else b""
            rows = self._select(_LASTING_KEYS, values)
        return [KeyRow(row[0], *map(bytes, row[1:])) for row in rows]

    def list_positions(self) -> Mapping[str, bytes]:
        rows = self._select("SELECT source, position FROM positions", [])
        return {source: bytes(position) for source, position in rows}

    def wait_for_commits(self) -> None:
        give_up_s = time.monotonic() + _COMMITS_MAX_S
        while any((flights := self._count_flights()).values()):
            if time.monotonic() > give_up_s or flights["commits_set_aside"]:
                reason = "a commit has not ended; see `openengagement cluster status`"
                raise StoreUnavailable("counters", reason)
            time.sleep(_PAUSE_S)

    def _count_flights(self) -> dict[str, int]:
        with self._pool.connection() as db:
            return ledger.count_flights(db)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        with self._pool.connection() as db, db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(%s)", [ledger.ERASURE_LOCK])
            db.execute("SELECT pg_advisory_xact_lock(%s)", [ledger.DELETION_LOCK])
            yield

    def seal(self, reason: str) -> None:
        with self._pool.connection() as db:
            seal_tables(db, _SEALED, reason=reason)

    def release(self) -> None:
        with self._pool.connection() as db:
            # `batches` last, so that `is_sealed` holds until all are released.
            release_tables(db, [each.partition(" ")[0] for each in reversed(_SEALED)])

    def is_sealed(self) -> bool:
        with self._pool.connection() as db:
            return is_sealed(db, "batches")

    def _ask(self, query: str, *names: str) -> list[list[Any]]:
        """Return these columns of the answer of each shard."""
        return [
            decode_blocks(
                run_at_first(self._replicas, replicas, query=query, timeout_s=_TIMEOUT_S), names
            )
            for replicas in self._replicas.read()
        ]

    def _select(
        self, query: str, values: Sequence[object] | Mapping[str, object]
    ) -> list[tuple[Any, ...]]:
        with self._pool.connection() as db:
            return db.execute(query, values).fetchall()


def _frame(rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    rows = [(*row[:3], row[3] and bytes(row[3]).decode(), *row[4:]) for row in rows]
    return pl.DataFrame(rows, schema=TWEET_SCHEMA, orient="row")
