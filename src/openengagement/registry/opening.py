"""Opens the registry of a data folder. Only this module names a database engine."""

from pathlib import Path

from openengagement.registry.registry import Registry
from openengagement.registry.sqlite import SqliteDatabase


def open_registry(data: Path) -> Registry:
    """Open the registry of a data folder. Make it on first use, and migrate an older one.

    Raises:
        sqlalchemy.exc.DBAPIError: the database cannot be used.
    """
    return Registry(SqliteDatabase(data / "registry.sqlite3"))
