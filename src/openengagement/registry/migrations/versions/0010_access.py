"""Shared figures, mail addresses, links that reset a password, and second factors."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns and tables."""
    op.add_column("accounts", sa.Column("mail", sa.String(254), nullable=True))
    proof = sa.Column("proof", sa.String(16), nullable=False, server_default="password")
    op.add_column("sessions", proof)
    op.create_table(
        "shares",
        _account("owner_id"),
        _account("viewer_id"),
        sa.Column("created_at_s", sa.BigInteger, nullable=False),
        sa.Column("last_used_s", sa.BigInteger, nullable=True),
    )
    op.create_index("ix_shares_viewer_id", "shares", ["viewer_id"])
    op.create_table(
        "password_resets",
        _account("account_id"),
        sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("created_at_s", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "second_factors",
        _account("account_id"),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("confirmed_at_s", sa.BigInteger, nullable=True),
        sa.Column("last_step", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "recovery_codes",
        _account("account_id"),
        sa.Column("code_hash", sa.LargeBinary, primary_key=True),
    )


def _account(name: str) -> sa.Column[int]:
    account = sa.ForeignKey("accounts.id", ondelete="CASCADE")
    return sa.Column(name, sa.BigInteger, account, primary_key=True)
