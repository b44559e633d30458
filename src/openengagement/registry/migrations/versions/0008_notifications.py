"""Notifications for managers, the webhooks that they are sent to, and their deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("url", sa.String(2048), nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("old_secret", sa.LargeBinary, nullable=True),
        sa.Column("old_secret_until_s", sa.BigInteger, nullable=True),
        sa.Column("types", sa.String(255), nullable=True),
        sa.Column("created_at_s", sa.BigInteger, nullable=False),
    )
    app = sa.ForeignKey("apps.id", ondelete="CASCADE")
    op.create_table(
        "notifications",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("occasion", sa.String(255), nullable=False, unique=True),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("app_id", sa.BigInteger, app, nullable=True),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("created_at_s", sa.BigInteger, nullable=False, index=True),
        sa.Column("queued", sa.Boolean, nullable=False),
    )
    notification = sa.ForeignKey("notifications.id", ondelete="CASCADE")
    op.create_table(
        "deliveries",
        sa.Column("notification_id", sa.String(40), notification, primary_key=True),
        sa.Column("target", sa.String(32), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at_s", sa.BigInteger, nullable=False),
        sa.Column("result", sa.String(64), nullable=True),
    )
