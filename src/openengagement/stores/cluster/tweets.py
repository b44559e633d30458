"""The table of Tweets in PostgreSQL."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl
import psycopg

from openengagement.engagement.types import Tweet
from openengagement.postgresql import write_array
from openengagement.stores.cluster.contents import drop_contents
from openengagement.stores.contract import Authored

Connection = psycopg.Connection[Any]

_COUNTED_MAX: Final = 1_000_000
_NEW_VIDEOS: Final = """
INSERT INTO videos (video_id) SELECT video_id FROM unnest(%(ids)s::bytea[]) AS given (video_id)
WHERE NOT EXISTS (SELECT FROM videos WHERE videos.video_id = given.video_id)
ORDER BY video_id ON CONFLICT DO NOTHING
"""
_NUMBERS: Final = "SELECT video_id, video_number FROM videos WHERE video_id = ANY(%(ids)s)"
_GIVEN: Final = """
unnest(%(ids)s::bigint[], %(authors)s::bigint[], %(times)s::bigint[], %(videos)s::bigint[],
    %(deleted)s::boolean[], %(id_times)s::bigint[])
    AS given (tweet_id, author_id, created_at_s, video_number, deleted, id_time_s)
"""
# Rows are inserted and locked in the order of their ids: otherwise two registrations could wait for
# each other.
_INSERT: Final = f"""
INSERT INTO tweets
SELECT tweet_id, author_id, coalesce(created_at_s, id_time_s), video_number,
    coalesce(deleted, false)
FROM {_GIVEN} ORDER BY tweet_id ON CONFLICT DO NOTHING RETURNING tweet_id
"""  # noqa: S608 (no text of a user is in it)
_LOCK: Final = "SELECT FROM tweets WHERE tweet_id = ANY(%(ids)s) ORDER BY tweet_id FOR UPDATE"
# A null keeps the known value.
_UPDATE: Final = f"""
UPDATE tweets AS known SET author_id = given.author_id,
    created_at_s = coalesce(given.created_at_s, known.created_at_s),
    video_number = coalesce(given.video_number, known.video_number),
    deleted = coalesce(given.deleted, known.deleted)
FROM {_GIVEN} WHERE known.tweet_id = given.tweet_id AND given.tweet_id <> ALL(%(new)s)
"""  # noqa: S608
_READ: Final = """
SELECT tweet_id, author_id, created_at_s, deleted, video_number FROM tweets
WHERE tweet_id = ANY(%(ids)s::bigint[])
"""
_LIST: Final = """
SELECT tweet_id, author_id, created_at_s, deleted FROM tweets
WHERE author_id = %(author)s AND NOT deleted
ORDER BY created_at_s DESC, tweet_id DESC LIMIT %(limit)s
"""
_VIDEOS: Final = """
SELECT tweet_id, video_number FROM tweets
WHERE tweet_id = ANY(%(ids)s::bigint[]) AND video_number IS NOT NULL
"""
_DELETE: Final = """
WITH done AS (UPDATE tweets SET deleted = true WHERE tweet_id = %(id)s RETURNING tweet_id)
INSERT INTO deletions SELECT tweet_id FROM done ON CONFLICT DO NOTHING
"""
# A Tweet that is registered again keeps its counters, unless they were erased before.
_NOTE_DELETIONS: Final = f"""
INSERT INTO deletions SELECT tweet_id FROM {_GIVEN} WHERE deleted ORDER BY tweet_id
ON CONFLICT DO NOTHING
"""  # noqa: S608
_FORGET_DELETIONS: Final = f"""
DELETE FROM deletions USING {_GIVEN}
WHERE deletions.tweet_id = given.tweet_id AND given.deleted IS FALSE
"""  # noqa: S608
_ERASABLE: Final = """
SELECT tweet_id FROM deletions WHERE deleted_at < now() - %(after_s)s * interval '1 second'
ORDER BY tweet_id LIMIT %(limit)s FOR UPDATE
"""
# Two halves, because each has an index of its own.
_AUTHORED: Final = """
SELECT tweet_id, video_number FROM tweets WHERE author_id = ANY(%(authors)s::bigint[])
    AND NOT deleted
UNION ALL
SELECT tweet_id, video_number FROM tweets WHERE author_id = ANY(%(authors)s::bigint[])
    AND deleted
ORDER BY tweet_id
"""
_SHARED_VIDEOS: Final = """
SELECT DISTINCT video_number FROM tweets
WHERE video_number = ANY(%(videos)s::bigint[]) AND author_id <> ALL(%(authors)s::bigint[])
"""
_FORGET: Final = """
DELETE FROM tweets WHERE tweet_id = ANY(%(ids)s) AND author_id = ANY(%(authors)s::bigint[])
RETURNING tweet_id, video_number
"""
# A server that has locked a row erases the counters of this Tweet, and then removes the row.
_FORGET_DELETED: Final = """
DELETE FROM deletions WHERE tweet_id IN (
    SELECT tweet_id FROM deletions WHERE tweet_id = ANY(%(ids)s) FOR UPDATE SKIP LOCKED
)
"""
_UNUSED_VIDEOS: Final = """
SELECT video_number FROM videos
WHERE NOT EXISTS (SELECT FROM tweets WHERE tweets.video_number = videos.video_number)
"""
# A number is never given again: PostgreSQL counts on.
_FORGET_VIDEOS: Final = f"""
DELETE FROM videos WHERE video_number IN ({_UNUSED_VIDEOS} AND video_number = ANY(%(videos)s))
RETURNING video_number
"""  # noqa: S608 (no text of a user is in it)


def number_videos(db: Connection, folded: pl.DataFrame) -> pl.DataFrame:
    """Replace `video_id` by `video_number`, and give new videos a number.

    `folded` is the result of `engagement.tweets.fold_tweets`.
    """
    column = folded.get_column("video_id")
    numbers = number_ids(db, column.drop_nulls().unique().to_list())
    numbered = pl.Series("video_number", [*map(numbers.get, column)], pl.Int64)
    return folded.replace_column(folded.get_column_index("video_id"), numbered)


def number_ids(db: Connection, video_ids: Sequence[str]) -> dict[str, int]:
    """Return the number of each of these videos, and give new ones a number."""
    if not video_ids:
        return {}
    ids = {"ids": [each.encode() for each in video_ids]}  # PostgreSQL takes no NUL in a text
    db.execute(_NEW_VIDEOS, ids)
    return {key.decode(): number for key, number in db.execute(_NUMBERS, ids)}


def register_tweets(db: Connection, numbered: pl.DataFrame) -> None:
    """Register or change Tweets. `numbered` is the result of `number_videos`."""
    names = ("ids", "authors", "times", "videos", "deleted", "id_times")
    columns: dict[str, list[Any]] = {
        name: column.to_list() for name, column in zip(names, numbered.iter_columns(), strict=True)
    }
    new = [tweet_id for (tweet_id,) in db.execute(_INSERT, columns)]
    if len(new) < len(columns["ids"]):
        db.execute(_LOCK, columns)
        db.execute(_UPDATE, {**columns, "new": new})
    if True in columns["deleted"]:
        db.execute(_NOTE_DELETIONS, columns)
        pairs = zip(columns["ids"], columns["deleted"], strict=True)
        drop_contents(db, [tweet_id for tweet_id, deleted in pairs if deleted])
    if False in columns["deleted"]:
        db.execute(_FORGET_DELETIONS, columns)


def delete_tweet(db: Connection, tweet_id: int) -> bool:
    """Mark a Tweet as deleted. False if it is not registered. Call it in a transaction."""
    db.execute(_DELETE, {"id": tweet_id})
    drop_contents(db, [tweet_id])
    query = "SELECT EXISTS (SELECT FROM tweets WHERE tweet_id = %s)"
    ((known,),) = db.execute(query, (tweet_id,)).fetchall()
    return bool(known)


def list_erasable(db: Connection, *, after_s: int, limit: int) -> list[int]:
    """List Tweets that were deleted so long ago that their counters are to be erased.

    Until the transaction ends, none of them can be registered again.
    """
    rows = db.execute(_ERASABLE, {"after_s": after_s, "limit": limit})
    return [tweet_id for (tweet_id,) in rows]


def note_erased(db: Connection, tweet_ids: Sequence[int]) -> None:
    """Forget that the counters of these Tweets are to be erased."""
    db.execute("DELETE FROM deletions WHERE tweet_id = ANY(%s)", (list(tweet_ids),))


def read_authored(db: Connection, author_ids: Sequence[int]) -> Authored:
    """Read which Tweets these authors have, and the videos that only these have.

    Call it in a transaction that has not read anything.
    """
    db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    authors = {"authors": list(author_ids)}
    rows = db.execute(_AUTHORED, authors).fetchall()
    videos = {video for _, video in rows if video is not None}
    shared = db.execute(_SHARED_VIDEOS, {**authors, "videos": list(videos)})
    videos -= {video for (video,) in shared}
    return Authored(author_ids, [tweet_id for tweet_id, _ in rows], sorted(videos))


def list_unused_videos(db: Connection) -> list[int]:
    """List the videos that no Tweet has. It may take minutes. Call it in a transaction."""
    db.execute("SET LOCAL statement_timeout = 0")
    return [video for (video,) in db.execute(_UNUSED_VIDEOS)]


def forget(db: Connection, authored: Authored, *, unused: Sequence[int]) -> None:
    """Remove these Tweets, unless they have another author by now, and videos without a Tweet.

    `unused` holds videos that had none before. Call it in a transaction that owns the videos, or a
    Tweet could be registered with a video that is removed (`ledger.own_videos`).
    """
    tweets = {"ids": list(authored.tweet_ids), "authors": list(authored.author_ids)}
    db.execute(_LOCK, tweets)
    forgotten = dict(db.execute(_FORGET, tweets).fetchall())
    db.execute(_FORGET_DELETED, {"ids": list(forgotten)})
    drop_contents(db, list(forgotten))
    videos = {video for video in forgotten.values() if video is not None}
    removed = db.execute(_FORGET_VIDEOS, {"videos": [*videos, *unused]})
    ids = [*forgotten, *(-video for (video,) in removed)]
    db.execute("DELETE FROM large_tweets WHERE tweet_id = ANY(%s)", (ids,))


def count_tweets(db: Connection) -> int:
    """Count the registered Tweets. Of many, return PostgreSQL's estimate, which takes no time."""
    query = "SELECT reltuples::bigint FROM pg_class WHERE oid = 'tweets'::regclass"
    ((estimate,),) = db.execute(query).fetchall()
    if estimate < _COUNTED_MAX:
        ((estimate,),) = db.execute("SELECT count(*) FROM tweets").fetchall()
    return int(estimate)


def read_tweets(
    db: Connection, tweet_ids: Sequence[int]
) -> tuple[dict[int, Tweet], dict[int, int]]:
    """Read Tweets by id, in the given order, without those that are not registered.

    Also return the number of the video of each Tweet that has one.
    """
    rows = db.execute(_READ, {"ids": write_array(tweet_ids)}).fetchall()
    found = {row[0]: Tweet(*row[:4]) for row in rows}
    videos = {row[0]: row[4] for row in rows if row[4] is not None}
    return {each: found[each] for each in tweet_ids if each in found}, videos


def list_tweets(db: Connection, author_id: int, *, limit: int) -> list[Tweet]:
    """List an author's newest Tweets, the newest first, without deleted ones."""
    rows = db.execute(_LIST, {"author": author_id, "limit": limit})
    return [Tweet(*row) for row in rows]


def videos_of(db: Connection, tweet_ids: Sequence[int]) -> psycopg.Cursor[Any]:
    """Query pairs: each Tweet with a video, and the number of the video."""
    return db.execute(_VIDEOS, {"ids": write_array(tweet_ids)})


def read_videos(db: Connection, tweet_ids: Sequence[int]) -> Mapping[int, int]:
    """Read the number of the video of each Tweet that has one."""
    return dict(videos_of(db, tweet_ids).fetchall())
