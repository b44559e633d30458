"""Open the registry of a data folder. This is the only module that imports its engine."""

from pathlib import Path

from openengagement.registry.registry import Registry
from openengagement.registry.sqlite import SqliteDatabase


def open_registry(data: Path) -> Registry:
    """Open the registry of a data folder. Create it, or migrate an older one.

    Raises:
        sqlalchemy.exc.DBAPIError: the database cannot be used.
    """
    return Registry(SqliteDatabase(data / "registry.sqlite3"))
