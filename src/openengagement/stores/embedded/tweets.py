"""The table of Tweets, and a cache of it in each process."""

import sqlite3
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec
import polars as pl

from openengagement.engagement.types import Tweet
from openengagement.metrics.table import MISSES
from openengagement.stores.contract import Authored
from openengagement.stores.embedded.database import Database

SCHEMA: Final = """
CREATE TABLE tweets (
    tweet_id INTEGER PRIMARY KEY, author_id INTEGER NOT NULL, created_at_s INTEGER NOT NULL,
    video_number INTEGER, deleted INTEGER NOT NULL
) STRICT;
CREATE INDEX tweets_by_video ON tweets (video_number) WHERE video_number IS NOT NULL
"""
# Until version 5, videos had numbers only, in the column `video_id`. Views are counted under them,
# so these videos keep their numbers. The new name stops a running server of such a version: it
# would store numbers that belong to other videos.
RENAME_VIDEO: Final = "ALTER TABLE tweets RENAME COLUMN video_id TO video_number"
VIDEOS: Final = """
CREATE TABLE videos (video_number INTEGER PRIMARY KEY, video_id TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO videos
SELECT DISTINCT video_number, video_number FROM tweets WHERE video_number IS NOT NULL
"""
# The changed Tweets, in order, so that the caches of all processes can drop them.
CHANGES: Final = (
    "CREATE TABLE tweet_changes (change_id INTEGER PRIMARY KEY, tweet_id INTEGER NOT NULL) STRICT",
    """
CREATE TRIGGER note_change AFTER UPDATE ON tweets
WHEN (old.author_id, old.created_at_s, old.deleted)
    <> (new.author_id, new.created_at_s, new.deleted)
BEGIN
    INSERT INTO tweet_changes (tweet_id) VALUES (new.tweet_id);
END
""",
)
# A trigger of its own, because version 3 did not record changes of videos.
VIDEO_CHANGES: Final = """
CREATE TRIGGER note_video AFTER UPDATE ON tweets WHEN old.video_number IS NOT new.video_number
BEGIN
    INSERT INTO tweet_changes (tweet_id) VALUES (new.tweet_id);
END
"""
_CHANGES_KEPT: Final = 100_000
_CACHED_MAX: Final = 100_000  # about 30 MB
# Lists an author's Tweets, newest first, without sorting and without reading deleted ones.
INDEX: Final = """
CREATE INDEX IF NOT EXISTS tweets_by_author
ON tweets (author_id, deleted, created_at_s DESC, tweet_id DESC)
"""
LIST: Final = """
SELECT tweet_id, author_id, created_at_s FROM tweets WHERE author_id = ? AND deleted = 0
ORDER BY created_at_s DESC, tweet_id DESC LIMIT ?
"""
# The parameters are the columns of `number_videos`. A null keeps the known value.
_REGISTER: Final = """
INSERT INTO tweets VALUES (?1, ?2, coalesce(?3, ?6), ?4, coalesce(?5, 0))
ON CONFLICT (tweet_id) DO UPDATE SET
    author_id = ?2, created_at_s = coalesce(?3, created_at_s),
    video_number = coalesce(?4, video_number), deleted = coalesce(?5, deleted)
"""
_VIDEOS: Final = """
SELECT tweet_id, video_number FROM json_each(?) CROSS JOIN tweets ON tweet_id = value
WHERE video_number IS NOT NULL
"""
# SQLite takes the largest number plus 1. If 2^63-1 is used, it draws an unused one.
_ADD_VIDEO: Final = "INSERT OR IGNORE INTO videos (video_id) VALUES (?)"
_NUMBERS: Final = """
SELECT video_id, video_number FROM json_each(?) CROSS JOIN videos ON video_id = value
"""
# The parameter is a JSON array of authors.
_AUTHORED: Final = """
SELECT tweet_id FROM json_each(?) CROSS JOIN tweets ON author_id = value ORDER BY tweet_id
"""
# The videos of their Tweets that no Tweet of another author has.
_OWN_VIDEOS: Final = """
SELECT DISTINCT video_number FROM json_each(?1) CROSS JOIN tweets AS own ON author_id = value
WHERE video_number IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM tweets WHERE video_number = own.video_number
    AND author_id NOT IN (SELECT value FROM json_each(?1))
)
"""
_FORGET: Final = """
DELETE FROM tweets WHERE tweet_id = ? AND author_id IN (SELECT value FROM json_each(?))
"""
# No video's id begins with a control character. The row stays, so that no other video ever gets the
# number: its views are counted under it.
_FORGET_VIDEOS: Final = """
UPDATE videos SET video_id = char(1) || video_number WHERE substr(video_id, 1, 1) <> char(1)
AND NOT EXISTS (SELECT 1 FROM tweets WHERE tweets.video_number = videos.video_number)
"""


def number_videos(db: sqlite3.Connection, folded: pl.DataFrame) -> pl.DataFrame:
    """Replace `video_id` by `video_number`, and give new videos a number.

    `folded` is the result of `engagement.tweets.fold_tweets`.
    """
    column = folded.get_column("video_id")
    numbers = number_ids(db, column.drop_nulls().unique(maintain_order=True).to_list())
    numbered = pl.Series("video_number", [*map(numbers.get, column)], pl.Int64)
    return folded.replace_column(folded.get_column_index("video_id"), numbered)


def number_ids(db: sqlite3.Connection, video_ids: Sequence[str]) -> dict[str, int]:
    """Return the number of each of these videos, and give new ones a number."""
    db.executemany(_ADD_VIDEO, ((video_id,) for video_id in video_ids))
    return dict(db.execute(_NUMBERS, (msgspec.json.encode(video_ids).decode(),)).fetchall())


def register_tweets(db: sqlite3.Connection, numbered: pl.DataFrame) -> None:
    """Register or change Tweets. `numbered` is the result of `number_videos`."""
    db.executemany(_REGISTER, numbered.iter_rows())
    last = db.execute("SELECT max(change_id) FROM tweet_changes").fetchone()[0] or 0
    db.execute("DELETE FROM tweet_changes WHERE change_id <= ?", (last - _CHANGES_KEPT,))


def delete_tweet(db: sqlite3.Connection, tweet_id: int) -> bool:
    """Mark a Tweet as deleted. False if it is not registered."""
    cursor = db.execute("UPDATE tweets SET deleted = 1 WHERE tweet_id = ?", (tweet_id,))
    return cursor.rowcount > 0


def read_authored(db: sqlite3.Connection, author_ids: Sequence[int]) -> Authored:
    """Read which Tweets these authors have, and the videos that only these have."""
    authors = (msgspec.json.encode(author_ids).decode(),)
    ids = [tweet_id for (tweet_id,) in db.execute(_AUTHORED, authors)]
    return Authored(author_ids, ids, [video for (video,) in db.execute(_OWN_VIDEOS, authors)])


def forget(db: sqlite3.Connection, authored: Authored) -> None:
    """Remove these Tweets, unless they have another author by now, and ids of unused videos."""
    authors = msgspec.json.encode(authored.author_ids).decode()
    db.executemany(_FORGET, ((tweet_id, authors) for tweet_id in authored.tweet_ids))
    db.execute(_FORGET_VIDEOS)
    # The list of changes must not keep these ids. A gap in it makes every process empty its cache.
    last = db.execute("SELECT max(change_id) FROM tweet_changes").fetchone()[0] or 0
    db.execute("DELETE FROM tweet_changes")
    db.execute("INSERT INTO tweet_changes VALUES (?, 0)", (last + 2,))


def read_tweets(db: sqlite3.Connection, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
    """Read Tweets by id, without those that are not registered."""
    rows = db.execute(_read_statement(len(tweet_ids)), tweet_ids)
    return {
        tweet_id: Tweet(tweet_id, author_id, created_at_s, bool(deleted))
        for tweet_id, author_id, created_at_s, deleted in rows
    }


class TweetCache:
    """Caches the Tweets that this process has read, until any process changes them.

    A lookup of 250 Tweets in the table takes longer than adding up their counters. Missing Tweets
    are not cached, so a newly registered one is found at once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tweets: dict[int, Tweet] = {}
        self._videos: dict[int, int] = {}  # of the cached Tweets that have one
        self._any_video = False  # whether any Tweet has a video
        self._change_id = 0  # the last change that the cache contains
        self._mark: object = None  # of the commit that the cache shows, None if unknown
        # Held from reading the changes until Tweets are added. Otherwise a thread with an older
        # snapshot could add a Tweet that another thread has just dropped.
        self._lock = threading.Lock()

    def read(self, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
        """Read Tweets by id, in the given order, without those that are not registered."""
        with self._lock:
            cached, mark = self._tweets, self._database.mark()
            tweets = [*filter(None, map(cached.get, tweet_ids))]
            if mark == self._mark and len(tweets) == len(tweet_ids):
                return dict(zip(tweet_ids, tweets, strict=True))
            with self._database.snapshot() as db:
                self._fill(db, tweet_ids)
            # After a commit between the mark and the snapshot, the cache may show either state.
            self._mark = mark if mark == self._database.mark() else None
            return {tweet_id: cached[tweet_id] for tweet_id in tweet_ids if tweet_id in cached}

    def cached_videos(self, mark: object, tweet_ids: Sequence[int]) -> dict[int, int] | None:
        """Return the number of the video of each Tweet that has one, as of `Database.mark`.

        None if the cache shows another commit, or lacks one of these Tweets.
        """
        with self._lock:
            if mark != self._mark:
                return None
            if not self._any_video:
                return {}
            return self._videos_of(tweet_ids) if self._has_all(tweet_ids) else None

    def read_videos(self, db: sqlite3.Connection, tweet_ids: Sequence[int]) -> dict[int, int]:
        """Read the number of the video of each Tweet that has one.

        Must be the first statement of its transaction: SQLite takes the snapshot then, and the lock
        must be held at that moment.
        """
        with self._lock:
            if not _any_video(db):
                return {}
            self._fill(db, tweet_ids)
            return self._videos_of(tweet_ids)

    def count_cached(self) -> int:
        """Return the number of cached Tweets."""
        return len(self._tweets)

    def _has_all(self, tweet_ids: Sequence[int]) -> bool:
        return all(map(self._tweets.__contains__, tweet_ids))

    def _videos_of(self, tweet_ids: Sequence[int]) -> dict[int, int]:
        videos = self._videos
        return {each: video for each in tweet_ids if (video := videos.get(each))}

    def _fill(self, db: sqlite3.Connection, tweet_ids: Sequence[int]) -> None:
        """Bring the cache up to date with this snapshot, and add these Tweets."""
        self._mark = None
        self._drop_changed(db)
        self._any_video = _any_video(db)
        cached = self._tweets
        if missing := [tweet_id for tweet_id in tweet_ids if tweet_id not in cached]:
            MISSES.add(len(missing), "tweets")
            read = read_tweets(db, missing)
            if len(cached) + len(read) > _CACHED_MAX:
                cached.clear()
                self._videos.clear()
                read = read_tweets(db, tweet_ids)
            cached.update(read)
            if self._any_video:
                self._videos.update(read_videos(db, [*read]))

    def _drop_changed(self, db: sqlite3.Connection) -> None:
        last = db.execute("SELECT max(change_id) FROM tweet_changes").fetchone()[0]
        if last is None or last == self._change_id:
            return
        first = db.execute("SELECT min(change_id) FROM tweet_changes").fetchone()[0]
        if first > self._change_id + 1:  # changes were deleted before this process saw them
            self._tweets.clear()
            self._videos.clear()
        elif self._tweets:
            query = "SELECT tweet_id FROM tweet_changes WHERE change_id > ?"
            for (tweet_id,) in db.execute(query, (self._change_id,)):
                self._tweets.pop(tweet_id, None)
                self._videos.pop(tweet_id, None)
        self._change_id = last


def list_tweets(db: sqlite3.Connection, author_id: int, *, limit: int) -> list[Tweet]:
    """List an author's newest Tweets, the newest first, without deleted ones."""
    rows = db.execute(LIST, (author_id, limit))
    # By position: an author may have tens of thousands, and names take a third longer.
    return [Tweet(tweet_id, author, created_at_s, False) for tweet_id, author, created_at_s in rows]


def read_videos(db: sqlite3.Connection, tweet_ids: Sequence[int]) -> dict[int, int]:
    """Read the number of the video of each Tweet that has one, from the table."""
    if not _any_video(db):
        return {}
    ids = msgspec.json.encode(tweet_ids).decode()
    return dict(db.execute(_VIDEOS, (ids,)).fetchall())


def _any_video(db: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM tweets WHERE video_number IS NOT NULL LIMIT 1"
    return db.execute(query).fetchone() is not None


@lru_cache(1024)
def _read_statement(count: int) -> str:
    """Make a statement that reads this many Tweets by id. Placeholders beat `json_each` here."""
    return (
        "SELECT tweet_id, author_id, created_at_s, deleted FROM tweets "  # noqa: S608
        f"WHERE tweet_id IN ({', '.join('?' * count)})"
    )
