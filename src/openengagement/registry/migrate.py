"""Migrate a registry to the newest schema."""

from typing import Final

import sqlalchemy as sa

from openengagement.files import UnusableFile
from openengagement.registry.schema import CREDENTIAL_VERSION, METADATA

# The revisions under migrations/versions, and the newest of them; a test compares.
REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")
HEAD: Final = REVISIONS[-1]

_VERSION: Final = sa.Table(
    "alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True)
)


class SchemaMismatch(UnusableFile):
    """The tables are missing, or another version of the server made them."""

    def __init__(self, revision: str | None) -> None:
        if revision is None:
            text = "the registry has no tables: run `openengagement cluster init`"
        elif revision in REVISIONS:
            text = (
                f"the registry has the tables of an older version (schema {revision}, and this one "
                f"needs {HEAD}): stop the servers of that version, then run `openengagement "
                "cluster init`"
            )
        else:
            text = (
                f"the registry was made by a later version of the server (schema {revision}, and "
                f"this one knows {HEAD}). Nothing was changed. Start the later version, or restore "
                "a backup of this version into an empty folder with `openengagement restore`"
            )
        super().__init__(text)


def migrate(connection: sa.Connection) -> None:
    """Create the tables of a new registry, or apply missing migrations to an older one.

    `connection` must be in a transaction that excludes other processes from migrating.

    Raises:
        SchemaMismatch: a later version made the registry.
    """
    if not sa.inspect(connection).get_table_names():
        METADATA.create_all(connection, checkfirst=False)
        connection.execute(CREDENTIAL_VERSION.insert().values(id=1, version=0))
        _VERSION.create(connection)
        connection.execute(_VERSION.insert().values(version_num=HEAD))
    elif (revision := read_revision(connection)) != HEAD:
        if revision is not None and revision not in REVISIONS:
            raise SchemaMismatch(revision)
        upgrade(connection, HEAD)


def upgrade(connection: sa.Connection, revision: str) -> None:
    """Apply migrations up to this revision."""
    # Importing Alembic takes long, and almost no start needs it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "openengagement.registry:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def read_revision(connection: sa.Connection) -> str | None:
    """Return the revision of the tables, None if there are none."""
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    revision: str | None = connection.scalar(sa.select(_VERSION.c.version_num))
    return revision
