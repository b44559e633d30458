"""The limits in an LMDB file of the data folder, for the workers of one machine.

They are written on every request, so they have a file of their own. An LMDB transaction of two keys
takes a few microseconds. Its lock is in memory that all workers share. The file is never synced to
the disk. A worker's writes are in the kernel's page cache, where they survive the worker. A crash
of the machine can leave a damaged file, so every boot starts a new one.

Every key begins with a time (8 bytes, big-endian), so the keys to expire come first.
"""

import contextlib
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import lmdb

from openengagement.clock import boot_id
from openengagement.errors import StoreUnavailable
from openengagement.files import hold_lock, write_private
from openengagement.limits.clock_record import ClockRecord, note_clock, oldest_timestamp
from openengagement.limits.contract import CountedWindow, LimitsUnusable, Nonce, RateWindow
from openengagement.limits.lmdb_file import find_damage, is_open
from openengagement.telemetry import log_event

_SLICE: Final = 500  # keys removed in one transaction
_TIME_BYTES: Final = 8
# Address space for about two hundred million nonces. The file is only as large as its content. It
# must never fill up, because even removing keys needs free pages.
_MAP_BYTES: Final = 1 << 34
_ABANDONED_S: Final = 3600
_EFFECT: Final = (
    "signed requests from before the start could be repeated once while their timestamp is valid; "
    "rate limits and password guesses are counted from zero"
)
# Keys of records that never expire: they are later than every time.
_CLOCK: Final = b"\xff" * _TIME_BYTES + b"clock"
_JUMPS: Final = b"\xff" * _TIME_BYTES + b"jumps"
_SEALED: Final = b"\xff" * _TIME_BYTES + b"sealed"
# The kinds of the other keys.
_NONCE: Final = b"n"
_WINDOW: Final = b"w"
_JUMP_FORMAT: Final = struct.Struct("<dd")  # from and to these Unix times
_JUMPS_KEPT: Final = 100
_CLOCK_FORMAT: Final = struct.Struct("<ddd")  # a ClockRecord

Given = ParamSpec("Given")
Result = TypeVar("Result")
_TRIAL: Final = bytes(_TIME_BYTES) + b"trial"
_DAMAGED: Final = (
    *(lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.MapResizedError, lmdb.PanicError),
    *(lmdb.InvalidError, lmdb.CursorFullError, lmdb.PageFullError),
)
_BAD_VALUES: Final = (OverflowError, struct.error)  # damage has changed the length of a value
_MISTAKES: Final = (lmdb.BadValsizeError, lmdb.BadTxnError, lmdb.InvalidParameterError)


def _unavailable(method: Callable[Given, Result]) -> Callable[Given, Result]:
    """Make a method raise StoreUnavailable for a failure that may pass, such as a full disk."""

    @wraps(method)
    def call(*given: Given.args, **named: Given.kwargs) -> Result:
        try:
            return method(*given, **named)
        except _MISTAKES:
            raise
        except (lmdb.Error, *_BAD_VALUES) as error:
            raise StoreUnavailable("limits", str(error)) from error

    return call


class LmdbLimits:
    """Implements `Limits` in a file of `folder`. Several processes may open the same folder.

    Raises:
        LimitsUnusable
    """

    blocking: Final = False  # calls take microseconds

    def __init__(self, folder: Path) -> None:
        path = file_of_boot(folder)
        # Without this lock, one process could remove the file that another has just opened.
        with hold_lock(folder / "limits.lock"):
            self._db = _open_or_create(path)
            _remove_abandoned(path)
        self._seal_file = folder / "limits.sealed"
        if self._seal_file.exists():  # the file of this boot may be new
            self._mark_sealed(self._seal_file.read_bytes())

    @_unavailable
    def remember_nonce(self, nonce: Nonce) -> bool:
        with self._db.begin(write=True) as db:
            _refuse_sealed(db)
            return _insert(db, nonce)

    @_unavailable
    def count(self, subject: bytes, limits: Mapping[int, int], *, now_s: float) -> list[RateWindow]:
        with self._db.begin(write=True) as db:
            _refuse_sealed(db)
            return _count(db, subject, limits=limits, now_s=now_s)

    @_unavailable
    def read(self, subject: bytes, limits: Mapping[int, int], *, now_s: float) -> list[RateWindow]:
        with self._db.begin() as db:
            windows = []
            for length_s, limit in limits.items():
                key, reset_s = _window_key(subject, length_s=length_s, now_s=now_s)
                windows.append(RateWindow(limit, int.from_bytes(db.get(key, b"")), reset_s))
            return windows

    @_unavailable
    def remember_nonce_and_count(
        self, nonce: Nonce, subject: bytes, *, limits: Mapping[int, int], now_s: float
    ) -> list[RateWindow] | None:
        with self._db.begin(write=True) as db:
            _refuse_sealed(db)
            if not _insert(db, nonce):
                return None
            return _count(db, subject, limits=limits, now_s=now_s)

    @_unavailable
    def uncount(self, subject: bytes, length_s: int, *, now_s: float) -> None:
        key = _window_key(subject, length_s=length_s, now_s=now_s)[0]
        with self._db.begin(write=True) as db:
            used = int.from_bytes(db.get(key, b""))
            db.put(key, max(0, used - 1).to_bytes(_TIME_BYTES))

    @_unavailable
    def expire(self, *, now_s: float, uptime_s: float, window_s: int) -> float | None:
        with self._db.begin(write=True) as db:
            stored = db.get(_CLOCK)
            known = ClockRecord(*_CLOCK_FORMAT.unpack(stored)) if stored else None
            record, jumped_s = note_clock(known, now_s=now_s, uptime_s=uptime_s, window_s=window_s)
            db.put(_CLOCK, _CLOCK_FORMAT.pack(*record))
            if jumped_s is not None:
                jumps = db.get(_JUMPS, b"") + _JUMP_FORMAT.pack(now_s - jumped_s, now_s)
                db.put(_JUMPS, jumps[-_JUMPS_KEPT * _JUMP_FORMAT.size :])
        # Remove in slices, because requests wait while a slice is removed.
        oldest = _time(oldest_timestamp(record, uptime_s=uptime_s, window_s=window_s))
        removed = _SLICE
        while removed == _SLICE:
            removed = 0
            with self._db.begin(write=True) as db, db.cursor() as cursor:
                more = cursor.first()
                while more and removed < _SLICE and cursor.key()[:_TIME_BYTES] < oldest:
                    more = cursor.delete()  # moves on to the next key
                    removed += 1
        return jumped_s

    @_unavailable
    def read_all(self) -> tuple[list[Nonce], list[CountedWindow]]:
        nonces: list[Nonce] = []
        windows: list[CountedWindow] = []
        with self._db.begin() as db, db.cursor() as cursor:
            for key, value in cursor:
                time_s, kind, rest = _split(key)
                if kind == _NONCE:
                    nonces.append(Nonce(time_s, rest))
                elif kind == _WINDOW:
                    used = int.from_bytes(value)
                    windows.append(CountedWindow(time_s, int.from_bytes(rest[:4]), rest[4:], used))
        return nonces, windows

    @_unavailable
    def add_all(self, nonces: Sequence[Nonce], windows: Sequence[CountedWindow]) -> None:
        with self._db.begin(write=True) as db:
            for nonce in nonces:
                db.put(_nonce_key(nonce), b"")
            for reset_s, length_s, subject, used in windows:
                key = _time(reset_s) + _WINDOW + length_s.to_bytes(4) + subject
                most = max(used, int.from_bytes(db.get(key, b"")))
                db.put(key, most.to_bytes(_TIME_BYTES))

    def seal(self, reason: str) -> None:
        write_private(self._seal_file, reason.encode())
        self._mark_sealed(reason.encode())

    @_unavailable
    def _mark_sealed(self, reason: bytes) -> None:
        with self._db.begin(write=True) as db:
            db.put(_SEALED, reason)

    @_unavailable
    def release(self) -> None:
        self._seal_file.unlink(missing_ok=True)
        with self._db.begin(write=True) as db:
            db.delete(_SEALED)

    @_unavailable
    def is_sealed(self) -> bool:
        with self._db.begin() as db:
            return db.get(_SEALED) is not None

    def measure(self) -> dict[str, int]:
        """Return the number of nonces and windows."""
        return {"entries": self._db.stat()["entries"]}

    @_unavailable
    def list_jumps(self) -> list[tuple[float, float]]:
        """List the recorded jumps of the clock, the oldest first: from and to these Unix times."""
        with self._db.begin() as db:
            return [*_JUMP_FORMAT.iter_unpack(db.get(_JUMPS, b""))]

    def close(self) -> None:
        self._db.close()


def file_of_boot(folder: Path) -> Path:
    """Return the path of the limits since the machine started."""
    return folder / f"limits-{boot_id() or 'unknown'}.lmdb"


def _open_or_create(path: Path) -> lmdb.Environment:
    """Open the file. Replace it if it is damaged and no process has it open.

    A damaged file cannot be repaired, so the server removes it and starts.
    After any other failure the file stays: other processes may use it, and its nonces must not be
    forgotten.

    Raises:
        LimitsUnusable
    """
    try:
        is_used = is_open(path)
        if damage := find_damage(path):
            _remove_damaged(path, damage)
        opened = _open(path)
        try:
            if not is_used:
                _try_to_write(opened)
        except _DAMAGED as error:
            opened.close()
            _remove_damaged(path, str(error))
            opened = _open(path)
        return opened
    except lmdb.Error as error:
        raise LimitsUnusable(f"{error}; {_advise(error)}") from error


def _remove_damaged(path: Path, damage: str) -> None:
    log_event("limits_replaced", file=path.name, reason=damage, effect=_EFFECT)
    path.unlink()


def _try_to_write(db: lmdb.Environment) -> None:
    """Read all keys, and write one. LMDB notices some damage only then."""
    with db.begin(write=True) as transaction:
        with transaction.cursor() as cursor:
            for _ in cursor.iternext(values=False):
                pass
        transaction.put(_TRIAL, b"")
        transaction.delete(_TRIAL)


def _advise(error: lmdb.Error) -> str:
    if isinstance(error, lmdb.MemoryError):
        return f"allow the server {_MAP_BYTES >> 30} GiB more of address space (ulimit -v)"
    if isinstance(error, lmdb.ReadonlyError):
        return "make the server's user the owner of this file and of the lock file next to it"
    if isinstance(error, lmdb.DiskError):
        return "free space on its disk"
    return "if this persists, stop every server that uses this folder and remove the file"


def _open(path: Path) -> lmdb.Environment:
    return lmdb.open(str(path), map_size=_MAP_BYTES, subdir=False, mode=0o600, sync=False)


def _remove_abandoned(path: Path) -> None:
    """Remove the files of earlier boots, except those written to in the last hour."""
    now_s = path.stat().st_mtime
    for old in path.parent.glob("limits-*.lmdb*"):
        with contextlib.suppress(FileNotFoundError):
            if not old.name.startswith(path.name) and now_s - old.stat().st_mtime > _ABANDONED_S:
                old.unlink()


def _time(seconds: int) -> bytes:
    return seconds.to_bytes(_TIME_BYTES)


def _insert(db: lmdb.Transaction, nonce: Nonce) -> bool:
    return db.put(_nonce_key(nonce), b"", overwrite=False)


def _nonce_key(nonce: Nonce) -> bytes:
    return _time(nonce.timestamp) + _NONCE + nonce.digest


def _refuse_sealed(db: lmdb.Transaction) -> None:
    if (reason := db.get(_SEALED)) is not None:
        raise StoreUnavailable("limits", bytes(reason).decode())


def _split(key: bytes) -> tuple[int, bytes, bytes]:
    """Return the time of a key, its kind, and the rest of it."""
    kind_at = _TIME_BYTES
    return int.from_bytes(key[:kind_at]), key[kind_at : kind_at + 1], key[kind_at + 1 :]


def _count(
    db: lmdb.Transaction, subject: bytes, *, limits: Mapping[int, int], now_s: float
) -> list[RateWindow]:
    windows = []
    for length_s, limit in limits.items():
        key, reset_s = _window_key(subject, length_s=length_s, now_s=now_s)
        used = int.from_bytes(db.get(key, b"")) + 1
        db.put(key, used.to_bytes(_TIME_BYTES))
        windows.append(RateWindow(limit, used, reset_s))
    return windows


def _window_key(subject: bytes, *, length_s: int, now_s: float) -> tuple[bytes, int]:
    """Return the key of a subject's current window, and the Unix second at which it ends."""
    reset_s = (int(now_s // length_s) + 1) * length_s
    return _time(reset_s) + _WINDOW + length_s.to_bytes(4) + subject, reset_s
