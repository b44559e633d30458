"""Accounts, apps, access tokens and platform keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Build the first tables."""
    op.create_table(
        "accounts",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("screen_name", sa.String(64), nullable=False),
        sa.Column("screen_name_key", sa.String(128), nullable=False, unique=True),
        sa.Column("protected", sa.Boolean, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at_s", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "apps",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("owner_id", sa.BigInteger, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("consumer_key", sa.String(64), nullable=False, unique=True),
        sa.Column("consumer_secret", sa.LargeBinary, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("per_minute", sa.Integer, nullable=True),
        sa.Column("bearer_generation", sa.Integer, nullable=False),
        sa.Column("bearer_hash", sa.LargeBinary, nullable=True, unique=True),
        sa.Column("created_at_s", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "callbacks",
        sa.Column("app_id", sa.BigInteger, sa.ForeignKey("apps.id"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("url", sa.String(2048), nullable=False),
    )
    op.create_table(
        "access_tokens",
        sa.Column("token", sa.String(128), primary_key=True),
        sa.Column("app_id", sa.BigInteger, sa.ForeignKey("apps.id"), nullable=False),
        sa.Column("account_id", sa.BigInteger, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("created_at_s", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("app_id", "account_id"),
    )
    op.create_table(
        "platform_keys",
        sa.Column("key_hash", sa.LargeBinary, primary_key=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("created_at_s", sa.BigInteger, nullable=False),
    )
