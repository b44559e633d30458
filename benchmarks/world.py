"""A platform with engagement, generated from a seed and loaded by the product's own commands.

100,000 Tweets of the last four weeks by 10,000 accounts; one of them, the owner, has 2,000. Few
Tweets have most of the events, and most events come in a Tweet's first hours.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import product
from signing import Keys

from openengagement.engagement.types import EVENT_TYPES, snowflake

ACCOUNTS = 10_000
TWEETS = 100_000
OWNED = 2_000
EVENT_ROWS = 1_200_000
DAYS = 28
HOUR_S = 3600
OWNER = "bench_owner"
PER_MINUTE = 10_000_000
# How often each type comes, besides impressions.
SHARE = {
    "impressions": 40,
    "media_views": 15,
    "detail_expands": 8,
    "favorites": 8,
    "video_views": 6,
}


@dataclass(frozen=True, slots=True)
class World:
    """A data folder with everything that requests need."""

    data: Path
    keys: Keys
    tweet_ids: list[int]  # the owner's


def build(folder: Path) -> World:
    """Make the files, load them, and create an app with its tokens."""
    rng = np.random.default_rng(2012)
    now_s = int(time.time())
    born_s = now_s - rng.integers(HOUR_S, DAYS * 24 * HOUR_S, TWEETS)
    ids = np.array([snowflake(int(each)) for each in born_s]) + np.arange(TWEETS)
    authors = rng.integers(2, ACCOUNTS + 1, TWEETS)
    owned = rng.choice(TWEETS, OWNED, replace=False)
    authors[owned] = 1
    weights = rng.pareto(1.2, TWEETS) + 0.1
    weights[owned] += 5
    tweets = pl.DataFrame({"id": ids, "author_id": authors, "created_at": pl.from_epoch(born_s)})
    data = folder / "data"
    register(data, tweets)
    path = folder / "events.parquet"
    _events(ids, born_s, weights, now_s).write_parquet(path)
    load(data, "events", path)
    return World(data, make_keys(data), ids[owned].tolist())


def register(data: Path, tweets: pl.DataFrame) -> None:
    """Create the accounts and their Tweets; the owner is account 1."""
    data.mkdir(parents=True)
    names = [OWNER, *(f"account_{each}" for each in range(2, ACCOUNTS + 1))]
    accounts = pl.DataFrame({"id": range(1, ACCOUNTS + 1), "screen_name": names})
    for what, frame in (("accounts", accounts), ("tweets", tweets)):
        path = data.with_name(f"{data.name}-{what}.parquet")
        frame.write_parquet(path)
        load(data, what, path)


def load(data: Path, what: str, *files: Path) -> product.Ran:
    """Load whole files.

    Raises:
        RuntimeError: a line was rejected.
    """
    loaded = product.run(data, "load", what, *map(str, files))
    if loaded.answer["rejected"]:
        raise RuntimeError(f"{what}: {loaded.answer}")
    return loaded


def _events(ids: np.ndarray, born_s: np.ndarray, weights: np.ndarray, now_s: int) -> pl.DataFrame:
    rng = np.random.default_rng(7)
    drawn = rng.choice(TWEETS, EVENT_ROWS - TWEETS, p=weights / weights.sum())
    at_tweet = np.concatenate([np.arange(TWEETS), drawn])  # each Tweet has one at least
    room_s = now_s - born_s[at_tweet]
    age_s = np.minimum(rng.exponential(30 * HOUR_S, EVENT_ROWS), room_s * rng.random(EVENT_ROWS))
    shares = np.array([SHARE.get(name, 2) for name in EVENT_TYPES], dtype=float)
    types = rng.choice(len(EVENT_TYPES), EVENT_ROWS, p=shares / shares.sum())
    return pl.DataFrame(
        {
            "tweet_id": ids[at_tweet],
            "type": pl.Series(EVENT_TYPES).gather(types),
            "at": pl.from_epoch(born_s[at_tweet] + age_s.astype(np.int64)),
            "count": 1 + rng.geometric(0.2, EVENT_ROWS),
            "promoted": rng.random(EVENT_ROWS) < 0.01,
        }
    )


def make_keys(data: Path) -> Keys:
    """Create an enabled app of the owner, with all its credentials and the platform's."""
    app = product.run(data, "app", "add", "bench", "--owner", OWNER).answer
    app_id = app["app_id"]
    product.run(data, "app", "enable", app_id, "--per-minute", str(PER_MINUTE))
    token = product.run(data, "token", "issue", app_id).answer
    bearer = product.run(data, "token", "bearer", app_id).answer["access_token"]
    platform_key = product.run(data, "platform-key", "issue", "bench").answer["platform_key"]
    return Keys(
        app["consumer_key"],
        app["consumer_secret"],
        token["access_token"],
        token["access_token_secret"],
        bearer,
        platform_key,
    )
