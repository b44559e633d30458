"""The SQLite file of the embedded store: a connection a thread, one writer at a time.

Writers, in every thread and process, take turns, where SQLite's own busy handler would poll and
starve. Checkpoints run inside that turn too, so a write and a checkpoint never meet. Readers take
no lock: the write-ahead log gives each of them a snapshot.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from openengagement.files import FileLock

# Pages the log may reach before a commit folds it back into the database: 64 MiB.
_CHECKPOINT_PAGES: Final = 16_384
# How much of the file is read in place: shared by all readers, where a cache would be one's own.
_MMAP_BYTES: Final = 2**28


class Database:
    """The file `path`, from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._open_lock = threading.Lock()
        self._turn = FileLock(path.with_suffix(".lock"))

    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            # Used by one thread only, but closed by whoever closes the store.
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            with self._open_lock:
                self._open.append(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL syncs the log at each commit: an acknowledged batch survives power loss.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            self._local.connection = connection
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One turn as the only writer: a transaction that commits, or leaves no trace."""
        with self._turn.held():
            db = self.connection()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A transaction that reads: all its statements see the same state."""
        db = self.connection()
        db.execute("BEGIN")
        try:
            yield db
        finally:
            if db.in_transaction:  # SQLite ends it itself where the disk fails
                db.execute("COMMIT")

    def close(self) -> None:
        """Close every thread's connection."""
        with self._open_lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
        self._turn.close()
