"""The table of Tweets, and those of them that a process remembers."""

import sqlite3
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec
import polars as pl

from openengagement.engagement.types import Tweet
from openengagement.stores.embedded.database import Database

SCHEMA: Final = """
CREATE TABLE tweets (
    tweet_id INTEGER PRIMARY KEY, author_id INTEGER NOT NULL, created_at_s INTEGER NOT NULL,
    video_id INTEGER, deleted INTEGER NOT NULL
) STRICT;
CREATE INDEX tweets_by_video ON tweets (video_id) WHERE video_id IS NOT NULL
"""
# Which Tweets were changed, in order: what has been remembered of them no longer holds.
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
# Version 3 did not note a Tweet that came to carry another video.
NOTE_VIDEOS: Final = """
CREATE TRIGGER note_video AFTER UPDATE ON tweets WHEN old.video_id IS NOT new.video_id
BEGIN
    INSERT INTO tweet_changes (tweet_id) VALUES (new.tweet_id);
END
"""
_CHANGES_KEPT: Final = 100_000
_REMEMBERED_MAX: Final = 100_000  # some 30 MB
# An author's Tweets, newest first, without a sort and without a look at deleted ones.
INDEX: Final = """
CREATE INDEX IF NOT EXISTS tweets_by_author
ON tweets (author_id, deleted, created_at_s DESC, tweet_id DESC)
"""
LIST: Final = """
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
_VIDEOS: Final = """
SELECT tweet_id, video_id FROM json_each(?) CROSS JOIN tweets ON tweet_id = value
WHERE video_id IS NOT NULL
"""


def register_tweets(db: sqlite3.Connection, folded: pl.DataFrame) -> None:
    """Register or change Tweets; `folded` is what `engagement.tweets.fold_tweets` returns."""
    db.executemany(_REGISTER, folded.iter_rows())
    last = db.execute("SELECT max(change_id) FROM tweet_changes").fetchone()[0] or 0
    db.execute("DELETE FROM tweet_changes WHERE change_id <= ?", (last - _CHANGES_KEPT,))


def delete_tweet(db: sqlite3.Connection, tweet_id: int) -> bool:
    """Mark a Tweet as deleted; False when it is not registered."""
    done = db.execute("UPDATE tweets SET deleted = 1 WHERE tweet_id = ?", (tweet_id,))
    return done.rowcount > 0


def read_tweets(db: sqlite3.Connection, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
    """The registered ones among these."""
    rows = db.execute(_read_statement(len(tweet_ids)), tweet_ids)
    return {row[0]: Tweet(row[0], row[1], row[2], bool(row[3])) for row in rows}


class RememberedTweets:
    """Tweets that were read before, as long as nobody changes them.

    Looking 250 up in the table takes longer than adding up their counters. A Tweet that is not
    registered is not remembered, so that a new one is seen at once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tweets: dict[int, Tweet] = {}
        self._videos: dict[int, int] = {}  # of those of these Tweets that carry one
        self._change_id = 0  # the last change that is taken into account
        # One at a time, from the look at the changes on: an older snapshot adds nothing later.
        self._lock = threading.Lock()

    def read(self, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
        """The registered ones among these."""
        with self._lock, self._database.snapshot() as db:
            self._recall(db, tweet_ids)
            found = zip(tweet_ids, map(self._tweets.get, tweet_ids), strict=True)
            return {at: tweet for at, tweet in found if tweet}

    def read_videos(self, db: sqlite3.Connection, tweet_ids: Sequence[int]) -> dict[int, int]:
        """The videos of those of the Tweets that carry one.

        The first thing in a snapshot: that begins with its first statement, and so in our turn.
        """
        with self._lock:
            if not _any_video(db):
                return {}
            self._recall(db, tweet_ids)
            return {at: video for at in tweet_ids if (video := self._videos.get(at))}

    def _recall(self, db: sqlite3.Connection, tweet_ids: Sequence[int]) -> None:
        """Know these Tweets as they are in this snapshot."""
        self._forget_changed(db)
        known = self._tweets
        if unknown := [at for at in tweet_ids if at not in known]:
            read = read_tweets(db, unknown)
            if len(known) + len(read) > _REMEMBERED_MAX:
                known.clear()
                self._videos.clear()
                read = read_tweets(db, tweet_ids)
            known.update(read)
            self._videos.update(read_videos(db, [*read]))

    def _forget_changed(self, db: sqlite3.Connection) -> None:
        last = db.execute("SELECT max(change_id) FROM tweet_changes").fetchone()[0]
        if last is None or last == self._change_id:
            return
        first = db.execute("SELECT min(change_id) FROM tweet_changes").fetchone()[0]
        if first > self._change_id + 1:  # some are no longer listed
            self._tweets.clear()
            self._videos.clear()
        elif self._tweets:
            asked = "SELECT tweet_id FROM tweet_changes WHERE change_id > ?"
            for (tweet_id,) in db.execute(asked, (self._change_id,)):
                self._tweets.pop(tweet_id, None)
                self._videos.pop(tweet_id, None)
        self._change_id = last


def list_tweets(db: sqlite3.Connection, author_id: int, *, limit: int) -> list[Tweet]:
    """An author's newest Tweets, the newest first."""
    return [
        Tweet(row[0], row[1], row[2], deleted=False) for row in db.execute(LIST, (author_id, limit))
    ]


def read_videos(db: sqlite3.Connection, tweet_ids: Sequence[int]) -> dict[int, int]:
    """The videos of those of the Tweets that carry one."""
    if not _any_video(db):
        return {}
    ids = msgspec.json.encode(tweet_ids).decode()
    return dict(db.execute(_VIDEOS, (ids,)).fetchall())


def _any_video(db: sqlite3.Connection) -> bool:
    asked = "SELECT 1 FROM tweets WHERE video_id IS NOT NULL LIMIT 1"
    return db.execute(asked).fetchone() is not None


@lru_cache(1024)
def _read_statement(number: int) -> str:
    """So many Tweets by id: a placeholder each is quicker than `json_each` where order is free."""
    return (
        "SELECT tweet_id, author_id, created_at_s, deleted FROM tweets "  # noqa: S608
        f"WHERE tweet_id IN ({', '.join('?' * number)})"
    )
