"""The files of a data folder: open its counters, and damage a file."""

import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Final

from openengagement.clock import SystemClock
from openengagement.registry.opening import open_registry
from openengagement.registry.registry import Registry
from openengagement.stores.embedded.reading import SegmentReader
from openengagement.stores.embedded.store import EmbeddedStore

COUNTERS: Final = "counters.sqlite3"
SEGMENTS: Final = "counters.segments"
REGISTRY: Final = "registry.sqlite3"


def open_store(folder: Path) -> EmbeddedStore:
    """Open the counters as a server does."""
    return EmbeddedStore(folder / COUNTERS, clock=SystemClock(), idempotency_keep_days=9)


@cache
def _empty_registry() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        open_registry(Path(folder)).close()
        return Path(folder, REGISTRY).read_bytes()


def open_new_registry(folder: Path) -> Registry:
    """Open a registry that is a copy of an empty one: to create the tables takes longer."""
    (folder / REGISTRY).write_bytes(_empty_registry())
    return open_registry(folder)


def close_segments(store: EmbeddedStore) -> None:
    """Close all segments of a store, as if its process had just started."""
    new = SegmentReader(store._database, store._folder, totals_cached_max=0)
    store._reader._open = new._open


def total(folder: Path) -> int:
    """Return the replies of Tweet 5."""
    with closing(open_store(folder)) as store:
        return int(store.read_totals([5], ["replies"])[0, 0])


def flip(path: Path, at: int, bit: int) -> None:
    """Flip a bit of the byte at this offset."""
    with path.open("r+b") as file:
        file.seek(at)
        value = file.read(1)[0]
        file.seek(at)
        file.write(bytes([value ^ (1 << bit)]))
