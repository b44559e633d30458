"""Damage in the files of a data folder: what `openengagement check` reports, or a process meets."""

import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from openengagement.errors import StoreDamaged
from openengagement.sqlite_files import connect

OnDamage = Callable[[StoreDamaged], None]


def ignore_damage(_error: StoreDamaged) -> None:
    """Do nothing: the log has it."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A damaged file, by its path in the data folder, and what can be done."""

    file: str
    reason: str
    remedy: str


class FoundDamage:
    """Damage that this process has met, by file, until somebody was told. Threads may share it."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._lock = threading.Lock()

    def note(self, error: StoreDamaged) -> None:
        """Add what a request, a commit or a merge has met."""
        with self._lock:
            self._reasons[error.file] = error.fault

    def list_reasons(self) -> dict[str, str]:
        """Map the damaged files to the reasons."""
        with self._lock:
            return dict(self._reasons)

    def forget(self, files: Iterable[str]) -> None:
        """Remove these files, after somebody was told."""
        with self._lock:
            for file in files:
                self._reasons.pop(file, None)


@dataclass(slots=True)
class Inspection:
    """The result of a check. `on_bytes` is called with the size of each part that was read.

    `outdated` are files of another version of the server, which were not verified further.
    `clock_jumps` are the record that noticed the jump, and two Unix times: the clock was set from
    the first one to the second.
    """

    on_bytes: Callable[[int], object]
    files: int = 0
    damaged: list[Damage] = field(default_factory=list)
    outdated: list[Damage] = field(default_factory=list)
    without_checksums: int = 0
    clock_jumps: list[tuple[str, float, float]] = field(default_factory=list)


def other_version(file: str, version: object, *, known: object, is_older: bool) -> Damage:
    """Describe a file that another version of the server made."""
    reason = f"its version is {version}, and this program knows version {known}"
    upgrade = "Start a server of this version once, which upgrades the folder, and check again"
    return Damage(file, reason, upgrade if is_older else "Check it with the version that made it")


def find_damaged_pages(db: sqlite3.Connection, *, limit: int = 1) -> list[str]:
    """Find damage in the structure of a database. Its pages have no checksums."""
    try:
        rows = db.execute(f"PRAGMA quick_check({limit})").fetchall()
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [row[0] for row in rows if row[0] != "ok"]


def inspect_database(path: Path, inspection: Inspection, *, remedy: str) -> bool:
    """Check the pages of an SQLite file, while others use it. Return whether they are sound."""
    inspection.files += 1
    if not path.exists():
        inspection.damaged.append(Damage(path.name, "the file is missing", remedy))
        return False
    try:
        with closing(connect(path, mode="ro")) as db:
            found = find_damaged_pages(db, limit=10)
    except sqlite3.Error as error:
        found = [str(error)]
    inspection.damaged += [Damage(path.name, reason, remedy) for reason in found]
    inspection.on_bytes(path.stat().st_size)
    return not found
