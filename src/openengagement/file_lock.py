"""Turns: one at a time, in all threads and processes, by a lock on a file.

A waiter sleeps in the kernel until its turn. A process that dies gives its turn back.
"""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FileLock:
    """Whoever has taken it is alone, among all that made theirs from the same path."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        # The file's lock belongs to the process: threads of one need another between them.
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, *, wait: bool = True) -> Iterator[bool]:
        """Have the turn for a while; False, without `wait`, when somebody else has it."""
        if not self._lock.acquire(blocking=wait):
            yield False
            return
        try:
            mine = self._lock_file(wait=wait)
            try:
                yield mine
            finally:
                if mine:
                    fcntl.flock(self._file, fcntl.LOCK_UN)
        finally:
            self._lock.release()

    def _lock_file(self, *, wait: bool) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._file.close()
