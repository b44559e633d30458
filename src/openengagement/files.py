"""Locks on files, and atomic writes of private files."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PRIVATE: Final = 0o600  # also the mode that `mkstemp` gives
_ROOM_MIN_BYTES: Final = 1 << 20
_PRIVATE_FOLDER: Final = 0o700
_COPIED_BYTES: Final = 2**16
# What to do about a missing file of a data folder.
PUT_BACK: Final = (
    "Nothing was changed. Put the missing file back, or restore a backup into an empty folder with "
    "`openengagement restore`"
)


class UnusableFile(Exception):
    """A file that the server needs cannot be used. The text says why and what to change."""


class FileLock:
    """An exclusive lock, shared by all threads and processes that open the same path.

    A waiter sleeps in the kernel. The kernel releases the lock of a process that dies.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE)
        # The lock on the file belongs to the process, so its threads need a second lock.
        self._threads = threading.Lock()

    @contextlib.contextmanager
    def held(self, *, wait: bool = True) -> Iterator[bool]:
        """Hold the lock for the block. If another holds it, wait, or yield False without `wait`."""
        if not self._threads.acquire(blocking=wait):
            yield False
            return
        try:
            held = self._lock_file(wait=wait)
            try:
                yield held
            finally:
                if held:
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def hold_until_exit(self) -> bool:
        """Hold the lock until this process ends, even after `exec`. False if another holds it."""
        os.set_inheritable(self._descriptor, True)
        return self._lock_file(wait=False)

    def _lock_file(self, *, wait: bool) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Close the file, which also releases the lock. A second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class SharedLock:
    """A lock that several processes hold at once. The kernel releases it for one that dies."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE)

    def hold(self) -> None:
        """Hold the lock until `release`. A second call does nothing."""
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def release(self) -> None:
        """Hold the lock no longer."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def is_held(self) -> bool:
        """Whether another one holds the lock. This one must not."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        self.release()
        return False

    def close(self) -> None:
        """Close the file, which also releases the lock."""
        os.close(self._descriptor)


@contextlib.contextmanager
def hold_lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock on `path` for the block, as `FileLock.held` does."""
    with contextlib.closing(FileLock(path)) as lock, lock.held(wait=wait) as held:
        yield held


def write_private(path: Path, content: bytes, *, replace: bool = True) -> Path:
    """Write a durable file with mode 0600: readers see all of it or nothing.

    Without `replace`, an existing file stays. If two processes write at once, the first one wins
    for both. Returns `path`.
    """
    descriptor, name = tempfile.mkstemp(".new", prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return path


def copy_private(source: Path, target: Path) -> None:
    """Copy a file durably to a new one with mode 0600. Holes stay holes."""
    with source.open("rb") as reader, target.open("xb") as writer:
        target.chmod(_PRIVATE)
        while chunk := reader.read(_COPIED_BYTES):
            if chunk.count(0) == len(chunk):
                writer.seek(len(chunk), os.SEEK_CUR)
            else:
                writer.write(chunk)
        writer.truncate(reader.tell())
        writer.flush()
        os.fsync(writer.fileno())


def remove_temporary(path: Path) -> None:
    """Remove temporary files that a crash in `write_private(path)` left.

    No other process may write the same path meanwhile.
    """
    for leftover in path.parent.glob(f".{path.name}.*.new"):
        leftover.unlink()


def make_folder(folder: Path) -> None:
    """Create a private folder durably, if it does not exist, and its parents."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make new and removed names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_writable(folder: Path) -> bool:
    """Return whether the file system of a folder is mounted for writing."""
    return not os.statvfs(folder).f_flag & os.ST_RDONLY


def has_room(folder: Path) -> bool:
    """Return whether the file system of a folder has a MiB of free space."""
    return shutil.disk_usage(folder).free >= _ROOM_MIN_BYTES
