"""Build the data folder of a sandbox: a week of engagement that ends now, and credentials.

Credentials are kept between starts, so that a developer's `.env` keeps working. The engagement is
replaced at every start, because the week ends now.
"""

import shutil
from pathlib import Path

import polars as pl

from openengagement.clock import Clock
from openengagement.data_folder import DataFolder, open_data_folder
from openengagement.sandbox.dataset import Dataset, fold_dataset
from openengagement.sandbox.demo import Demo, describe
from openengagement.sandbox.week import make_week
from openengagement.settings import Settings
from openengagement.stores.contract import Batch


def build_sandbox(
    data: Path, settings: Settings, *, clock: Clock, higgs: Path | None, simulated: bool
) -> Demo:
    """Build a sandbox in the folder `data`; see `make_week` for `higgs` and `simulated`.

    Raises:
        OSError, ValueError: the Higgs file cannot be read.
    """
    now_s = int(clock.now_s())
    dataset, extra = make_week(higgs, simulated=simulated, ends_at_s=now_s)
    for old in data.glob("counters.*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    folder = open_data_folder(data, settings, clock=clock)
    try:
        _register(folder, dataset, now_s=now_s)
        deltas = fold_dataset(pl.concat([dataset.events, extra]))
        folder.stores.counters.apply_batches([Batch(deltas, key=None, digest=b"", outcome=b"")])
        return describe(folder, dataset, extra=extra.height, now_s=now_s)
    finally:
        folder.close()


def _register(folder: DataFolder, dataset: Dataset, *, now_s: int) -> None:
    folder.registry.accounts.apply_accounts(dataset.accounts.rows(), now_s=now_s)
    folder.stores.tweets.apply_tweets(dataset.tweets.with_columns(deleted=False))
