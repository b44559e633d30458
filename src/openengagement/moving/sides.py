"""The two sides of a move: a data folder, or the databases of a cluster."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from openengagement.auth.keyring import Keyring, read_key_file
from openengagement.clock import Clock
from openengagement.files import UnusableFile, make_folder, write_private
from openengagement.limits.contract import Limits
from openengagement.limits.opening import open_limits
from openengagement.moving.place_lock import PlaceLock, lock_cluster, lock_folder
from openengagement.registry.encrypted import sample_secrets
from openengagement.registry.opening import is_missing, open_registry
from openengagement.registry.registry import Registry
from openengagement.settings import ENV_PREFIX, Settings
from openengagement.stores.contract import Stores
from openengagement.stores.inventory import Inventory, Moves, refuse_unfinished
from openengagement.stores.opening import hold_data, open_cluster, open_stores

CLUSTER: Final = "cluster"  # stands for the databases that the settings name
KEY_FILE: Final = "server.key"
_KEYS: Final = f"{ENV_PREFIX}SERVER_KEYS"


class CannotMove(UnusableFile):
    """The move cannot begin or go on. The text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a move, open and locked.

    `keys` encrypt the secrets of its registry, newest first.
    """

    name: str
    stores: Stores
    registry: Registry
    limits: Limits
    keys: list[bytes]
    lock: PlaceLock

    @property
    def inventory(self) -> Inventory:
        """Everything in the stores.

        Raises:
            CannotMove: the engine cannot be moved.
        """
        counters = self.stores.counters
        if not isinstance(counters, Moves):
            raise CannotMove(f"the {counters.name} store cannot be moved")
        return counters.inventory()

    def is_empty(self) -> bool:
        """Whether nothing was ever stored here, except by a move."""
        return self.inventory.is_empty() and self.registry.is_empty()

    def close(self) -> None:
        """Close every database."""
        self.limits.close()
        self.stores.close()
        self.registry.close()
        self.lock.close()


def open_source(place: str, settings: Settings, *, clock: Clock) -> Side:
    """Open the side that is moved: `cluster`, or the path of a data folder.

    Raises:
        UnusableFile, OSError, StoreUnavailable: as for `data_folder.open_data_folder`.
    """
    folder = Path(place)
    if place != CLUSTER and (not hold_data(folder) or is_missing(folder)):
        raise CannotMove(f"{place} is not a data folder with counters and a registry")
    side = _open(place, settings, clock=clock)
    try:
        refuse_unfinished(side.stores.counters)
        _verify_keys(side)
    except BaseException:
        side.close()
        raise
    return side


def open_target(place: str, settings: Settings, *, source: Side, clock: Clock) -> Side:
    """Open the side that is filled, and give it the keys of the source.

    Raises:
        UnusableFile, OSError, StoreUnavailable: as for `data_folder.open_data_folder`.
    """
    if place == CLUSTER:
        missing = [key for key in source.keys if key not in _keys_of(place, settings)]
        if missing:
            raise CannotMove(
                f"{_KEYS} lacks {len(missing)} of the {len(source.keys)} keys of {source.name}. "
                "Servers of the cluster could not decrypt its secrets. Set the variable here and "
                f"on every server to the lines of {Path(source.name, KEY_FILE)}, separated by "
                "commas, and your own keys after them"
            )
        return _open(place, settings, clock=clock)
    make_folder(Path(place))
    return _open(place, settings, clock=clock, keys=source.keys)


def _open(place: str, settings: Settings, *, clock: Clock, keys: Sequence[bytes] = ()) -> Side:
    """PlaceLock and open a place. A folder without a key file gets these keys.

    Raises:
        CannotMove: another process has locked it, or it has other keys.
    """
    if place == CLUSTER and not settings.store:
        raise CannotMove(
            f"set {ENV_PREFIX}STORE and {ENV_PREFIX}REGISTRY to the databases of the cluster"
        )
    if place != CLUSTER:
        settings = replace(settings, store="", registry="")
    folder = Path(place)
    with ExitStack() as on_failure:
        lock = lock_cluster(settings.registry) if place == CLUSTER else lock_folder(folder)
        on_failure.callback(lock.close)
        if not lock.is_held():
            raise CannotMove(
                f"another process is moving data from or to {place}. Wait until it ends"
            )
        if keys:
            _write_keys(folder / KEY_FILE, keys)
        registry = open_registry(folder, settings.registry)
        on_failure.callback(registry.close)
        stores = (
            open_cluster(settings, clock=clock)
            if place == CLUSTER
            else open_stores(folder, settings, clock=clock)
        )
        on_failure.callback(stores.close)
        limits = open_limits(folder, settings.registry)
        on_failure.pop_all()
    return Side(place, stores, registry, limits, _keys_of(place, settings), lock)


def _keys_of(place: str, settings: Settings) -> list[bytes]:
    """Read the keys of a side. Those of a folder without a key file are in the settings."""
    file = Path(place, KEY_FILE)
    if place != CLUSTER and file.exists():
        return read_key_file(file)
    return [key.strip().encode() for key in settings.server_keys.split(",") if key.strip()]


def _write_keys(file: Path, keys: Sequence[bytes]) -> None:
    if not file.exists():
        write_private(file, b"".join(key + b"\n" for key in keys))
    elif read_key_file(file) != keys:
        raise CannotMove(f"{file} has other keys than the source. Choose an empty folder")


def _verify_keys(side: Side) -> None:
    keyring = Keyring(side.keys) if side.keys else None
    for secret in sample_secrets(side.registry.database):
        if keyring is None or not keyring.decrypts(secret):
            where = _KEYS if side.name == CLUSTER else f"{Path(side.name, KEY_FILE)}"
            raise CannotMove(f"the keys of {where} do not decrypt every secret of {side.name}")
