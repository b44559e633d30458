"""The table of contents of Tweets: text, link and picture.

A table of its own, so that the rows that requests look up stay small.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec
import polars as pl

from openengagement.engagement.tweets import TweetContent

# Triggers remove the content of a deleted Tweet, so that servers of an older version do so too.
SCHEMA: Final = (
    """
CREATE TABLE contents (
    tweet_id INTEGER PRIMARY KEY, text TEXT NOT NULL, url TEXT NOT NULL,
    thumbnail_url TEXT NOT NULL
) STRICT
""",
    """
CREATE TRIGGER drop_content AFTER UPDATE OF deleted ON tweets WHEN new.deleted
BEGIN
    DELETE FROM contents WHERE tweet_id = new.tweet_id;
END
""",
    """
CREATE TRIGGER forget_content AFTER DELETE ON tweets
BEGIN
    DELETE FROM contents WHERE tweet_id = old.tweet_id;
END
""",
)
# A null keeps the known value. The content of a deleted Tweet is not stored.
_REGISTER: Final = """
INSERT INTO contents
SELECT ?1, coalesce(?2, ''), coalesce(?3, ''), coalesce(?4, '') FROM tweets
WHERE tweet_id = ?1 AND NOT deleted
ON CONFLICT (tweet_id) DO UPDATE SET
    text = coalesce(?2, text), url = coalesce(?3, url),
    thumbnail_url = coalesce(?4, thumbnail_url)
"""
_READ: Final = """
SELECT tweet_id, text, url, thumbnail_url
FROM json_each(?) CROSS JOIN contents ON tweet_id = value
"""
_TEXTS: Final = "SELECT tweet_id, text FROM json_each(?) CROSS JOIN contents ON tweet_id = value"
_MODES: Final = ("OFF", "ON", "FAST")


def register_contents(db: sqlite3.Connection, folded: pl.DataFrame) -> None:
    """Store or change contents of registered Tweets. `folded` is that of `fold_contents`."""
    db.executemany(_REGISTER, folded.iter_rows())


def read_contents(db: sqlite3.Connection, tweet_ids: Sequence[int]) -> dict[int, TweetContent]:
    """Read the contents of those of these Tweets that have one."""
    rows = db.execute(_READ, (msgspec.json.encode(tweet_ids).decode(),))
    return {tweet_id: TweetContent(text, url, image) for tweet_id, text, url, image in rows}


def read_texts(db: sqlite3.Connection, tweet_ids: Sequence[int]) -> dict[int, str]:
    """Read the texts of those of these Tweets that have a content."""
    return dict(db.execute(_TEXTS, (msgspec.json.encode(tweet_ids).decode(),)))


@contextmanager
def overwriting(db: sqlite3.Connection) -> Iterator[None]:
    """Overwrite rows that the block deletes with zeros.

    The log keeps earlier states of its pages until it is written back and begins anew.
    """
    (before,) = db.execute("PRAGMA secure_delete").fetchone()
    db.execute("PRAGMA secure_delete = ON").fetchall()
    try:
        yield
    finally:
        db.execute(f"PRAGMA secure_delete = {_MODES[before]}").fetchall()
