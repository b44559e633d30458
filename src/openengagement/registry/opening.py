"""Open the registry. This is the only module that imports an engine for it."""

from contextlib import closing
from pathlib import Path
from typing import Final

from openengagement.damage import Inspection, inspect_database, other_version
from openengagement.extras import import_postgresql
from openengagement.registry.migrate import HEAD, REVISIONS
from openengagement.registry.registry import Registry
from openengagement.registry.sqlite import SqliteDatabase, read_revision
from openengagement.settings import REGISTRY_FILE
from openengagement.sqlite_files import connect, is_new, refuse_foreign_log

_POSTGRESQL: Final = "openengagement.registry.postgresql"
_REMEDY: Final = (
    "Stop the servers. Restore a backup into an empty folder with `openengagement restore`. Apps, "
    "tokens and decisions that were made after the backup are lost"
)


def open_registry(data: Path, url: str = "") -> Registry:
    """Open the registry at a URL of PostgreSQL, or without one that of a data folder.

    The registry of a folder is created, or migrated if an older version made it.

    Raises:
        UnusableFile: a write-ahead log in the folder does not belong to the registry.
        SchemaMismatch: PostgreSQL has no tables, or those of another version.
        StoreUnavailable: PostgreSQL cannot be reached, or refuses the user.
        sqlalchemy.exc.DBAPIError: the database cannot be used.
    """
    if url:
        return Registry(import_postgresql(_POSTGRESQL).PostgresqlDatabase(url))
    return Registry(SqliteDatabase(data / REGISTRY_FILE))


def init_registry(url: str) -> None:
    """Create the tables in PostgreSQL, or migrate those of an older version.

    Raises:
        SchemaMismatch: a newer version made them.
        StoreUnavailable: PostgreSQL cannot be reached, or refuses the user.
    """
    import_postgresql(_POSTGRESQL).init_postgresql(url)


def check_registry(data: Path, inspection: Inspection) -> None:
    """Verify the registry as far as its engine can. Other processes may use it."""
    path = data / REGISTRY_FILE
    if not inspect_database(path, inspection, remedy=_REMEDY):
        return
    with closing(connect(path, mode="ro")) as db:
        revision = read_revision(db)
    if revision != HEAD:
        is_older = revision is None or revision in REVISIONS
        other = other_version(path.name, revision or "unknown", known=HEAD, is_older=is_older)
        inspection.outdated.append(other)


def is_missing(data: Path) -> bool:
    """Whether a data folder has no registry, or one without tables."""
    refuse_foreign_log(data / REGISTRY_FILE)
    return is_new(data / REGISTRY_FILE)
