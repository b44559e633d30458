"""Migrate a registry to the newest schema."""

from typing import Final

import sqlalchemy as sa

from openengagement.registry.schema import CREDENTIAL_VERSION, METADATA

HEAD: Final = "0005"  # the newest revision under migrations/versions; a test compares

_VERSION: Final = sa.Table(
    "alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True)
)


def migrate(connection: sa.Connection) -> None:
    """Create the tables of a new registry, or apply missing migrations to an older one.

    `connection` must be in a transaction that excludes other processes from migrating.
    """
    if not sa.inspect(connection).get_table_names():
        METADATA.create_all(connection, checkfirst=False)
        connection.execute(CREDENTIAL_VERSION.insert().values(id=1, version=0))
        _VERSION.create(connection)
        connection.execute(_VERSION.insert().values(version_num=HEAD))
    elif _revision(connection) != HEAD:
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


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    revision: str | None = connection.scalar(sa.select(_VERSION.c.version_num))
    return revision
