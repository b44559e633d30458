"""Tweets and counters in one SQLite file: the embedded default.

Layout: one row per (Tweet, hour) and one per Tweet, each with a column per engagement type. A row
holds what a batch usually changes together, so a batch costs few upserts and an answer few rows.

Writers, in every thread and process, take turns by a lock on a file of its own beside the database:
a waiter sleeps in the kernel until its turn, where SQLite's own busy handler would poll and starve.
Checkpoints run inside that turn too, so a write and a checkpoint never meet. Readers take no lock:
the write-ahead log gives each of them a snapshot.
"""

import fcntl
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from openengagement.clock import Clock
from openengagement.engagement.rollup import fits, sum_deltas
from openengagement.engagement.tweets import fold_tweets
from openengagement.engagement.types import DAY_S, TYPE_NAMES, Tweet
from openengagement.stores.contract import Applied, Batch, KeyConflict

SCHEMA_VERSION: Final = 2
_NEVER: Final = 2**62  # "applied" so late that the key does not grow old
# Pages the log may reach before a commit folds it back into the database: 64 MiB.
_CHECKPOINT_PAGES: Final = 16_384
# How much of the file is read in place: shared by all readers, where a cache would be one's own.
_MMAP_BYTES: Final = 2**28
_COUNTS: Final = ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in TYPE_NAMES)
# An author's Tweets, newest first, without a sort and without a look at deleted ones.
_BY_AUTHOR: Final = """
CREATE INDEX tweets_by_author
ON tweets (author_id, deleted, created_at_s DESC, tweet_id DESC)
"""
# STRICT turns a sum past 63 bits, which SQLite would make a float, into an error.
_SCHEMA: Final = f"""
CREATE TABLE tweets (
    tweet_id INTEGER PRIMARY KEY, author_id INTEGER NOT NULL, created_at_s INTEGER NOT NULL,
    video_id INTEGER, deleted INTEGER NOT NULL
) STRICT;
CREATE INDEX tweets_by_video ON tweets (video_id) WHERE video_id IS NOT NULL;
CREATE TABLE totals (tweet_id INTEGER PRIMARY KEY, {_COUNTS}) STRICT;
CREATE TABLE hours (
    tweet_id INTEGER NOT NULL, hour INTEGER NOT NULL, {_COUNTS}, PRIMARY KEY (tweet_id, hour)
) STRICT, WITHOUT ROWID;
CREATE TABLE videos (video_id INTEGER PRIMARY KEY, video_views INTEGER NOT NULL) STRICT;
CREATE TABLE batches (
    key BLOB PRIMARY KEY, digest BLOB NOT NULL, outcome BLOB NOT NULL, applied_at_s INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX batches_by_age ON batches (applied_at_s);
{_BY_AUTHOR}"""
_LIST_TWEETS: Final = """
SELECT tweet_id, author_id, created_at_s FROM tweets WHERE author_id = ? AND deleted = 0
ORDER BY created_at_s DESC, tweet_id DESC LIMIT ?
"""
# Takes the columns of `fold_tweets`. A null keeps what is known, looked up in the same turn.
_REGISTER: Final = """
INSERT INTO tweets VALUES (?1, ?2, coalesce(?3, ?6), ?4, coalesce(?5, 0))
ON CONFLICT (tweet_id) DO UPDATE SET
    author_id = ?2, created_at_s = coalesce(?3, created_at_s),
    video_id = coalesce(?4, video_id), deleted = coalesce(?5, deleted)
"""


class SqliteStore:
    """A `stores.contract.CounterStore` in the file `path`; see there for what it promises."""

    def __init__(self, path: Path, *, clock: Clock, idempotency_keep_days: int) -> None:
        self._path = path
        self._clock = clock
        self._keep_s = idempotency_keep_days * DAY_S
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._open_lock = threading.Lock()
        self._turn = threading.Lock()
        self._turn_file = path.with_suffix(".lock").open("wb")
        try:
            self._make_tables()
        except BaseException:
            self.close()
            raise

    def _make_tables(self) -> None:
        with self._writing() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == SCHEMA_VERSION:
                return
            if version not in {0, 1}:
                raise sqlite3.DatabaseError(f"made by another version of the server ({version})")
            # Version 1 had all but the index of an author's Tweets.
            for statement in _SCHEMA.split(";\n") if version == 0 else [_BY_AUTHOR]:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def apply_batches(self, batches: Sequence[Batch]) -> list[Applied | KeyConflict]:
        answers: list[Applied | KeyConflict] = []
        fresh: list[pl.DataFrame] = []
        with self._writing() as db:
            now_s = int(self._clock.now_s())
            db.execute("DELETE FROM batches WHERE applied_at_s < ?", (now_s - self._keep_s,))
            for batch in batches:
                answer = self._claim(db, batch, now_s=now_s)
                answers.append(answer)
                if isinstance(answer, Applied) and not answer.duplicate:
                    fresh.append(batch.deltas)
            if not fits(fresh):
                raise OverflowError("the deltas of this commit may add up to more than 63 bits")
            if len(fresh) > 1:
                frames = [frame.lazy() for frame in fresh]
                fresh = [sum_deltas(pl.concat(frames, how="diagonal").fill_null(0))]
            for deltas in fresh:
                _add_deltas(db, deltas)
        return answers

    @staticmethod
    def _claim(db: sqlite3.Connection, batch: Batch, *, now_s: int) -> Applied | KeyConflict:
        if batch.key is None:
            return Applied(duplicate=False, outcome=batch.outcome)
        known = db.execute(
            "SELECT digest, outcome FROM batches WHERE key = ?", (batch.key,)
        ).fetchone()
        if known is None:
            row = (batch.key, batch.digest, batch.outcome, now_s if batch.expires else _NEVER)
            db.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", row)
            return Applied(duplicate=False, outcome=batch.outcome)
        digest, outcome = known
        return Applied(duplicate=True, outcome=outcome) if digest == batch.digest else KeyConflict()

    def apply_tweets(self, tweets: pl.DataFrame) -> None:
        folded = fold_tweets(tweets)
        carried = folded.select("id", "video_id").drop_nulls().rows()
        with self._writing() as db:
            for tweet_id, video_id in carried:
                _move_video(db, tweet_id=tweet_id, video_id=video_id)
            db.executemany(_REGISTER, folded.iter_rows())

    def delete_tweet(self, tweet_id: int) -> bool:
        with self._writing() as db:
            done = db.execute("UPDATE tweets SET deleted = 1 WHERE tweet_id = ?", (tweet_id,))
            return done.rowcount > 0

    def read_tweets(self, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
        rows = self._connection().execute(_tweets_statement(len(tweet_ids)), tweet_ids)
        return {row[0]: Tweet(row[0], row[1], row[2], bool(row[3])) for row in rows}

    def list_tweets(self, author_id: int, *, limit: int) -> list[Tweet]:
        rows = self._connection().execute(_LIST_TWEETS, (author_id, limit))
        return [Tweet(row[0], row[1], row[2], deleted=False) for row in rows]

    def read_totals(self, tweet_ids: Sequence[int], types: Sequence[str]) -> npt.NDArray[np.int64]:
        rows = self._connection().execute(_totals_statement(tuple(types)), (_json(tweet_ids),))
        numbers = np.fromiter(chain.from_iterable(rows), np.int64, len(tweet_ids) * len(types))
        return numbers.reshape(len(tweet_ids), len(types))

    def read_buckets(
        self, tweet_ids: Sequence[int], types: Sequence[str], *, start_hour: int, end_hour: int
    ) -> npt.NDArray[np.int64]:
        counts = np.zeros((len(tweet_ids), end_hour - start_hour, len(types)), dtype=np.int64)
        rows = (
            self._connection()
            .execute(
                f"SELECT tweet_id, hour, {', '.join(map(_column, types))} FROM hours "  # noqa: S608
                "WHERE tweet_id IN (SELECT value FROM json_each(?)) AND hour >= ? AND hour < ?",
                (_json(tweet_ids), start_hour, end_hour),
            )
            .fetchall()
        )
        if rows:
            table = np.array(rows, dtype=np.int64)
            place = {tweet_id: at for at, tweet_id in enumerate(tweet_ids)}
            tweet_at = np.array([place[row[0]] for row in rows])
            counts[tweet_at, table[:, 1] - start_hour] = table[:, 2:]
        return counts.transpose(0, 2, 1)

    def close(self) -> None:
        with self._open_lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
        self._turn_file.close()

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            # Used by one thread only, but closed by whoever closes the store.
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            with self._open_lock:
                self._open.append(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL syncs the log at each commit: an acknowledged batch survives power loss.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            self._local.connection = connection
        return connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One turn as the only writer: a transaction that commits, or leaves no trace."""
        with self._turn:
            fcntl.flock(self._turn_file, fcntl.LOCK_EX)
            try:
                db = self._connection()
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                    db.execute("COMMIT")
                except BaseException:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    raise
            finally:
                fcntl.flock(self._turn_file, fcntl.LOCK_UN)


def _json(tweet_ids: Sequence[int]) -> str:
    """Ids as one parameter of a statement, for `json_each`."""
    return msgspec.json.encode(tweet_ids).decode()


@lru_cache(1024)
def _tweets_statement(number: int) -> str:
    """So many Tweets by id: a placeholder each is quicker than `json_each` where order is free."""
    return (
        "SELECT tweet_id, author_id, created_at_s, deleted FROM tweets "  # noqa: S608
        f"WHERE tweet_id IN ({', '.join('?' * number)})"
    )


@lru_cache(1024)
def _totals_statement(types: tuple[str, ...]) -> str:
    """Totals of the Tweets of `json_each(?)`, a row each, in their order.

    One statement, so one snapshot: Tweets that share a video agree on its views. A Tweet without
    events of its own still shows its video's, so nothing may drop its row.
    """
    columns = [f"coalesce(totals.{_column(name)}, 0)" for name in types]
    joins = "LEFT JOIN totals ON totals.tweet_id = value"
    if "video_views" in types:
        columns[types.index("video_views")] = "coalesce(videos.video_views, totals.video_views, 0)"
        joins += (
            " LEFT JOIN tweets ON tweets.tweet_id = value"
            " LEFT JOIN videos ON videos.video_id = tweets.video_id"
        )
    return f"SELECT {', '.join(columns)} FROM json_each(?) {joins} ORDER BY key"  # noqa: S608


def _column(name: str) -> str:
    """A column's name, which must be one of ours: it becomes part of a statement."""
    if name not in TYPE_NAMES:
        raise ValueError(name)
    return name


def _add_deltas(db: sqlite3.Connection, deltas: pl.DataFrame) -> None:
    names = [name for name in TYPE_NAMES if name in deltas.columns]
    if not names or deltas.is_empty():
        return
    # Batches of one commit may bring their columns in any order; the statements have one.
    deltas = deltas.select("tweet_id", "hour", *names)
    totals = sum_deltas(deltas.lazy().drop("hour"), keys=["tweet_id"])
    db.executemany(_upsert("hours", ["tweet_id", "hour"], names=names), deltas.iter_rows())
    db.executemany(_upsert("totals", ["tweet_id"], names=names), totals.iter_rows())
    if "video_views" in names:
        views = totals.filter(pl.col("video_views") != 0).select("video_views", "tweet_id")
        db.executemany(
            "UPDATE videos SET video_views = video_views + ? "
            "WHERE video_id = (SELECT video_id FROM tweets WHERE tweet_id = ?)",
            views.iter_rows(),
        )


def _upsert(table: str, keys: list[str], *, names: list[str]) -> str:
    columns = [*keys, *map(_column, names)]
    adds = ", ".join(f"{name} = {name} + excluded.{name}" for name in names)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "  # noqa: S608
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {adds}"
    )


def _move_video(db: sqlite3.Connection, *, tweet_id: int, video_id: int) -> None:
    """Take a Tweet's views from the video it carried to the one it carries now."""
    carried = db.execute("SELECT video_id FROM tweets WHERE tweet_id = ?", (tweet_id,)).fetchone()
    before = carried[0] if carried else None
    if before == video_id:
        return
    counted = db.execute(
        "SELECT video_views FROM totals WHERE tweet_id = ?", (tweet_id,)
    ).fetchone()
    views = counted[0] if counted else 0
    add = (
        "INSERT INTO videos VALUES (?, ?) "
        "ON CONFLICT (video_id) DO UPDATE SET video_views = video_views + excluded.video_views"
    )
    if before is not None:
        db.execute(add, (before, -views))
    db.execute(add, (video_id, views))
