"""What is said of Tweets, row by row -> what is to be kept of each."""

from typing import Final

import polars as pl

from openengagement.engagement.types import SNOWFLAKE_EPOCH_MS, SNOWFLAKE_SHIFT

# One row a registration, checked; but for `id` and `author_id`, null is what a row leaves unsaid.
TWEET_SCHEMA: Final = pl.Schema(
    [
        ("id", pl.Int64()),
        ("author_id", pl.Int64()),
        ("created_at", pl.Int64()),  # Unix seconds
        ("video_id", pl.Int64()),
        ("deleted", pl.Boolean()),
    ]
)
_OPTIONAL: Final = ("created_at", "video_id", "deleted")
# A snowflake id carries the millisecond it was made in above its lowest 22 bits; an older id gives
# the epoch itself.
_ID_TIME_S: Final = (pl.col("id").floordiv(2**SNOWFLAKE_SHIFT) + SNOWFLAKE_EPOCH_MS).floordiv(1000)


def fold_tweets(tweets: pl.DataFrame) -> pl.DataFrame:
    """One row per Tweet: of each field what was said last, null where no row said anything.

    `tweets` has the columns of TWEET_SCHEMA; the result has one more, `id_time`: the time of
    creation, in Unix seconds, that a new Tweet of which none was said gets from its id.
    """
    tweets = tweets.select(TWEET_SCHEMA.names())
    if tweets.get_column("id").n_unique() < tweets.height:
        latest = tweets.select("id", "author_id").unique("id", keep="last", maintain_order=True)
        for name in _OPTIONAL:
            said = tweets.select("id", name).drop_nulls(name).unique("id", keep="last")
            latest = latest.join(said, on="id", how="left", maintain_order="left")
        tweets = latest
    return tweets.with_columns(id_time=_ID_TIME_S)
