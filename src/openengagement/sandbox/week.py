"""Which week a sandbox serves: the real one from a file, or a simulated one."""

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
    """A week of engagement that ends now, and the simulated events that go beside a real one.

    Raises:
        OSError, ValueError: the file cannot be read.
    """
    if higgs is None:
        dataset = simulate_week(ends_at_s, SEED)
        return dataset, dataset.events.clear()
    dataset = higgs_dataset(read_higgs(higgs), ends_at_s=ends_at_s)
    return dataset, simulate_around(dataset, SEED) if simulated else dataset.events.clear()
