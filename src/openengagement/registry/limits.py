"""Used nonces and rate windows: what must hold across workers but need not outlive a power cut.

They are written on every request, so they live in a file of their own, apart from what is durable,
and by the plain driver. One short transaction a request does both. `synchronous = NORMAL` keeps the
file whole without a sync per commit. Housekeeping (expired nonces, the log's checkpoint) is `tidy`,
called off the request's path, because a checkpoint can wait for the disk.
"""

import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

MINUTE_S: Final = 60
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS nonces (
    timestamp INTEGER NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (timestamp, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rates (
    app_id INTEGER NOT NULL, length_s INTEGER NOT NULL, window INTEGER NOT NULL,
    used INTEGER NOT NULL, PRIMARY KEY (app_id, length_s)
) STRICT, WITHOUT ROWID
"""
_COUNT: Final = """
INSERT INTO rates VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET
    used = CASE window WHEN excluded.window THEN used + 1 ELSE 1 END, window = excluded.window
RETURNING used
"""
_FORGET: Final = """
DELETE FROM nonces WHERE (timestamp, digest) IN (
    SELECT timestamp, digest FROM nonces WHERE timestamp < ? LIMIT ?
)
"""
_SLICE: Final = 500


class Nonce(msgspec.Struct, frozen=True):
    """A nonce to remember: the request's timestamp and a digest of (consumer, token, nonce)."""

    timestamp: int
    digest: bytes


class RateWindow(msgspec.Struct, frozen=True):
    """One rate limit as it stands after a request. `reset_s` is Unix seconds."""

    limit: int
    used: int
    reset_s: int

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def exceeded(self) -> bool:
        return self.used > self.limit


class Limits:
    """Nonces and rate windows in the SQLite file `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        self._turn_file = path.with_suffix(".lock").open("wb")
        self._db = self._connect()
        with self._writing() as db:
            for statement in _SCHEMA.split(";\n"):
                db.execute(statement)

    def remember(self, nonce: Nonce) -> bool:
        """Remember a nonce whose signature was found good; False when it was used before."""
        with self._writing() as db:
            return _insert(db, nonce)

    def count(self, app_id: int, limits: dict[int, int], *, now_s: float) -> list[RateWindow]:
        """Count one request of an app in each of its windows: `limits` maps seconds -> requests."""
        with self._writing() as db:
            return [
                _count(db, app_id, length_s=length_s, limit=limit, now_s=now_s)
                for length_s, limit in limits.items()
            ]

    def admit(
        self, nonce: Nonce, app_id: int, *, limits: dict[int, int], now_s: float
    ) -> list[RateWindow] | None:
        """`remember` and `count` in one transaction; None, nothing counted, for a used nonce."""
        with self._writing() as db:
            if not _insert(db, nonce):
                return None
            return [
                _count(db, app_id, length_s=length_s, limit=limit, now_s=now_s)
                for length_s, limit in limits.items()
            ]

    def tidy(self, *, oldest_timestamp: int) -> None:
        """Forget nonces that their timestamp alone refuses by now, and fold the log back.

        In slices, because a request waits for its turn behind each.
        """
        forgotten = _SLICE
        while forgotten == _SLICE:
            with self._writing() as db:
                forgotten = db.execute(_FORGET, (oldest_timestamp, _SLICE)).rowcount
        other = self._connect()
        try:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            other.close()

    def close(self) -> None:
        self._db.close()
        self._turn_file.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        # A commit changes two rows and logs the pages they are on: small pages, small log.
        db.execute("PRAGMA page_size = 1024")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        return db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        # As in stores.sqlite: a file lock wakes the next writer at once, a busy handler polls.
        with self._turn:
            fcntl.flock(self._turn_file, fcntl.LOCK_EX)
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            finally:
                fcntl.flock(self._turn_file, fcntl.LOCK_UN)


def _insert(db: sqlite3.Connection, nonce: Nonce) -> bool:
    done = db.execute("INSERT OR IGNORE INTO nonces VALUES (?, ?)", (nonce.timestamp, nonce.digest))
    return done.rowcount > 0


def _count(
    db: sqlite3.Connection, app_id: int, *, length_s: int, limit: int, now_s: float
) -> RateWindow:
    window = int(now_s // length_s)
    used: int = db.execute(_COUNT, (app_id, length_s, window)).fetchone()[0]
    return RateWindow(limit, used, (window + 1) * length_s)
