"""Everything in an embedded store, for a move (see `stores.inventory`).

A store is sealed by triggers: they refuse every change in the transaction that would make it, also
one of a process that is not of this version. Flush and compaction go on.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import polars as pl

from openengagement.engagement.counters import Counters, Ints, cut, merge_at_once, to_totals
from openengagement.engagement.differences import between, find_after, plain_form
from openengagement.engagement.tweets import TWEET_SCHEMA
from openengagement.engagement.types import ID_MAX
from openengagement.engagement.videos import VIDEO_VIEWS
from openengagement.files import hold_lock
from openengagement.sqlite_files import count_commit
from openengagement.stores.embedded import tweets
from openengagement.stores.embedded.database import Database
from openengagement.stores.embedded.reading import SegmentReader
from openengagement.stores.inventory import PROGRESS, KeyRow

_TWEETS: Final = """
SELECT tweet_id, author_id, created_at_s, video_id, deleted, coalesce(text, ''), coalesce(url, ''),
    coalesce(thumbnail_url, '')
FROM tweets LEFT JOIN videos USING (video_number) LEFT JOIN contents USING (tweet_id)
WHERE tweet_id > ? ORDER BY tweet_id LIMIT ?
"""
# Forgotten videos have no id any more, but a text that begins with a control character.
_VIDEOS: Final = """
SELECT video_number, video_id FROM videos
WHERE video_number > ? AND substr(video_id, 1, 1) <> char(1) ORDER BY video_number LIMIT ?
"""
_KEYS: Final = """
SELECT applied_at_s, key, digest, outcome FROM batches
WHERE applied_at_s >= ?1 AND (applied_at_s > ?1 OR key > ?2) ORDER BY applied_at_s, key LIMIT ?3
"""
_EMPTY: Final = """
SELECT NOT EXISTS (SELECT 1 FROM tweets) AND NOT EXISTS (SELECT 1 FROM segments)
    AND NOT EXISTS (SELECT 1 FROM batches)
    AND NOT EXISTS (SELECT 1 FROM positions WHERE source <> ?)
"""
_SEAL: Final = """
CREATE TRIGGER IF NOT EXISTS sealed_{table}_{change} BEFORE {change} ON {table} {condition}
BEGIN SELECT RAISE(ABORT, '{reason}'); END
"""
# A merge also inserts a segment, but a file.
_COMMITS: Final = "WHEN new.body IS NOT NULL"
_SEALED: Final = [
    ("segments", "INSERT", _COMMITS),
    *(
        (table, change, "")
        for table in ("tweets", "videos", "contents", "batches", "positions")
        for change in ("INSERT", "UPDATE", "DELETE")
    ),
]
_NAMES: Final = """
SELECT name FROM sqlite_schema WHERE type = 'trigger' AND substr(name, 1, 7) = 'sealed_'
"""


class EmbeddedInventory:
    """Implements `Inventory`."""

    def __init__(self, database: Database, reader: SegmentReader) -> None:
        self._database = database
        self._reader = reader

    def is_empty(self) -> bool:
        return bool(self._select(_EMPTY, PROGRESS)[0][0])

    def count(self) -> tuple[int, int]:
        rows = sum(hours.rows for hours in self._parts()[0])
        return rows, self._select("SELECT count(*) FROM tweets")[0][0]

    def cut(self, after_id: int) -> int:
        hours, totals = self._parts()
        parts = [part for part in (*hours, *totals) if len(part.ids)]
        starts = [find_after(part, after_id) for part in parts]
        piece = next(cut(parts, starts=starts), [])
        return max((int(part.ids[-1]) for part in piece if len(part.ids)), default=ID_MAX)

    def read_counters(self, after_id: int, last_id: int) -> Counters:
        hours, totals = (
            merge_at_once(between(parts, after_id=after_id, last_id=last_id))
            for parts in self._parts()
        )
        return plain_form(hours, to_totals(totals))

    def _parts(self) -> tuple[list[Counters], list[Counters]]:
        """Return the counters by the hour, and those that add up to the totals."""
        segments = self._reader.read_newest().by_id.values()
        return [each.hours for each in segments], [each.summable for each in segments]

    def next_tweets(self, after_id: int, limit: int) -> pl.DataFrame:
        return _frame(self._select(_TWEETS, after_id, limit))

    def next_videos(self, after_number: int, limit: int) -> list[tuple[int, str]]:
        return self._select(_VIDEOS, after_number, limit)

    def number_videos(self, video_ids: Sequence[str]) -> Mapping[str, int]:
        with self._database.writing() as db:
            return tweets.number_ids(db, video_ids)

    def read_views(self, numbers: Sequence[int]) -> list[int]:
        sums: Ints = self._reader.read_newest().read_totals([-number for number in numbers])
        views: list[int] = sums[:, VIDEO_VIEWS].tolist()
        return views

    def next_keys(self, after: tuple[int, bytes], limit: int) -> list[KeyRow]:
        return [KeyRow(*row) for row in self._select(_KEYS, *after, limit)]

    def list_positions(self) -> Mapping[str, bytes]:
        return dict(self._select("SELECT source, position FROM positions"))

    def wait_for_commits(self) -> None:
        """Return at once: a commit is readable when its transaction has ended."""

    def quiet(self) -> AbstractContextManager[object]:
        return hold_lock(self._database.path.with_name("erasure.lock"))

    def seal(self, reason: str) -> None:
        statements = [
            _SEAL.format(table=table, change=change, condition=condition, reason=reason)
            for table, change, condition in _SEALED
        ]
        self._run(statements)

    def release(self) -> None:
        self._run([f"DROP TRIGGER {name}" for (name,) in self._select(_NAMES)])

    def is_sealed(self) -> bool:
        return bool(self._select(_NAMES))

    def _run(self, statements: Sequence[str]) -> None:
        with self._database.writing() as db:
            changes = db.total_changes
            for statement in statements:
                db.execute(statement)
            if db.total_changes == changes:  # `writing` counts only commits that change rows
                count_commit(db.execute)

    def _select(self, query: str, *values: object) -> list[Any]:
        with self._database.snapshot() as db:
            return db.execute(query, values).fetchall()


def _frame(rows: Sequence[Sequence[object]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema={**TWEET_SCHEMA, "deleted": pl.Int64()}, orient="row")
    return frame.with_columns(pl.col("deleted").cast(pl.Boolean()))
