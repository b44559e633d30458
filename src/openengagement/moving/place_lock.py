"""The lock of a place: only one process at a time moves it, fills it, or opens it again.

The kernel or PostgreSQL releases the lock of a process that dies.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol

from openengagement.extras import import_postgresql
from openengagement.files import hold_lock

_FILE: Final = "move.lock"
_NUMBER: Final = 7_106_913  # of the lock in PostgreSQL; any number


class PlaceLock(Protocol):
    """A lock on a place, which may be held by another process."""

    def is_held(self) -> bool:
        """Whether this process holds it."""

    def close(self) -> None:
        """Give it up."""


class _FolderLock:
    def __init__(self, folder: Path) -> None:
        self._lock = ExitStack()
        self._held = self._lock.enter_context(hold_lock(folder / _FILE, wait=False))

    def is_held(self) -> bool:
        return self._held

    def close(self) -> None:
        self._lock.close()


def lock_folder(folder: Path) -> PlaceLock:
    """Lock a data folder, which must exist. `is_held` says whether that succeeded."""
    return _FolderLock(folder)


def lock_cluster(registry: str) -> PlaceLock:
    """Lock the cluster whose registry is at this URL, as `lock_folder`.

    Raises:
        StoreUnavailable: PostgreSQL cannot be reached now.
        sqlalchemy.exc.DBAPIError: the URL has a faulty option.
    """
    lock: PlaceLock = import_postgresql("openengagement.postgresql").SessionLock(registry, _NUMBER)
    return lock
