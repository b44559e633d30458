"""The SQLite file of the embedded store: one connection per thread, one writer at a time.

Writers of all threads and processes wait for a file lock, because SQLite's own busy handler polls,
which can starve a writer. Checkpoints run under the same lock, so they never delay a write. Readers
hold no lock: the write-ahead log gives each of them a snapshot.
"""

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

from openengagement.damage import find_damaged_pages
from openengagement.errors import StoreDamaged, StoreUnavailable
from openengagement.files import FileLock
from openengagement.sqlite_commits import CommitWatch
from openengagement.sqlite_files import (
    DAMAGED,
    connect,
    count_commit,
    is_refusal,
    primary_code,
    refuse_foreign_log,
    scrub,
)

NAME: Final = "embedded"
# Pages of the log after which a commit writes them back to the database: 64 MiB.
_CHECKPOINT_PAGES: Final = 16_384
# Bytes of the file that are mapped. All processes share them, unlike SQLite's own page cache.
_MMAP_BYTES: Final = 2**28
# Failures that no retry helps, among those that SQLite reports as OperationalError.
_MISTAKE: Final = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY}
_OS_MAY_PASS: Final = {
    *(errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT),
    errno.EROFS,
}


class Database:
    """The database in the file `path`. Every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._open_lock = threading.Lock()
        self._write_lock = FileLock(path.with_suffix(".lock"))
        self._commits: CommitWatch | None = None  # until `opening` has created the file

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            # Only this thread uses the connection, but any thread may close the store.
            connection = connect(
                self.path, mode="rw", isolation_level=None, check_same_thread=False
            )
            with self._open_lock:
                self._open.append(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL syncs the log at each commit: an acknowledged batch survives power loss.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cell_size_check = ON")  # notices more damage
            connection.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            self._local.connection = connection
        return connection

    def mark(self) -> object:
        """Return a value that differs from all earlier ones if any process has committed since.

        A snapshot that is taken after this call sees at least the commits that the mark counts.
        """
        return object() if self._commits is None else self._commits.mark()

    @contextmanager
    def opening(self) -> Iterator[sqlite3.Connection]:
        """Create the file if it is missing, and run the block as in `writing`.

        Raises:
            UnusableFile: a write-ahead log next to it does not belong to it.
            StoreUnavailable, OSError: as for `snapshot`.
        """
        with self._write_lock.held():
            refuse_foreign_log(self.path)
            if not self.path.exists():
                self.path.touch(mode=0o600)
            with self._transaction() as db:
                yield db
            self._commits = CommitWatch(self.path)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Run the block as the only writer, in a transaction: all of it is committed, or nothing.

        Raises:
            StoreUnavailable, StoreDamaged, OSError: as for `snapshot`.
        """
        with self._write_lock.held(), self._transaction() as db:
            yield db

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            db = self.connection()
            db.execute("BEGIN IMMEDIATE")
            changes = db.total_changes
            try:
                yield db
                if db.total_changes != changes:
                    count_commit(db.execute)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except (sqlite3.DatabaseError, OSError) as error:
            self._raise_as_promised(error)

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Run the block in a read transaction: all its statements see the same state.

        Raises:
            StoreUnavailable: SQLite or a file failed in a way that may pass.
            StoreDamaged: the database is damaged.
            OSError: the data cannot be written. Only `opening` raises it for a read-only file.
        """
        try:
            db = self.connection()
            db.execute("BEGIN")
            try:
                yield db
            finally:
                if db.in_transaction:  # a disk error can end it
                    db.execute("COMMIT")
        except (sqlite3.DatabaseError, OSError) as error:
            self._raise_as_promised(error)

    def scrub(self) -> None:
        """Rewrite the file and empty its log. All other writers wait meanwhile.

        Raises:
            StoreUnavailable, StoreDamaged, OSError: as for `snapshot`.
        """
        with self._write_lock.held():
            try:
                clean = scrub(self.connection())
            except (sqlite3.DatabaseError, OSError) as error:
                self._raise_as_promised(error)
        if not clean:
            raise StoreUnavailable(NAME, "a reader keeps the log of the database in use")

    def _raise_as_promised(self, error: sqlite3.DatabaseError | OSError) -> NoReturn:
        """Raise StoreUnavailable if a retry may help, StoreDamaged for damage, else the error.

        Busy, out of memory, a full disk and I/O errors may pass, and so may a file system that the
        kernel made read-only after an error. Everything else is a mistake of ours, or of the
        operator.
        """
        if isinstance(error, OSError):
            if error.errno in _OS_MAY_PASS:
                raise StoreUnavailable(NAME, os.strerror(error.errno)) from error
            raise error
        code = primary_code(error)
        if code in DAMAGED:
            raise StoreDamaged(NAME, self.path.name, reason=str(error)) from error
        if is_refusal(error):
            raise StoreUnavailable(NAME, str(error)) from error
        is_open = self._commits is not None
        if is_open and code == sqlite3.SQLITE_READONLY:
            raise StoreUnavailable(NAME, str(error)) from error
        if isinstance(error, sqlite3.OperationalError) and code not in _MISTAKE:
            raise StoreUnavailable(NAME, str(error)) from error
        if code == sqlite3.SQLITE_READONLY:
            raise OSError(f"the counters cannot be used: {error}") from error
        raise error

    def close(self) -> None:
        """Close every thread's connection."""
        with self._open_lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
        if self._commits is not None:
            self._commits.close()
        self._write_lock.close()


def verify_pages(db: sqlite3.Connection, *, file: str) -> None:
    """Verify the structure of a database. Its pages have no checksums.

    Raises:
        StoreDamaged
    """
    for reason in find_damaged_pages(db):
        raise StoreDamaged(NAME, file, reason=reason)
