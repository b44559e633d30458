"""The table of contents of Tweets in PostgreSQL: text, link and picture."""

from collections.abc import Sequence
from typing import Any, Final

import polars as pl
import psycopg

from openengagement.engagement.tweets import TweetContent
from openengagement.postgresql import write_array

Connection = psycopg.Connection[Any]

_AT_ONCE: Final = 5000  # rows of a statement, which are all in memory
# A null keeps the known value. The content of a deleted Tweet is not stored. Relies on the locks of
# the rows in `tweets`, which every change of a content holds.
_REGISTER: Final = """
INSERT INTO contents
SELECT id, coalesce(given.text, known.text, ''), coalesce(given.url, known.url, ''),
    coalesce(given.thumbnail_url, known.thumbnail_url, '')
FROM unnest(%(id)s::bigint[], %(text)s::text[], %(url)s::text[], %(thumbnail_url)s::text[])
    AS given (id, text, url, thumbnail_url)
JOIN tweets ON tweets.tweet_id = id LEFT JOIN contents AS known ON known.tweet_id = id
WHERE NOT deleted
ON CONFLICT (tweet_id) DO UPDATE SET
    text = EXCLUDED.text, url = EXCLUDED.url, thumbnail_url = EXCLUDED.thumbnail_url
"""
_READ: Final = """
SELECT tweet_id, text, url, thumbnail_url FROM contents WHERE tweet_id = ANY(%(ids)s::bigint[])
"""
_TEXTS: Final = "SELECT tweet_id, text FROM contents WHERE tweet_id = ANY(%(ids)s::bigint[])"


def register_contents(db: Connection, folded: pl.DataFrame) -> None:
    """Store or change contents. `folded` is that of `fold_contents`.

    The transaction must have registered the Tweets, and so have locked them.
    """
    for part in folded.iter_slices(_AT_ONCE):
        db.execute(_REGISTER, part.to_dict(as_series=False))


def drop_contents(db: Connection, tweet_ids: Sequence[int]) -> None:
    """Remove the contents of these Tweets. The transaction must have locked them."""
    db.execute("DELETE FROM contents WHERE tweet_id = ANY(%s)", (list(tweet_ids),))


def read_contents(db: Connection, tweet_ids: Sequence[int]) -> dict[int, TweetContent]:
    """Read the contents of those of these Tweets that have one."""
    rows = db.execute(_READ, {"ids": write_array(tweet_ids)})
    return {tweet_id: TweetContent(*content) for tweet_id, *content in rows}


def read_texts(db: Connection, tweet_ids: Sequence[int]) -> dict[int, str]:
    """Read the texts of those of these Tweets that have a content."""
    return dict(db.execute(_TEXTS, {"ids": write_array(tweet_ids)}).fetchall())
