"""Stores that are closed after each test."""

import pytest

from openengagement.clock import Uptime
from openengagement.stores.embedded.store import EmbeddedStore


class Clock:
    def now_s(self):
        return 1_795_342_500.0

    def uptime(self):
        return Uptime("boot", 1000.0)


@pytest.fixture
def path(tmp_path):
    """Where `open_store` opens."""
    return tmp_path / "counters.sqlite3"


@pytest.fixture
def open_store(path):
    """Opens the store. A second one on the same file is like that of another process."""
    stores = []

    def opened(**options):
        store = EmbeddedStore(path, clock=Clock(), idempotency_keep_days=90, **options)
        stores.append(store)
        return store

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store):
    return open_store(totals_cached_max=1000)
