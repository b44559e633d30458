"""The files of a data folder: open its counters, and damage a file."""

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from openengagement.clock import SystemClock
from openengagement.registry.opening import open_registry
from openengagement.registry.registry import Registry
from openengagement.registry.schema import NOTIFICATIONS
from openengagement.stores.embedded import segments
from openengagement.stores.embedded.reading import SegmentReader
from openengagement.stores.embedded.store import EmbeddedStore

COUNTERS: Final = "counters.sqlite3"
SEGMENTS: Final = "counters.segments"
REGISTRY: Final = "registry.sqlite3"
_NOBODY: Final = 65534


def open_store(folder: Path) -> EmbeddedStore:
    """Open the counters as a server does."""
    return EmbeddedStore(folder / COUNTERS, clock=SystemClock(), idempotency_keep_days=9)


@contextmanager
def without_root() -> Iterator[None]:
    """Let the modes of files count for the block: if this process is root, become another user."""
    user = os.geteuid()
    os.seteuid(user or _NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


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


def checkpoint(path: Path) -> None:
    """Move the content of a database from its write-ahead log to its file."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


def flip_table(path: Path, table: str) -> None:
    """Damage the pages at which a table of a database and its indexes begin."""
    checkpoint(path)
    with closing(sqlite3.connect(path)) as db:
        query = "SELECT rootpage FROM sqlite_schema WHERE tbl_name = ? AND rootpage > 0"
        roots = db.execute(query, (table,)).fetchall()
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    for (root,) in roots:
        flip(path, (root - 1) * page_bytes, 1)


def flip_last_total(path: Path) -> None:
    """Damage a segment where no health check reads."""
    arrays = [each for each in segments._read_head(path.read_bytes()) if "totals" in each[0]]
    _, dtype, length, offset = next(each for each in arrays if "checksums" not in each[0])
    flip(path, offset + length * int(dtype[-1]) - 1, 1)


def files_told_of(folder: Path) -> list[str]:
    """Return the damaged files of which managers are notified."""
    query = sa.select(NOTIFICATIONS.c.data).where(NOTIFICATIONS.c.type == "damage.found")
    with closing(open_registry(folder)) as registry, registry.database.reading() as db:
        return [json.loads(data)["file"] for data in db.scalars(query)]
