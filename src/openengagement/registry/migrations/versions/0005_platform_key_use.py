"""When each platform key was last used."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column, and remove the trigger that takes its changes for changes of credentials."""
    op.add_column("platform_keys", sa.Column("last_used_s", sa.BigInteger, nullable=True))
    if op.get_bind().dialect.name == "sqlite":  # no other engine has triggers
        op.execute("DROP TRIGGER IF EXISTS platform_keys_UPDATE")
