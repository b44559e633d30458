"""Open a data folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from openengagement.auth.keyring import Keyring, open_keyring
from openengagement.clock import Clock
from openengagement.registry.opening import open_registry
from openengagement.registry.registry import Registry
from openengagement.settings import Settings
from openengagement.stores.contract import Stores
from openengagement.stores.opening import open_stores

KEY_FILE: Final = "server.key"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The parts of an open data folder."""

    registry: Registry
    stores: Stores
    keyring: Keyring

    def close(self) -> None:
        """Close the stores and the registry."""
        self.stores.close()
        self.registry.close()


def open_data_folder(data: Path, settings: Settings, *, clock: Clock) -> DataFolder:
    """Open a data folder. Create what is missing, and upgrade what an older version made.

    Raises:
        OSError: the folder cannot be used.
        KeyFileError: the key file cannot be used.
        StoreUnavailable: try again later.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    keyring = open_keyring(data / KEY_FILE, settings.server_keys)
    registry = open_registry(data)
    try:
        stores = open_stores(data, settings, clock=clock)
    except BaseException:
        registry.close()
        raise
    return DataFolder(registry, stores, keyring)
