"""Tweets in one SQLite file, counters in segments that the file lists: the embedded default.

A commit adds its counters as one segment, a blob of sorted arrays, in the transaction that keeps
its idempotency keys. In the background many such become one, in a file of their own (see
`stores.compaction`). A reader asks the database which segments there are and adds up what they hold
of its Tweets, so that whatever it sees is whole. What a video drew is counted like what a Tweet
drew, under the video's number with a minus.

Writers, in every thread and process, take turns, where SQLite's own busy handler would poll and
starve. Checkpoints run inside that turn too, so a write and a checkpoint never meet. Readers take
no lock: the write-ahead log gives each of them a snapshot.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl

from openengagement.clock import Clock
from openengagement.engagement.counters import (
    COUNTER_MAX,
    HOUR_MAX,
    TYPE_MASK,
    AnyInts,
    Counters,
    Ints,
    add_hours,
    add_totals,
    cells_of,
    merge,
    sum_rows,
    to_totals,
)
from openengagement.engagement.tweets import fold_tweets
from openengagement.engagement.types import DAY_S, TYPE_NAMES, Tweet
from openengagement.stores.compaction import BACKLOG_MAX, Compactor, Listed, Source
from openengagement.stores.contract import Applied, Batch, KeyConflict
from openengagement.stores.segments import Segment, decode_segment, encode_hours, open_segment
from openengagement.stores.turns import Turn
from openengagement.telemetry import log_failure

SCHEMA_VERSION: Final = 3
_NEVER: Final = 2**62  # "applied" so late that the key does not grow old
# Pages the log may reach before a commit folds it back into the database: 64 MiB.
_CHECKPOINT_PAGES: Final = 16_384
# How much of the file is read in place: shared by all readers, where a cache would be one's own.
_MMAP_BYTES: Final = 2**28
_LOOKS: Final = 10  # at a snapshot, until none of its files goes meanwhile
_VIDEO_VIEWS: Final = TYPE_NAMES.index("video_views")
# An author's Tweets, newest first, without a sort and without a look at deleted ones.
_BY_AUTHOR: Final = """
CREATE INDEX tweets_by_author
ON tweets (author_id, deleted, created_at_s DESC, tweet_id DESC)
"""
_SEGMENTS: Final = """
CREATE TABLE segments (
    segment_id INTEGER PRIMARY KEY AUTOINCREMENT, rows INTEGER NOT NULL, reach INTEGER NOT NULL,
    body BLOB, file TEXT
) STRICT
"""
_SCHEMA: Final = f"""
CREATE TABLE tweets (
    tweet_id INTEGER PRIMARY KEY, author_id INTEGER NOT NULL, created_at_s INTEGER NOT NULL,
    video_id INTEGER, deleted INTEGER NOT NULL
) STRICT;
CREATE INDEX tweets_by_video ON tweets (video_id) WHERE video_id IS NOT NULL;
CREATE TABLE batches (
    key BLOB PRIMARY KEY, digest BLOB NOT NULL, outcome BLOB NOT NULL, applied_at_s INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX batches_by_age ON batches (applied_at_s);
{_SEGMENTS};
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
_LIST_SEGMENTS: Final = "SELECT segment_id, rows, reach, file FROM segments ORDER BY segment_id"
_VIDEOS: Final = """
SELECT tweet_id, video_id FROM json_each(?) CROSS JOIN tweets ON tweet_id = value
WHERE video_id IS NOT NULL
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
        self._turn = Turn(path.with_suffix(".lock"))
        self._folder = path.with_suffix(".segments")
        self._known: dict[int, Segment] = {}
        self._compactor = Compactor(
            Source(self._folder, self._list_segments, self._load, self._writing),
            on_failure=lambda error: log_failure("merge_failed", error),
        )
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
            if version != 0:
                raise sqlite3.DatabaseError(f"made by another version of the server ({version})")
            for statement in _SCHEMA.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def apply_batches(self, batches: Sequence[Batch]) -> list[Applied | KeyConflict]:
        answers: list[Applied | KeyConflict] = []
        fresh: list[Counters] = []
        with self._writing() as db:
            now_s = int(self._clock.now_s())
            db.execute("DELETE FROM batches WHERE applied_at_s < ?", (now_s - self._keep_s,))
            for batch in batches:
                answer = self._claim(db, batch, now_s=now_s)
                answers.append(answer)
                if isinstance(answer, Applied) and not answer.duplicate:
                    fresh.append(batch.deltas)
            backlog = _add(db, fresh)
        self._compactor.wake()
        if backlog > BACKLOG_MAX:
            self._compactor.catch_up()
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
        carried = dict(folded.select("id", "video_id").drop_nulls().rows())
        with self._writing() as db:
            self._move_views(db, carried)
            db.executemany(_REGISTER, folded.iter_rows())

    def _move_views(self, db: sqlite3.Connection, carried: dict[int, int]) -> None:
        """Take each Tweet's views from the video it carries so far to the one in `carried`."""
        known = _videos_of(db, list(carried))
        moved = [at for at, video_id in carried.items() if known.get(at) != video_id]
        views = _sum_totals(self._view(db), moved)[:, _VIDEO_VIEWS]
        left = [at for at, tweet_id in enumerate(moved) if tweet_id in known]
        gained = _as_views([-carried[tweet_id] for tweet_id in moved], views)
        lost = _as_views([-known[moved[at]] for at in left], -views[left])
        _add(db, [gained, lost])

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

    def read_totals(self, tweet_ids: Sequence[int], types: Sequence[str]) -> Ints:
        numbers = [TYPE_NAMES.index(name) for name in types]
        segments, videos = self._look(tweet_ids if _VIDEO_VIEWS in numbers else ())
        sums = _sum_totals(segments, tweet_ids)
        if videos:
            carrying = [at for at, tweet_id in enumerate(tweet_ids) if tweet_id in videos]
            shared = _sum_totals(segments, [-videos[tweet_ids[at]] for at in carrying])
            sums[carrying, _VIDEO_VIEWS] = shared[:, _VIDEO_VIEWS]
        return sums[:, numbers]

    def read_buckets(
        self, tweet_ids: Sequence[int], types: Sequence[str], *, start_hour: int, end_hour: int
    ) -> Ints:
        numbers = [TYPE_NAMES.index(name) for name in types]
        segments, _ = self._look(())
        sums = np.zeros((len(tweet_ids), end_hour - start_hour, len(TYPE_NAMES)), np.int64)
        ids = np.array(tweet_ids, np.int64)
        for segment in segments:
            add_hours(sums, segment.hours, ids, start_hour=start_hour)
        return sums[:, :, numbers].transpose(0, 2, 1)

    def prune(self, *, oldest_hour: int) -> int:
        return self._compactor.prune(oldest_hour)

    def _look(self, tweet_ids: Sequence[int]) -> tuple[list[Segment], dict[int, int]]:
        """Every segment, and the videos of these Tweets, in one snapshot."""
        for _ in range(_LOOKS):
            # A file listed in a snapshot may be merged, and gone, before it is opened.
            with suppress(FileNotFoundError), _snapshot(self._connection()) as db:
                return self._view(db), _videos_of(db, tweet_ids) if tweet_ids else {}
        raise FileNotFoundError(f"a file that is listed is missing from {self._folder}")

    def _view(self, db: sqlite3.Connection) -> list[Segment]:
        """Every segment of this snapshot."""
        listed = [Listed(*row) for row in db.execute(_LIST_SEGMENTS)]
        known = self._known
        if known.keys() != {each.segment_id for each in listed}:
            known = {
                each.segment_id: known.get(each.segment_id) or self._load(each) for each in listed
            }
            self._known = known
        return [known[each.segment_id] for each in listed]

    def _list_segments(self) -> list[Listed]:
        return [Listed(*row) for row in self._connection().execute(_LIST_SEGMENTS)]

    def _load(self, listed: Listed) -> Segment:
        if listed.file is not None:
            return open_segment(self._folder / listed.file)
        asked = ("SELECT body FROM segments WHERE segment_id = ?", (listed.segment_id,))
        return decode_segment(self._connection().execute(*asked).fetchone()[0])

    def close(self) -> None:
        self._compactor.close()
        with self._open_lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
        self._turn.close()

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
        with self._turn.taken():
            db = self._connection()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise


@contextmanager
def _snapshot(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """What several statements see belongs together."""
    db.execute("BEGIN")
    try:
        yield db
    finally:
        db.execute("COMMIT")


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


def _videos_of(db: sqlite3.Connection, tweet_ids: Sequence[int]) -> dict[int, int]:
    """The videos of those of the Tweets that carry one."""
    if db.execute("SELECT 1 FROM tweets WHERE video_id IS NOT NULL LIMIT 1").fetchone() is None:
        return {}
    return dict(db.execute(_VIDEOS, (_json(tweet_ids),)).fetchall())


def _add(db: sqlite3.Connection, fresh: Sequence[Counters]) -> int:
    """Add deltas, and their views to the videos; returns how many segments the database holds.

    Raises:
        OverflowError: a counter might get further from zero than COUNTER_MAX.
    """
    known = db.execute("SELECT reach, file FROM segments").fetchall()
    reach = sum(part.peak * part.rows for part in fresh)
    if reach + sum(row[0] for row in known) > COUNTER_MAX:
        raise OverflowError("a counter might not hold the deltas of this commit")
    backlog = sum(row[1] is None for row in known)
    deltas = merge(fresh)
    if not deltas.rows:
        return backlog
    deltas = merge([deltas, _views_of_videos(db, deltas)])
    added = (deltas.rows, reach, encode_hours(deltas))
    db.execute("INSERT INTO segments (rows, reach, body) VALUES (?, ?, ?)", added)
    return backlog + 1


def _views_of_videos(db: sqlite3.Connection, deltas: Counters) -> Counters:
    """What deltas add to the videos that their Tweets carry."""
    views = to_totals(deltas.where((deltas.cells & TYPE_MASK) == _VIDEO_VIEWS))
    videos = _videos_of(db, views.ids.tolist())
    carrying = np.isin(views.ids, list(videos))
    ids = [-videos[tweet_id] for tweet_id in views.ids[carrying].tolist()]
    return _as_views(ids, views.counts[carrying])


def _as_views(ids: Sequence[int], counts: AnyInts) -> Counters:
    """Views of videos; their hours are not asked for, so they are of the last one of all."""
    cells = cells_of(np.full(len(ids), HOUR_MAX), np.array(_VIDEO_VIEWS))
    return sum_rows(np.array(ids, np.int64), cells, counts.astype(np.int64))


def _sum_totals(segments: Sequence[Segment], tweet_ids: Sequence[int]) -> Ints:
    """Totals `[tweet, type number]`."""
    sums = np.zeros((len(tweet_ids), len(TYPE_NAMES)), np.int64)
    ids = np.array(tweet_ids, np.int64)
    for segment in segments:
        add_totals(sums, segment.summable, ids)
    return sums
