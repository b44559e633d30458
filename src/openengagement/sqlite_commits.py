"""Notice commits to an SQLite database without running a statement.

A statement takes microseconds, and it releases the interpreter's lock. A request would run several
only to learn that nothing has changed. So `CommitWatch` reads the header of the WAL index, the file
`-shm`, from a mapping. The header changes with every commit of every process, because it counts
commits and holds a checksum of the write-ahead log. SQLite stores it twice, so that a reader
notices a header that is half written. Source: https://sqlite.org/walformat.html, section 2.1.
"""

import mmap
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from openengagement.sqlite_files import connect

_HEADER_BYTES: Final = 48
_VERSION: Final = (3_007_000).to_bytes(4, sys.byteorder)
_INITIALIZED: Final = 12  # offset of a byte that is 1 unless SQLite rebuilds the index


class _Indexes:
    """The mapped WAL indexes of this process, by device and inode.

    A descriptor of such a file must not be closed while SQLite uses the file: the kernel would
    release all locks that this process holds on it, also those of SQLite. So there is one mapping
    of each file, and it stays open until SQLite has removed the file with its last connection.
    """

    def __init__(self) -> None:
        self._mapped: dict[tuple[int, int], tuple[int, mmap.mmap]] = {}
        self._lock = threading.Lock()

    def map(self, path: Path) -> mmap.mmap | None:
        """Map the first bytes of a WAL index. None if it cannot be used."""
        with self._lock, suppress(OSError, ValueError):
            self._close_removed()
            status = path.stat()
            key = status.st_dev, status.st_ino
            if key not in self._mapped:
                file = os.open(path, os.O_RDONLY)
                mapping = mmap.mmap(file, 2 * _HEADER_BYTES, access=mmap.ACCESS_READ)
                self._mapped[key] = file, mapping
            mapping = self._mapped[key][1]
            return mapping if mapping[: len(_VERSION)] == _VERSION else None
        return None

    def _close_removed(self) -> None:
        for key, (file, _) in list(self._mapped.items()):
            if not os.fstat(file).st_nlink:
                del self._mapped[key]  # a watch may still read the mapping
                os.close(file)


_INDEXES: Final = _Indexes()


class CommitWatch:
    """Watches the database in the file `path`. Safe from any thread."""

    def __init__(self, path: Path) -> None:
        # While this connection is open, SQLite does not remove the WAL index.
        self._connection = connect(path, mode="rw", isolation_level=None, check_same_thread=False)
        self._lock = threading.Lock()
        self._read_data_version()  # creates the index
        self._index = _INDEXES.map(Path(f"{path.resolve()}-shm"))

    def mark(self) -> bytes | int:
        """Return a value that differs from all earlier ones if any process has committed since.

        A transaction that begins after this call sees at least the commits that the mark counts.
        """
        if self._index is not None:
            header, copy = self._index[:_HEADER_BYTES], self._index[_HEADER_BYTES:]
            if header == copy and header[_INITIALIZED] == 1:
                return header
        return self._read_data_version()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _read_data_version(self) -> int:
        with self._lock:
            version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
            return version
