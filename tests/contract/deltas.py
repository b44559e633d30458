"""Deltas and Tweets as a store takes them, from plain lists."""

import polars as pl

from openengagement.engagement.types import TYPE_NAMES
from openengagement.stores.contract import Batch


def make_deltas(rows):
    """Deltas from `(tweet_id, hour, {type: count})`, in the shape of `rollup.fold_events`."""
    used = {name for _, _, counts in rows for name in counts}
    names = [name for name in TYPE_NAMES if name in used]
    table = [[tweet_id, hour, *(c.get(name, 0) for name in names)] for tweet_id, hour, c in rows]
    schema = {"tweet_id": pl.Int64, "hour": pl.Int32, **dict.fromkeys(names, pl.Int64)}
    return pl.DataFrame(table, schema=schema, orient="row").sort("tweet_id", "hour")


def make_batch(rows, *, key=None, digest=b"digest", outcome=b"outcome"):
    return Batch(make_deltas(rows), key, digest, outcome)


def make_tweets(*rows):
    """Tweets from `(id, author_id, created_at, video_id, deleted)`, None for what is left out."""
    names = ("id", "author_id", "created_at", "video_id")
    schema = {**dict.fromkeys(names, pl.Int64), "deleted": pl.Boolean}
    return pl.DataFrame(list(rows), schema=schema, orient="row")
