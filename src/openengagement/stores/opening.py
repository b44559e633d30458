"""Opening the Tweets and counters of a data folder: the only module that names a concrete store."""

from pathlib import Path

from openengagement.clock import Clock
from openengagement.settings import Settings
from openengagement.stores.contract import CounterStore
from openengagement.stores.embedded.store import EmbeddedStore


def open_counters(data: Path, settings: Settings, *, clock: Clock) -> CounterStore:
    """Open them, making what is not there yet.

    Raises:
        OSError: the folder cannot be used.
    """
    return EmbeddedStore(
        data / "counters.sqlite3", clock=clock, idempotency_keep_days=settings.idempotency_keep_days
    )
