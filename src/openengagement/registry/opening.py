"""Open the registry of a data folder. This is the only module that imports its engine."""

from pathlib import Path
from typing import Final

from openengagement.damage import Inspection, inspect_database
from openengagement.registry.registry import Registry
from openengagement.registry.sqlite import SqliteDatabase

_REMEDY: Final = (
    "Stop the servers. Restore a backup into an empty folder. Apps, tokens and decisions of after "
    "the backup are lost"
)


def open_registry(data: Path) -> Registry:
    """Open the registry of a data folder. Create it, or migrate an older one.

    Raises:
        sqlalchemy.exc.DBAPIError: the database cannot be used.
    """
    return Registry(SqliteDatabase(data / "registry.sqlite3"))


def check_registry(data: Path, inspection: Inspection) -> None:
    """Verify the registry as far as its engine can. Other processes may use it."""
    inspect_database(data / "registry.sqlite3", inspection, remedy=_REMEDY)
