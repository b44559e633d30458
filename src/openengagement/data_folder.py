"""Open a data folder.

Its files belong together. A folder that lacks one of them, or has one of another folder, is
refused before anything is created. A server that starts with an empty database beside real data
would hide the loss, and its new data would not fit the restored file.
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from openengagement.auth.keyring import KeyFileError, Keyring, open_keyring
from openengagement.clock import Clock
from openengagement.damage import OnDamage, ignore_damage
from openengagement.erasure import Eraser
from openengagement.errors import StoreDamaged
from openengagement.files import PUT_BACK, UnusableFile, make_folder
from openengagement.registry.encrypted import sample_secrets
from openengagement.registry.opening import is_missing, open_registry
from openengagement.registry.registry import Registry
from openengagement.settings import REGISTRY_FILE, Settings
from openengagement.stores.contract import Measures, Stores
from openengagement.stores.inventory import refuse_unfinished
from openengagement.stores.opening import COUNTERS_FILE, hold_data, open_stores

KEY_FILE: Final = "server.key"
RESTORING: Final = "restore.unfinished"  # in the folder while a backup is copied to it
NOT_OURS: Final = frozenset({"lost+found"})  # in the root of a volume
_BACKED_UP: Final = "last-backup"  # an empty file; its time is that of the last backup


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The parts of an open data folder."""

    registry: Registry
    stores: Stores
    keyring: Keyring

    def eraser(self, *, now_s: Callable[[], float]) -> Eraser:
        """Return what erases accounts from this folder."""
        return Eraser(self.registry, self.stores, now_s=now_s)

    def count_items(self) -> dict[str, int]:
        """Count what the registry and the stores hold, by the names of `openengagement status`.

        It may take a second.
        """
        found = self.registry.count()
        states = self.registry.app_list.count_apps()
        found |= {f"apps_{state}": count for state, count in states.items()}
        for engine in self.stores.engines:
            if isinstance(engine, Measures):
                found |= engine.measure()
        return found

    def close(self) -> None:
        """Close the stores and the registry."""
        self.stores.close()
        self.registry.close()


def open_data_folder(
    data: Path,
    settings: Settings,
    *,
    clock: Clock,
    restoring: bool = False,
    on_damage: OnDamage = ignore_damage,
) -> DataFolder:
    """Open a data folder. Create it if it is empty, and upgrade what an older version made.

    Only the command that restores a backup sets `restoring`. All others are refused until it has
    finished. `on_damage` is called when a merge in the background meets damage.

    Raises:
        UnusableFile: files are missing, or are not of one state.
        OSError: the folder cannot be used.
        KeyFileError: the key file cannot be used.
        StoreUnavailable: try again later.
    """
    make_folder(data)
    if (data / RESTORING).exists() and not restoring:
        raise UnusableFile(
            f"{data}: a restore into this folder has not finished. If none is running, empty the "
            "folder and restore the backup again"
        )
    # Look at the stores first: the process that creates a folder makes the registry before them.
    if hold_data(data) and not settings.registry and is_missing(data):
        raise UnusableFile(
            f"{data / REGISTRY_FILE} is missing or empty, although the folder holds counters. "
            f"{PUT_BACK}"
        )
    registry = open_registry(data, settings.registry)
    try:
        keyring = _open_keyring(data, settings, registry=registry)
        # Look at the registry first: the process that creates a folder fills it after the stores.
        create = _is_empty(registry)
        stores = open_stores(data, settings, clock=clock, create=create, on_damage=on_damage)
    except BaseException:
        registry.close()
        raise
    folder = DataFolder(registry, stores, keyring)
    try:
        refuse_unfinished(stores.counters)
    except BaseException:
        folder.close()
        raise
    return folder


def is_data_folder(data: Path) -> bool:
    """Whether a folder has a file of a data folder, even if others are missing."""
    names = (REGISTRY_FILE, COUNTERS_FILE, KEY_FILE, RESTORING)
    return any((data / name).exists() for name in names)


def note_backup(data: Path) -> None:
    """Note that a backup of the folder has been made now. A full disk does not prevent it."""
    with suppress(OSError):
        (data / _BACKED_UP).touch(mode=0o600)


def read_last_backup(data: Path) -> float | None:
    """Return when the last backup of a folder ended, in Unix seconds; None if there was none."""
    try:
        return (data / _BACKED_UP).stat().st_mtime
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes of a data folder on the disk, and of that disk in all and free."""

    data_bytes: int
    disk_bytes: int
    free_bytes: int


def measure_disk(data: Path) -> DiskUsage:
    """Measure the disk usage of a data folder. Files may be removed meanwhile."""
    used = sum(_disk_usage_of(path) for path in data.rglob("*"))
    disk = shutil.disk_usage(data)
    return DiskUsage(used, disk.total, disk.free)


def _disk_usage_of(path: Path) -> int:
    try:
        return 512 * path.stat().st_blocks if path.is_file() else 0
    except FileNotFoundError:  # it was removed meanwhile
        return 0


def decrypts_any(registry: Registry, keyring: Keyring) -> bool:
    """Whether the keys decrypt a secret of the registry, if it has any."""
    secrets = sample_secrets(registry.database)
    first = next(secrets, None)
    return first is None or any(map(keyring.decrypts, chain([first], secrets)))


def _is_empty(registry: Registry) -> bool:
    try:
        return registry.is_empty()
    except StoreDamaged:
        return False


def _open_keyring(data: Path, settings: Settings, *, registry: Registry) -> Keyring:
    """Open the keys. Create a key file only if no secret needs an older one."""
    path = data / KEY_FILE
    secrets = sample_secrets(registry.database)
    missing = not settings.server_keys and not path.exists()
    try:
        first = next(secrets, None)
    except StoreDamaged:
        if missing:
            raise
        return open_keyring(path, settings.server_keys)  # a server answers 503 where it must
    if first is not None and missing:
        raise KeyFileError(
            f"{path} is missing, although the registry holds secrets that are encrypted with it. "
            "Nothing was changed. Put the file back, or set OPENENGAGEMENT_SERVER_KEYS to its keys"
        )
    keyring = open_keyring(path, settings.server_keys)
    if first is not None and not any(map(keyring.decrypts, chain([first], secrets))):
        source = "OPENENGAGEMENT_SERVER_KEYS" if settings.server_keys else str(path)
        raise KeyFileError(
            f"{source} cannot decrypt any secret of the registry: it belongs to another data "
            "folder. Nothing was changed. Put the right keys back"
        )
    return keyring
