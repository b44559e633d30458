"""Refused requests of apps by day."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "usage_refusals",
        sa.Column("app_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("reason", sa.String(64), primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_usage_refusals_day", "usage_refusals", ["day"])
