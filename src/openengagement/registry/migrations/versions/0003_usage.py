"""Usage of apps, contracted handles, and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add usage, contracted handles and the audit log."""
    op.add_column("apps", sa.Column("handles_contracted", sa.Integer, nullable=True))
    op.create_table(
        "usage_requests",
        sa.Column("month", sa.String(7), primary_key=True),
        sa.Column("app_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("outcome", sa.String(64), primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "usage_handles",
        sa.Column("month", sa.String(7), primary_key=True),
        sa.Column("app_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("account_id", sa.BigInteger, primary_key=True, autoincrement=False),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at_s", sa.BigInteger, nullable=False),
        sa.Column("actor_id", sa.BigInteger, nullable=True),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("app_id", sa.BigInteger, nullable=True, index=True),
        sa.Column("subject", sa.String(128), nullable=False),
        sa.Column("before", sa.String(32), nullable=True),
        sa.Column("after", sa.String(32), nullable=True),
    )
