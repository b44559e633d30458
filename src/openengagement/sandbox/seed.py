"""Build the data folder of a sandbox: a week of engagement that ends now, and credentials.

Credentials are kept between starts, so that a developer's `.env` keeps working. The engagement is
replaced at every start, because the week ends now.
"""

import shutil
from contextlib import closing
from pathlib import Path
from typing import Final

import polars as pl

from openengagement.clock import Clock
from openengagement.data_folder import open_data_folder
from openengagement.errors import StoreUnavailable
from openengagement.files import UnusableFile
from openengagement.sandbox.dataset import Dataset, fold_dataset
from openengagement.sandbox.demo import Demo, describe
from openengagement.sandbox.higgs import higgs_dataset, read_higgs
from openengagement.sandbox.simulate import simulate_around, simulate_week
from openengagement.sandbox.texts import invent_texts
from openengagement.settings import Settings
from openengagement.stores.contract import Batch
from openengagement.stores.opening import open_stores

_SEED: Final = 2012


def build_sandbox(
    data: Path, settings: Settings, *, clock: Clock, higgs: Path | None, simulated: bool
) -> Demo:
    """Build a sandbox in the folder `data`, with the week of the file `higgs` or a simulated one.

    `simulated` adds simulated events to the week of the file.

    Raises:
        OSError, ValueError: the Higgs file cannot be read.
        UnusableFile: a store is damaged, or cannot be used now.
    """
    now_s = int(clock.now_s())
    dataset, extra = _make_week(higgs, simulated=simulated, ends_at_s=now_s)
    for old in data.glob("counters.*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    deltas = fold_dataset(pl.concat([dataset.events, extra]))
    try:
        # The registry is kept, and a folder that has one is refused if its counters are missing.
        open_stores(data, settings, clock=clock).close()
        with closing(open_data_folder(data, settings, clock=clock)) as folder:
            folder.registry.accounts.apply_accounts(dataset.accounts.rows(), now_s=now_s)
            folder.stores.tweets.apply_tweets(_with_content(dataset.tweets, invented=higgs is None))
            folder.stores.counters.apply_batches([Batch(deltas, key=None, digest=b"", outcome=b"")])
            return describe(folder, dataset, extra=extra.height, now_s=now_s)
    except StoreUnavailable as error:  # it cannot be pickled for the command's process
        raise UnusableFile(f"{data}: {error}") from None


def _with_content(tweets: pl.DataFrame, *, invented: bool) -> pl.DataFrame:
    """Add the columns that a week lacks. The words of real Tweets are unknown."""
    missing = pl.lit(None, pl.String)
    texts = pl.Series(invent_texts(tweets.height), dtype=pl.String) if invented else missing
    return tweets.with_columns(deleted=False, text=texts, url=missing, thumbnail_url=missing)


def _make_week(
    higgs: Path | None, *, simulated: bool, ends_at_s: int
) -> tuple[Dataset, pl.DataFrame]:
    """Return a week that ends at `ends_at_s`, and simulated events to add to a real week."""
    if higgs is None:
        dataset = simulate_week(ends_at_s, _SEED)
        return dataset, dataset.events.clear()
    dataset = higgs_dataset(read_higgs(higgs), ends_at_s=ends_at_s)
    return dataset, simulate_around(dataset, _SEED) if simulated else dataset.events.clear()
