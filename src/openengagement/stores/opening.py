"""Open the stores of a data folder. This is the only module that imports an engine for them."""

from pathlib import Path

from openengagement.clock import Clock
from openengagement.damage import Inspection
from openengagement.settings import Settings
from openengagement.stores.contract import Stores
from openengagement.stores.embedded.checking import inspect_counters
from openengagement.stores.embedded.store import EmbeddedStore


def open_stores(data: Path, settings: Settings, *, clock: Clock) -> Stores:
    """Open the stores, and create or upgrade their files.

    Raises:
        OSError: the folder cannot be used, or another version of the server made it.
        StoreUnavailable: try again later.
    """
    store = EmbeddedStore(
        data / "counters.sqlite3", clock=clock, idempotency_keep_days=settings.idempotency_keep_days
    )
    return Stores(store, store)


def check_stores(data: Path, inspection: Inspection) -> None:
    """Verify the files of the stores. Other processes may use them."""
    inspect_counters(data / "counters.sqlite3", inspection)
