"""Fold registrations of Tweets into one row per Tweet."""

from dataclasses import dataclass
from typing import Final

import polars as pl

from openengagement.engagement.types import SNOWFLAKE_EPOCH_MS, SNOWFLAKE_SHIFT

# One row per valid registration. Except in `id` and `author_id`, null keeps the known value.
TWEET_SCHEMA: Final = pl.Schema(
    [
        ("id", pl.Int64()),
        ("author_id", pl.Int64()),
        ("created_at", pl.Int64()),  # Unix seconds
        ("video_id", pl.String()),
        ("deleted", pl.Boolean()),
        ("text", pl.String()),
        ("url", pl.String()),
        ("thumbnail_url", pl.String()),
    ]
)
_CONTENT: Final = ("text", "url", "thumbnail_url")
_OPTIONAL: Final = ("created_at", "video_id", "deleted")
# A snowflake id has its time of creation, in milliseconds, above the lowest 22 bits. An older id
# yields the epoch of snowflake ids.
_ID_TIME_S: Final = (pl.col("id").floordiv(2**SNOWFLAKE_SHIFT) + SNOWFLAKE_EPOCH_MS).floordiv(1000)


@dataclass(frozen=True, slots=True)
class TweetContent:
    """The words of a Tweet, its page and a picture of it. Each is empty if it is not known."""

    text: str = ""
    url: str = ""
    thumbnail_url: str = ""


def fold_tweets(tweets: pl.DataFrame) -> pl.DataFrame:
    """Fold rows into one per Tweet, with the last value of each field, null if there is none.

    `tweets` has the columns of TWEET_SCHEMA. The result lacks those of the content. It has one
    more, `id_time`: the time of creation that the id implies, in Unix seconds. A new Tweet without
    `created_at` gets it.
    """
    tweets = tweets.select("id", "author_id", *_OPTIONAL)
    if tweets.get_column("id").n_unique() < tweets.height:
        latest = tweets.select("id", "author_id").unique("id", keep="last", maintain_order=True)
        for name in _OPTIONAL:
            given = tweets.select("id", name).drop_nulls(name).unique("id", keep="last")
            latest = latest.join(given, on="id", how="left", maintain_order="left")
        tweets = latest
    return tweets.with_columns(id_time=_ID_TIME_S)


def fold_contents(tweets: pl.DataFrame) -> pl.DataFrame:
    """Fold the content of Tweets into one row per Tweet, with the last value of each field.

    The result has the columns `id`, `text`, `url` and `thumbnail_url`, and no row for Tweets
    without content. A null keeps the known value, and an empty text removes it.
    """
    contents = tweets.select("id", *_CONTENT)
    contents = contents.filter(pl.any_horizontal(pl.col(_CONTENT).is_not_null()))
    if contents.get_column("id").n_unique() < contents.height:
        last = pl.col(_CONTENT).drop_nulls().last()
        contents = contents.group_by("id", maintain_order=True).agg(last)
    return contents
