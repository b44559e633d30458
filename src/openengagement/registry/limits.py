"""Used nonces and rate windows: what must hold across workers but need not outlive a power cut.

They are written on every request, so they live in a file of their own (LMDB: a transaction of two
keys takes a few microseconds, and its lock is in memory that all workers share). It is never synced
to the disk: what a worker wrote is the kernel's, and stays when the worker is killed. What a crash
of the whole machine leaves of it cannot be relied on, so a new boot begins a new file.

Every key leads with a time (8 bytes, big-endian), so that `tidy` forgets from the oldest on.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import lmdb
import msgspec

from openengagement.files import hold_lock

MINUTE_S: Final = 60
_SLICE: Final = 500
_TIME_BYTES: Final = 8
# Room for some two hundred million nonces. It is address space; the file is as large as what it
# holds. Once full there would be no room to forget in, so it must not fill.
_MAP_BYTES: Final = 1 << 34
_ABANDONED_S: Final = 3600
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class LimitsUnusable(Exception):
    """The file cannot be used; the text says why and what to change."""


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
    """Nonces and rate windows in a file of the folder `folder`.

    Raises:
        LimitsUnusable
    """

    def __init__(self, folder: Path) -> None:
        boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "unknown"
        path = folder / f"limits-{boot}.lmdb"
        # Otherwise one process could remove the file that another has just opened.
        with hold_lock(folder / "limits.lock"):
            self._db = _open_or_begin(path)
            _forget_abandoned(path)

    def remember(self, nonce: Nonce) -> bool:
        """Remember a nonce whose signature was found good; False when it was used before."""
        with self._db.begin(write=True) as db:
            return _insert(db, nonce)

    def count(self, subject: bytes, limits: Mapping[int, int], *, now_s: float) -> list[RateWindow]:
        """Count one more of a subject in each window: `limits` maps seconds -> how many."""
        with self._db.begin(write=True) as db:
            return [
                _count(db, subject, length_s=length_s, limit=limit, now_s=now_s)
                for length_s, limit in limits.items()
            ]

    def give_back(self, subject: bytes, length_s: int, *, now_s: float) -> None:
        """Undo one `count` of a subject in the present window."""
        key = _window_key(subject, length_s=length_s, now_s=now_s)[0]
        with self._db.begin(write=True) as db:
            used = int.from_bytes(db.get(key, b""))
            db.put(key, max(0, used - 1).to_bytes(_TIME_BYTES))

    def admit(
        self, nonce: Nonce, subject: bytes, *, limits: Mapping[int, int], now_s: float
    ) -> list[RateWindow] | None:
        """`remember` and `count` in one transaction; None, nothing counted, for a used nonce."""
        with self._db.begin(write=True) as db:
            if not _insert(db, nonce):
                return None
            return [
                _count(db, subject, length_s=length_s, limit=limit, now_s=now_s)
                for length_s, limit in limits.items()
            ]

    def tidy(self, *, oldest_timestamp: int) -> None:
        """Forget nonces that their timestamp alone refuses by now, and windows as old.

        In slices, because a request waits for its turn behind each.
        """
        oldest = _time(oldest_timestamp)
        forgotten = _SLICE
        while forgotten == _SLICE:
            forgotten = 0
            with self._db.begin(write=True) as db, db.cursor() as cursor:
                more = cursor.first()
                while more and forgotten < _SLICE and cursor.key()[:_TIME_BYTES] < oldest:
                    more = cursor.delete()  # moves on to the next
                    forgotten += 1

    def close(self) -> None:
        self._db.close()


def _open_or_begin(path: Path) -> lmdb.Environment:
    """Open the file, or begin it anew where it is none of LMDB's.

    That is what a crash of the machine may leave, where there is no boot id to tell. At any other
    failure others may be using the file: were it removed, what they have seen could be replayed.

    Raises:
        LimitsUnusable
    """
    try:
        with contextlib.suppress(lmdb.InvalidError):
            return _open(path)
        path.unlink()
        return _open(path)
    except lmdb.Error as error:
        raise LimitsUnusable(f"{error}; {_advise(error)}") from error


def _advise(error: lmdb.Error) -> str:
    if isinstance(error, lmdb.MemoryError):
        return f"allow the server {_MAP_BYTES >> 30} GiB more of address space (ulimit -v)"
    if isinstance(error, lmdb.ReadonlyError):
        return "give this file, and the one beside it, to the user that the server runs as"
    if isinstance(error, lmdb.DiskError):
        return "make room on its disk"
    return "if it cannot be mended, stop every server of this folder and remove the file"


def _open(path: Path) -> lmdb.Environment:
    return lmdb.open(str(path), map_size=_MAP_BYTES, subdir=False, mode=0o600, sync=False)


def _forget_abandoned(path: Path) -> None:
    """Remove the files of other boots beside this one, unless somebody still writes to them."""
    now_s = path.stat().st_mtime
    for old in path.parent.glob("limits-*.lmdb*"):
        with contextlib.suppress(FileNotFoundError):
            if not old.name.startswith(path.name) and now_s - old.stat().st_mtime > _ABANDONED_S:
                old.unlink()


def _time(seconds: int) -> bytes:
    return seconds.to_bytes(_TIME_BYTES)


def _insert(db: lmdb.Transaction, nonce: Nonce) -> bool:
    return db.put(_time(nonce.timestamp) + b"n" + nonce.digest, b"", overwrite=False)


def _count(
    db: lmdb.Transaction, subject: bytes, *, length_s: int, limit: int, now_s: float
) -> RateWindow:
    key, reset_s = _window_key(subject, length_s=length_s, now_s=now_s)
    used = int.from_bytes(db.get(key, b"")) + 1
    db.put(key, used.to_bytes(_TIME_BYTES))
    return RateWindow(limit, used, reset_s)


def _window_key(subject: bytes, *, length_s: int, now_s: float) -> tuple[bytes, int]:
    """The key of a subject's present window, and when it ends."""
    reset_s = (int(now_s // length_s) + 1) * length_s
    return _time(reset_s) + b"w" + length_s.to_bytes(4) + subject, reset_s
