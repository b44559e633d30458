"""Removed apps, accounts that are being erased, and the account that a change of role concerns."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables and the column."""
    op.create_table(
        "removed_apps",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(128), nullable=True),
        sa.Column("owner_id", sa.BigInteger, nullable=True),
    )
    op.create_table(
        "erasures",
        sa.Column("account_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("began_at_s", sa.BigInteger, nullable=False),
    )
    op.add_column("audit_log", sa.Column("account_id", sa.BigInteger, nullable=True))
