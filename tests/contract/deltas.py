"""Build the arguments of a store, deltas and Tweets, from plain lists."""

import numpy as np
import polars as pl

from openengagement.engagement.counters import cells_of, sum_rows
from openengagement.engagement.tweets import TWEET_SCHEMA
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
    schema = {name: TWEET_SCHEMA[name] for name in TWEET_SCHEMA.names()[:5]}
    whole = dict.fromkeys(TWEET_SCHEMA.names()[5:], pl.lit(None, pl.String))
    return pl.DataFrame(list(rows), schema=schema, orient="row").with_columns(**whole)


def make_contents(*rows):
    """Build Tweets of author 7 from `(id, deleted, text, url, thumbnail_url)`."""
    whole = [(row[0], 7, None, None, *row[1:]) for row in rows]
    return pl.DataFrame(whole, schema=TWEET_SCHEMA, orient="row")
