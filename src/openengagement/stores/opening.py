"""Open the stores of a data folder. This is the only module that imports an engine for them."""

from pathlib import Path
from typing import Final

from openengagement.clock import Clock
from openengagement.damage import Inspection
from openengagement.files import PUT_BACK, UnusableFile
from openengagement.settings import Settings
from openengagement.sqlite_files import is_new
from openengagement.stores.contract import Stores
from openengagement.stores.embedded.checking import inspect_counters
from openengagement.stores.embedded.store import EmbeddedStore, holds_counters

COUNTERS_FILE: Final = "counters.sqlite3"


def open_stores(data: Path, settings: Settings, *, clock: Clock, create: bool = True) -> Stores:
    """Open the stores, and upgrade their files, or create them if `create` is true.

    Raises:
        UnusableFile: the files are not of one state.
        OSError: the folder cannot be used, or another version of the server made it.
        StoreUnavailable: try again later.
    """
    path = data / COUNTERS_FILE
    if not create and is_new(path):
        raise UnusableFile(f"{path} is missing or empty, although it was in use. {PUT_BACK}")
    store = EmbeddedStore(
        path,
        clock=clock,
        idempotency_keep_days=settings.idempotency_keep_days,
        totals_cached_max=settings.totals_cached_max,
    )
    return Stores(store, store)


def check_stores(data: Path, inspection: Inspection) -> None:
    """Verify the files of the stores. Other processes may use them."""
    inspect_counters(data / COUNTERS_FILE, inspection)


def hold_data(data: Path) -> bool:
    """Whether the stores of a data folder hold anything.

    Raises:
        UnusableFile: the files are not of one state.
    """
    return holds_counters(data / COUNTERS_FILE)
