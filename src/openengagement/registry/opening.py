"""Open the registry of a data folder. This is the only module that imports its engine."""

from contextlib import closing
from pathlib import Path
from typing import Final

from openengagement.damage import Inspection, inspect_database, other_version
from openengagement.registry.migrate import HEAD, REVISIONS
from openengagement.registry.registry import Registry
from openengagement.registry.sqlite import SqliteDatabase, read_revision
from openengagement.settings import REGISTRY_FILE
from openengagement.sqlite_files import connect, is_new, refuse_foreign_log

_REMEDY: Final = (
    "Stop the servers. Restore a backup into an empty folder with `openengagement restore`. Apps, "
    "tokens and decisions that were made after the backup are lost"
)


def open_registry(data: Path) -> Registry:
    """Open the registry of a data folder. Create it, or migrate an older one.

    Raises:
        UnusableFile: a write-ahead log next to it does not belong to it.
        sqlalchemy.exc.DBAPIError: the database cannot be used.
    """
    return Registry(SqliteDatabase(data / REGISTRY_FILE))


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
