"""Scopes and expiry of platform keys. Keys of before have all scopes and never expire."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("platform_keys", sa.Column("scopes", sa.String(64), nullable=True))
    op.add_column("platform_keys", sa.Column("expires_at_s", sa.BigInteger, nullable=True))
