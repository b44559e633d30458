"""Load engagement: accounts and Tweets directly, events through the log."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from local_cluster.cluster import STREAM, SUBJECTS, LocalCluster
from openengagement.engagement.counters import Ints, add_totals
from openengagement.engagement.types import TYPE_NAMES
from openengagement.engagement.videos import VIDEO_VIEWS
from openengagement.errors import StoreUnavailable
from openengagement.sandbox.dataset import Dataset, fold_dataset
from openengagement.sandbox.demo import Demo, describe
from openengagement.sandbox.seed import Recipe, make_engagement, register
from openengagement.stores.cluster.routing import shards_of
from openengagement.stores.contract import CounterStore
from support.nats_cluster import publish
from support.waiting import wait_for

MESSAGE_EVENTS = 1000
IN_FLIGHT = 32
READ_IDS = 1000


def load_engagement(cluster: LocalCluster, recipe: Recipe) -> Demo:
    """Register and publish engagement up to now. Returns when all events are counted."""
    now_s = int(time.time())
    dataset, extra = make_engagement(recipe, ends_at_s=now_s)
    events = pl.concat([dataset.events, extra])
    with cluster.opened() as folder:
        register(folder, dataset, invented=recipe.higgs is None, now_s=now_s)
        cluster.log.run(partial(_publish_all, events=events))
        _wait_until_counted(folder.stores.counters, dataset, events)
        simulated = extra.height if recipe.higgs else dataset.events.height
        return describe(folder, dataset, extra=(extra.height, simulated), now_s=now_s)


def subjects_of(tweet_ids: Sequence[int]) -> list[str]:
    """Return the subject for events of each Tweet.

    A hash chooses it: the lowest bits of snowflake ids are nearly always 0.
    """
    return [SUBJECTS[each] for each in _numbers_of(np.array(tweet_ids, np.int64))]


def _numbers_of(tweet_ids: Ints) -> npt.NDArray[np.uint16]:
    return shards_of(tweet_ids, shards=len(SUBJECTS))


def _messages(events: pl.DataFrame) -> Iterator[tuple[str, str, bytes]]:
    """Yield subject, key and content of each message."""
    at = pl.from_epoch("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = events.with_columns(at, pl.col("tweet_id").cast(pl.String))
    subject = pl.Series(_numbers_of(events.get_column("tweet_id").to_numpy()))
    for number, name in enumerate(SUBJECTS):
        for count, part in enumerate(lines.filter(subject == number).iter_slices(MESSAGE_EVENTS)):
            yield name, f"first-{number}-{count}", part.write_ndjson().encode()


async def _publish_all(jetstream: Any, *, events: pl.DataFrame) -> None:
    """Publish with some messages on the way at once; those of a subject may change places."""
    limit = asyncio.Semaphore(IN_FLIGHT)

    async def send(subject: str, key: str, body: bytes) -> None:
        await publish(jetstream, subject, body, key=key)
        limit.release()

    async with asyncio.TaskGroup() as sending:
        for subject, key, body in _messages(events):
            await limit.acquire()
            sending.create_task(send(subject, key, body))


def _wait_until_counted(store: CounterStore, dataset: Dataset, events: pl.DataFrame) -> None:
    """Wait until the store answers with every event, because messages may change places."""
    ids = dataset.tweets.get_column("id").to_numpy()
    sums = _sum_events(dataset, events)
    parts = [slice(first, first + READ_IDS) for first in range(0, len(ids), READ_IDS)]
    wait_for(
        lambda: all(_has(store, ids[part].tolist(), sums[part]) for part in parts),
        pause_s=0.5,
        reason=f"{STREAM} counted",
    )


def _sum_events(dataset: Dataset, events: pl.DataFrame) -> Ints:
    """Return the totals that the store will have, `[tweet, type]`."""
    tweets = dataset.tweets
    sums = np.zeros((tweets.height, len(TYPE_NAMES)), np.int64)
    add_totals(sums, fold_dataset(events), tweet_ids=tweets.get_column("id").to_numpy())
    video = pl.coalesce("video_id", pl.col("id").cast(pl.String))
    views = tweets.with_columns(views=sums[:, VIDEO_VIEWS]).select(pl.sum("views").over(video))
    sums[:, VIDEO_VIEWS] = views.to_series().to_numpy()
    return sums


def _has(store: CounterStore, tweet_ids: Sequence[int], sums: Ints) -> bool:
    """Return whether the store has these totals."""
    try:
        return bool((store.read_totals(tweet_ids, TYPE_NAMES) == sums).all())
    except StoreUnavailable:
        return False
