"""The registry's tables. Migrations under `migrations/` build them; a test holds the two alike."""

import sqlalchemy as sa

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ACCOUNTS = sa.Table(
    "accounts",
    METADATA,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("screen_name", sa.String(64), nullable=False),
    sa.Column("screen_name_key", sa.String(128), nullable=False, unique=True),
    sa.Column("protected", sa.Boolean, nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("created_at_s", sa.BigInteger, nullable=False),
)

APPS = sa.Table(
    "apps",
    METADATA,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("owner_id", sa.BigInteger, sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("consumer_key", sa.String(64), nullable=False, unique=True),
    sa.Column("consumer_secret", sa.LargeBinary, nullable=False),  # encrypted
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("per_minute", sa.Integer, nullable=True),  # null: the setting's default
    sa.Column("bearer_generation", sa.Integer, nullable=False),
    sa.Column("bearer_hash", sa.LargeBinary, nullable=True, unique=True),  # null: no live token
    sa.Column("created_at_s", sa.BigInteger, nullable=False),
)

CALLBACKS = sa.Table(
    "callbacks",
    METADATA,
    sa.Column("app_id", sa.BigInteger, sa.ForeignKey("apps.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("url", sa.String(2048), nullable=False),
)

ACCESS_TOKENS = sa.Table(
    "access_tokens",
    METADATA,
    sa.Column("token", sa.String(128), primary_key=True),
    sa.Column("app_id", sa.BigInteger, sa.ForeignKey("apps.id"), nullable=False),
    sa.Column("account_id", sa.BigInteger, sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False),  # encrypted
    sa.Column("created_at_s", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("app_id", "account_id"),
)

PLATFORM_KEYS = sa.Table(
    "platform_keys",
    METADATA,
    sa.Column("key_hash", sa.LargeBinary, primary_key=True),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("created_at_s", sa.BigInteger, nullable=False),
)
