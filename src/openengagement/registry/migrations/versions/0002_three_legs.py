"""Passwords, sessions, request tokens, and what an app may do."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns and tables of the three-legged flow and its pages."""
    op.add_column("accounts", sa.Column("password_hash", sa.String(255), nullable=True))
    for name, size in (("website", 2048), ("description", 512)):
        op.add_column("apps", sa.Column(name, sa.String(size), nullable=True))
    for table in ("apps", "access_tokens"):
        column = sa.Column("access_level", sa.String(32), nullable=False, server_default="read")
        op.add_column(table, column)
    for name in ("sign_in", "suspended"):
        column = sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())
        op.add_column("apps", column)
    op.add_column("access_tokens", sa.Column("last_used_s", sa.BigInteger, nullable=True))
    op.create_table(
        "request_tokens",
        sa.Column("token", sa.String(64), primary_key=True),
        sa.Column("app_id", sa.BigInteger, sa.ForeignKey("apps.id"), nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("callback", sa.String(2048), nullable=False),
        sa.Column("access_level", sa.String(32), nullable=False),
        sa.Column("created_at_s", sa.BigInteger, nullable=False, index=True),
        sa.Column("account_id", sa.BigInteger, sa.ForeignKey("accounts.id"), nullable=True),
        sa.Column("verifier", sa.LargeBinary, nullable=True),
        sa.Column("attempts", sa.Integer, nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("secret_hash", sa.LargeBinary, primary_key=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("account_id", sa.BigInteger, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("created_at_s", sa.BigInteger, nullable=False, index=True),
        sa.Column("last_seen_s", sa.BigInteger, nullable=False),
        sa.Column("browser", sa.String(64), nullable=False),
    )
