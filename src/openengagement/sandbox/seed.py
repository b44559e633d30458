"""Build the data folder of a sandbox: weeks of engagement that end now, and credentials.

Credentials are kept between starts, so that a developer's `.env` keeps working. The engagement is
replaced at every start, because it ends now.
"""

import hashlib
import shutil
from base64 import urlsafe_b64encode
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from openengagement.clock import Clock
from openengagement.data_folder import KEY_FILE, open_data_folder
from openengagement.errors import StoreUnavailable
from openengagement.files import UnusableFile, write_private
from openengagement.sandbox.dataset import (
    EVENTS_SCHEMA,
    TWEETS_SCHEMA,
    Dataset,
    fold_dataset,
)
from openengagement.sandbox.demo import Demo, describe
from openengagement.sandbox.higgs import higgs_dataset, read_higgs
from openengagement.sandbox.simulate import simulate_accounts, simulate_around, simulate_weeks
from openengagement.sandbox.texts import invent_texts
from openengagement.settings import Settings
from openengagement.stores.contract import Batch
from openengagement.stores.opening import open_stores

_SEED: Final = 2012


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a sandbox is made of: the week of the file `higgs`, or else four simulated ones.

    `simulated` adds simulated events to the week of the file. With `empty` there are accounts and
    credentials, but neither Tweets nor events. With a `seed`, the credentials, and the engagement
    apart from its time, are the same in every sandbox of this seed. It ends at `now_s` (Unix
    seconds), or else now.
    """

    higgs: Path | None = None
    simulated: bool = True
    empty: bool = False
    seed: int | None = None
    now_s: int | None = None


def build_sandbox(data: Path, settings: Settings, *, clock: Clock, recipe: Recipe) -> Demo:
    """Build a sandbox in the folder `data`.

    Raises:
        OSError, ValueError: the Higgs file cannot be read.
        UnusableFile: a store is damaged, or cannot be used now.
    """
    now_s = int(clock.now_s()) if recipe.now_s is None else recipe.now_s
    dataset, extra = _make_engagement(recipe, ends_at_s=now_s)
    for old in data.glob("counters.*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    if recipe.seed is not None:
        _replace_credentials(data, recipe.seed)
    deltas = fold_dataset(pl.concat([dataset.events, extra]))
    try:
        # The registry is kept, and a folder that has one is refused if its counters are missing.
        open_stores(data, settings, clock=clock).close()
        with closing(open_data_folder(data, settings, clock=clock)) as folder:
            folder.registry.accounts.apply_accounts(dataset.accounts.rows(), now_s=now_s)
            folder.stores.tweets.apply_tweets(
                _with_content(dataset.tweets, invented=recipe.higgs is None)
            )
            folder.stores.counters.apply_batches([Batch(deltas, key=None, digest=b"", outcome=b"")])
            simulated = extra.height if recipe.higgs else dataset.events.height
            return describe(folder, dataset, extra=(extra.height, simulated), now_s=now_s)
    except StoreUnavailable as error:  # it cannot be pickled for the command's process
        raise UnusableFile(f"{data}: {error}") from None


def _replace_credentials(data: Path, seed: int) -> None:
    """Remove the registry and the used nonces, and derive the key file from the seed.

    All credentials of the demo are derived from the key file.
    """
    for pattern in ("registry.sqlite3*", "limits-*"):
        for old in data.glob(pattern):
            old.unlink()
    key = urlsafe_b64encode(hashlib.sha256(f"sandbox {seed}".encode()).digest())
    write_private(data / KEY_FILE, key + b"\n")


def _make_empty(seed: int) -> Dataset:
    accounts = simulate_accounts(seed)
    return Dataset(accounts, TWEETS_SCHEMA.to_frame(), EVENTS_SCHEMA.to_frame())


def _with_content(tweets: pl.DataFrame, *, invented: bool) -> pl.DataFrame:
    """Add the columns that the Tweets lack. The words of real Tweets are unknown."""
    missing = pl.lit(None, pl.String)
    texts = pl.Series(invent_texts(tweets.height), dtype=pl.String) if invented else missing
    return tweets.with_columns(deleted=False, text=texts, url=missing, thumbnail_url=missing)


def _make_engagement(recipe: Recipe, *, ends_at_s: int) -> tuple[Dataset, pl.DataFrame]:
    """Return engagement up to `ends_at_s`, and simulated events to add to that of a file."""
    seed = _SEED if recipe.seed is None else recipe.seed
    if recipe.higgs is None:
        dataset = _make_empty(seed) if recipe.empty else simulate_weeks(ends_at_s, seed)
        return dataset, dataset.events.clear()
    dataset = higgs_dataset(read_higgs(recipe.higgs), ends_at_s=ends_at_s)
    return dataset, simulate_around(dataset, seed) if recipe.simulated else dataset.events.clear()
