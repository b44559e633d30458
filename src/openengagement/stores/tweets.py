"""The table of Tweets."""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec
import polars as pl

from openengagement.engagement.types import Tweet

SCHEMA: Final = """
CREATE TABLE tweets (
    tweet_id INTEGER PRIMARY KEY, author_id INTEGER NOT NULL, created_at_s INTEGER NOT NULL,
    video_id INTEGER, deleted INTEGER NOT NULL
) STRICT;
CREATE INDEX tweets_by_video ON tweets (video_id) WHERE video_id IS NOT NULL
"""
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


def delete_tweet(db: sqlite3.Connection, tweet_id: int) -> bool:
    """Mark a Tweet as deleted; False when it is not registered."""
    done = db.execute("UPDATE tweets SET deleted = 1 WHERE tweet_id = ?", (tweet_id,))
    return done.rowcount > 0


def read_tweets(db: sqlite3.Connection, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
    """The registered ones among these."""
    rows = db.execute(_read_statement(len(tweet_ids)), tweet_ids)
    return {row[0]: Tweet(row[0], row[1], row[2], bool(row[3])) for row in rows}


def list_tweets(db: sqlite3.Connection, author_id: int, *, limit: int) -> list[Tweet]:
    """An author's newest Tweets, the newest first."""
    return [
        Tweet(row[0], row[1], row[2], deleted=False) for row in db.execute(LIST, (author_id, limit))
    ]


def read_videos(db: sqlite3.Connection, tweet_ids: Sequence[int]) -> dict[int, int]:
    """The videos of those of the Tweets that carry one."""
    if db.execute("SELECT 1 FROM tweets WHERE video_id IS NOT NULL LIMIT 1").fetchone() is None:
        return {}
    ids = msgspec.json.encode(tweet_ids).decode()
    return dict(db.execute(_VIDEOS, (ids,)).fetchall())


@lru_cache(1024)
def _read_statement(number: int) -> str:
    """So many Tweets by id: a placeholder each is quicker than `json_each` where order is free."""
    return (
        "SELECT tweet_id, author_id, created_at_s, deleted FROM tweets "  # noqa: S608
        f"WHERE tweet_id IN ({', '.join('?' * number)})"
    )
