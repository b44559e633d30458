"""The week of engagement that a sandbox serves: real from a file, or simulated."""

from pathlib import Path
from typing import Final

import polars as pl

from openengagement.sandbox.dataset import Dataset
from openengagement.sandbox.higgs import higgs_dataset, read_higgs
from openengagement.sandbox.simulate import simulate_around, simulate_week

SEED: Final = 2012


def make_week(
    higgs: Path | None, *, simulated: bool, ends_at_s: int
) -> tuple[Dataset, pl.DataFrame]:
    """Return a week that ends at `ends_at_s`, and simulated events to add to a real week.

    Raises:
        OSError, ValueError: the file cannot be read.
    """
    if higgs is None:
        dataset = simulate_week(ends_at_s, SEED)
        return dataset, dataset.events.clear()
    dataset = higgs_dataset(read_higgs(higgs), ends_at_s=ends_at_s)
    return dataset, simulate_around(dataset, SEED) if simulated else dataset.events.clear()
