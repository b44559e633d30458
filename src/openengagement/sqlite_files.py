"""Checks on SQLite files before they are opened, and the commit number that makes them possible.

SQLite applies a write-ahead log (`-wal`) to whatever database lies next to it, for example to a
backup that was copied over the files of a killed server. The result is a mixture of both. To
notice this, each commit increments a number in the header of the database (the application id).
The log begins where the database ends: its first commit follows the one that the file has.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from openengagement.files import UnusableFile

_NUMBERS: Final = 2**31
_NUMBER_AT: Final = 68  # the offset of the application id in the database's first page
_LOG_HEAD_BYTES: Final = 32
_FRAME_HEAD_BYTES: Final = 24
# A live server may checkpoint or restart its log while both files are read, again and again.
_ATTEMPTS: Final = 20
_RETRY_AFTER_S: Final = 0.05
_SCRUBS: Final = 20
DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}  # primary result codes


def count_commit(execute: Callable[[str], Any]) -> None:
    """Increment the commit number. Call it in every transaction that changes rows."""
    (number,) = execute("PRAGMA application_id").fetchone()
    execute(f"PRAGMA application_id = {(number + 1) % _NUMBERS}")


def is_new(path: Path) -> bool:
    """Whether a database is missing, empty, or has no tables yet."""
    if not path.exists() or not path.stat().st_size:
        return True
    try:
        with closing(connect(path, mode="ro")) as db:
            return db.execute("SELECT 1 FROM sqlite_schema").fetchone() is None
    except sqlite3.DatabaseError:
        return False  # not a database; opening it says so


def connect(path: Path, *, mode: str, **options: Any) -> sqlite3.Connection:  # noqa: ANN401
    """Connect to an existing file, which is never created. `mode` is `rw` or `ro`."""
    uri = f"file:{quote(str(path))}?mode={mode}"
    connection: sqlite3.Connection = sqlite3.connect(uri, uri=True, **options)
    return connection


def scrub(db: sqlite3.Connection) -> bool:
    """Overwrite what deleted rows have left in a database: free pages, unused parts, and its log.

    Writes the whole file anew, which needs as much free space twice. Writers wait meanwhile.
    Returns False if a reader kept the log in use; the file itself is clean then.
    """
    db.execute("VACUUM")
    for attempt in range(_SCRUBS):
        if attempt:
            time.sleep(_RETRY_AFTER_S)
        # Waits for readers of older states as long as the connection's timeout.
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            return True
    return False


def refuse_foreign_log(path: Path) -> None:
    """Refuse a database if the write-ahead log next to it belongs to another state of it.

    Call it before this process connects to the database. It closes a descriptor of the file, which
    releases all locks of the process on the file, also those of SQLite.

    Raises:
        UnusableFile
    """
    before: tuple[list[int] | None, int | None] | None = None
    for _ in range(_ATTEMPTS):
        numbers = _read_log(Path(f"{path}-wal"))
        number = None if numbers is None else _read_number(path)
        if _log_fits(numbers, number):
            return
        if (numbers, number) == before:  # no server writes
            break
        before = (numbers, number)
        time.sleep(_RETRY_AFTER_S)
    raise UnusableFile(
        f"{path}-wal does not belong to {path.name}: one of the two was copied here from elsewhere "
        "or is missing. Nothing was changed. Move all files of the folder to another place, and "
        "restore a backup into the empty folder with `openengagement restore`"
    )


def primary_code(error: BaseException) -> int:
    """Return SQLite's primary result code, the low byte. Errors of the module itself have none."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def is_refusal(error: BaseException) -> bool:
    """Whether a trigger has refused a change, because the database is sealed."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_TRIGGER


def _log_fits(numbers: list[int] | None, number: int | None) -> bool:
    """Whether the file has the state before the log's first commit, or a state of the log.

    `numbers` are those of the log's commits, None without a log; `number` is that of the file.
    """
    if numbers is None:
        return True
    if number is None or not numbers:
        return number is not None
    # Modulo, because the number returns to 0 after two billion commits.
    before = numbers[0] - 1
    return (number - before) % _NUMBERS <= max((each - before) % _NUMBERS for each in numbers)


def _read_number(path: Path) -> int | None:
    """Read the commit number of the file itself, without its log. None if there is no database."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        number = os.pread(file.fileno(), 4, _NUMBER_AT)
    return int.from_bytes(number) if len(number) == 4 else None  # noqa: PLR2004


def _read_log(log: Path) -> list[int] | None:
    """Read the commit numbers in a log; None if it has no frame."""
    if not log.exists():
        return None
    with log.open("rb") as file:
        descriptor = file.fileno()
        head = os.pread(descriptor, _LOG_HEAD_BYTES, 0)
        page_bytes, salts = int.from_bytes(head[8:12]), head[16:24]
        at = _LOG_HEAD_BYTES
        numbers: list[int] = []
        # Frames of an older log follow those of the present one. Their salts differ.
        while len(frame := os.pread(descriptor, _FRAME_HEAD_BYTES, at)) == _FRAME_HEAD_BYTES:
            if frame[8:16] != salts:
                break
            at += _FRAME_HEAD_BYTES
            if int.from_bytes(frame[:4]) == 1:
                numbers.append(int.from_bytes(os.pread(descriptor, 4, at + _NUMBER_AT)))
            at += page_bytes
    return numbers if at > _LOG_HEAD_BYTES else None
