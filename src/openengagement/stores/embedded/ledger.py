"""The ledger: used idempotency keys, and how far each source has been read.

Its times are those of `ledger_time`.
"""

import hashlib
import sqlite3
from typing import Final

from openengagement.stores.contract import (
    Answer,
    Applied,
    Batch,
    KeyConflict,
    Position,
    PositionConflict,
)

SCHEMA: Final = """
CREATE TABLE batches (
    key BLOB PRIMARY KEY, digest BLOB NOT NULL, outcome BLOB NOT NULL, applied_at_s INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX batches_by_age ON batches (applied_at_s)
"""
POSITIONS: Final = """
CREATE TABLE positions (source TEXT PRIMARY KEY, position BLOB NOT NULL) STRICT, WITHOUT ROWID
"""
# Version 0.1.0 had one namespace of keys for all producers, and another digest. Its keys of batches
# get a name of their own; those of files are of no use, because files are cut elsewhere now.
_OLDER: Final = b"0.1.0:"
RENAME_OLDER: Final = (
    "UPDATE batches SET key = CAST('0.1.0:' || substr(key, 5) AS BLOB) "
    "WHERE length(digest) = 16 AND substr(key, 1, 4) = CAST('key:' AS BLOB)"
)
_OLDER_DIGEST_BYTES: Final = 16
NEVER: Final = 2**62  # an `applied_at_s` so late that the key never expires


def expire_keys(db: sqlite3.Connection, *, before_s: int) -> None:
    """Forget the keys of batches that were applied before this time."""
    db.execute("DELETE FROM batches WHERE applied_at_s < ?", (before_s,))


def claim(db: sqlite3.Connection, batch: Batch, *, now_s: int) -> Answer:
    """Decide whether a batch is new. Record its key, and its position, also that of a repeat."""
    position = batch.position
    if position is not None and read_position(db, position.source) != position.after:
        return PositionConflict()
    if batch.key is not None:
        query = "SELECT digest, outcome FROM batches WHERE key = ?"
        known = db.execute(query, (batch.key,)).fetchone()
        if known is not None:
            digest, outcome = known
            if digest != batch.digest:
                return KeyConflict()
            _move_to(db, position)
            return Applied(True, outcome)
        row = (batch.key, batch.digest, batch.outcome, now_s if batch.expires else NEVER)
        db.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", row)
    _move_to(db, position)
    return Applied(False, batch.outcome)


def _move_to(db: sqlite3.Connection, position: Position | None) -> None:
    if position is not None:
        row = (position.source, position.offset)
        db.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", row)


def read_outcome(db: sqlite3.Connection, key: bytes, *, digest: bytes) -> bytes | None:
    """Read the outcome of the batch with this key and digest."""
    query = "SELECT outcome FROM batches WHERE key = ? AND digest = ?"
    row: tuple[bytes] | None = db.execute(query, (key, digest)).fetchone()
    return row[0] if row else None


def holds_older(db: sqlite3.Connection) -> bool:
    """Whether it has keys of batches that version 0.1.0 counted."""
    query = "SELECT 1 FROM batches WHERE key >= ? AND key < ? LIMIT 1"
    return db.execute(query, (_OLDER, _OLDER[:-1] + b";")).fetchone() is not None


def read_older_outcome(db: sqlite3.Connection, key: bytes, *, body: bytes) -> bytes | None:
    """Read the outcome of this batch if version 0.1.0 counted it under this key."""
    query = "SELECT digest, outcome FROM batches WHERE key = ?"
    row = db.execute(query, (_OLDER + key,)).fetchone()
    if row is None:
        return None
    digest, outcome = row
    same = hashlib.blake2b(body, digest_size=_OLDER_DIGEST_BYTES).digest() == digest
    return bytes(outcome) if same else None


def read_position(db: sqlite3.Connection, source: str) -> bytes | None:
    """Read the offset that was last committed for a source."""
    query = "SELECT position FROM positions WHERE source = ?"
    row: tuple[bytes] | None = db.execute(query, (source,)).fetchone()
    return row[0] if row else None
