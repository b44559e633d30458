"""Build the arguments of a store, deltas and Tweets, from plain lists."""

import numpy as np
import polars as pl

from openengagement.engagement.counters import cells_of, sum_rows
from openengagement.engagement.types import TYPE_NAMES
from openengagement.stores.contract import Batch


def make_deltas(rows):
    """Build deltas, as `rollup.fold_events` does, from `(tweet_id, hour, {type: count})`."""
    flat = [
        (tweet_id, hour, TYPE_NAMES.index(name), count)
        for tweet_id, hour, counts in rows
        for name, count in counts.items()
    ]
    ids, hours, types, counts = np.array(flat or np.zeros((0, 4)), np.int64).T
    return sum_rows(ids, cells_of(hours, types), counts=counts)


def make_batch(rows, *, key=None, digest=b"digest", outcome=b"outcome", position=None):
    return Batch(make_deltas(rows), key, digest, outcome, position=position)


def make_tweets(*rows):
    """Build Tweets from `(id, author_id, created_at, video_id, deleted)`; None keeps a value."""
    names = ("id", "author_id", "created_at")
    schema = {**dict.fromkeys(names, pl.Int64), "video_id": pl.String, "deleted": pl.Boolean}
    return pl.DataFrame(list(rows), schema=schema, orient="row")
