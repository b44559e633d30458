"""Bring a registry to the newest schema."""

from typing import Final

import sqlalchemy as sa

HEAD: Final = "0003"  # the newest revision under migrations/versions; a test compares


def migrate(engine: sa.Engine) -> None:
    """Apply the migrations that are missing. Costs one look when there are none."""
    with engine.begin() as connection:
        if _revision(connection) == HEAD:
            return
        # Alembic takes a while to import, and almost every start gets here without needing it.
        from alembic import command  # noqa: PLC0415
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", "openengagement.registry:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return revision
