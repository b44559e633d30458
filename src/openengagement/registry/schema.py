"""The registry's tables. A test compares them with the result of all migrations.

Rows of a table marked as `cached` may be in the credential caches. A transaction that changes one
must pass `credentials=True` to `Database.writing`.
"""

from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from openengagement.engagement.permissions import AccessLevel, Proof, Role

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_CACHED: Final = {"cached": True}


def word(words: type[StrEnum], *, length: int) -> sa.types.TypeEngine[Any]:
    """Return the type of a column that stores the values of an enumeration as text."""
    return sa.Enum(
        words, native_enum=False, length=length, values_callable=lambda kind: list(map(str, kind))
    )


_ACCESS_LEVEL: Final = word(AccessLevel, length=32)


def _account(name: str, *, index: bool = False) -> sa.Column[int]:
    """Make a column of a key: an account, whose removal removes the row.

    A server of an older version does not know the table, and must be able to erase the account.
    """
    account = sa.ForeignKey("accounts.id", ondelete="CASCADE")
    return sa.Column(name, sa.BigInteger, account, primary_key=True, index=index)


ACCOUNTS = sa.Table(
    "accounts",
    METADATA,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("screen_name", sa.String(64), nullable=False),
    sa.Column("screen_name_key", sa.String(128), nullable=False, unique=True),
    sa.Column("protected", sa.Boolean, nullable=False),
    sa.Column("role", word(Role, length=16), nullable=False),
    sa.Column("created_at_s", sa.BigInteger, nullable=False),
    sa.Column("password_hash", sa.String(255), nullable=True),  # Argon2id; null: none was set
    sa.Column("mail", sa.String(254), nullable=True),  # the address for messages to the person
    info=_CACHED,
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
    sa.Column("website", sa.String(2048), nullable=True),
    sa.Column("description", sa.String(512), nullable=True),
    sa.Column("access_level", _ACCESS_LEVEL, nullable=False, server_default="read"),
    sa.Column("sign_in", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("suspended", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("handles_contracted", sa.Integer, nullable=True),  # a month; null: no contract
    info=_CACHED,
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
    sa.Column("access_level", _ACCESS_LEVEL, nullable=False, server_default="read"),
    sa.Column("last_used_s", sa.BigInteger, nullable=True),
    sa.UniqueConstraint("app_id", "account_id"),
    info=_CACHED,
)

REQUEST_TOKENS = sa.Table(
    "request_tokens",
    METADATA,
    sa.Column("token", sa.String(64), primary_key=True),
    sa.Column("app_id", sa.BigInteger, sa.ForeignKey("apps.id"), nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False),  # encrypted
    sa.Column("callback", sa.String(2048), nullable=False),  # a URL, or oob
    sa.Column("access_level", _ACCESS_LEVEL, nullable=False),
    sa.Column("created_at_s", sa.BigInteger, nullable=False, index=True),
    # Both null until a person authorizes the app.
    sa.Column("account_id", sa.BigInteger, sa.ForeignKey("accounts.id"), nullable=True),
    sa.Column("verifier", sa.LargeBinary, nullable=True),  # encrypted
    sa.Column("attempts", sa.Integer, nullable=False),
)

SESSIONS = sa.Table(
    "sessions",
    METADATA,
    sa.Column("secret_hash", sa.LargeBinary, primary_key=True),
    sa.Column("id", sa.String(32), nullable=False, unique=True),  # does not authenticate
    sa.Column("account_id", sa.BigInteger, sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("created_at_s", sa.BigInteger, nullable=False, index=True),
    sa.Column("last_seen_s", sa.BigInteger, nullable=False),
    sa.Column("browser", sa.String(64), nullable=False),
    sa.Column("proof", word(Proof, length=16), nullable=False, server_default="password"),
)

# Accounts (owners) that let other accounts (viewers) see their figures on the pages.
SHARES = sa.Table(
    "shares",
    METADATA,
    _account("owner_id"),
    _account("viewer_id", index=True),
    sa.Column("created_at_s", sa.BigInteger, nullable=False),
    sa.Column("last_used_s", sa.BigInteger, nullable=True),
)

# Links in mail that set a new password. An account has at most one.
PASSWORD_RESETS = sa.Table(
    "password_resets",
    METADATA,
    _account("account_id"),
    sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("created_at_s", sa.BigInteger, nullable=False, index=True),
)

# Authenticator apps. A row without `confirmed_at_s` is not asked for at sign-in.
SECOND_FACTORS = sa.Table(
    "second_factors",
    METADATA,
    _account("account_id"),
    sa.Column("secret", sa.LargeBinary, nullable=False),  # encrypted
    sa.Column("confirmed_at_s", sa.BigInteger, nullable=True),
    sa.Column("last_step", sa.BigInteger, nullable=False),  # of the last code that was accepted
)

RECOVERY_CODES = sa.Table(
    "recovery_codes",
    METADATA,
    _account("account_id"),
    sa.Column("code_hash", sa.LargeBinary, primary_key=True),
)

PLATFORM_KEYS = sa.Table(
    "platform_keys",
    METADATA,
    sa.Column("key_hash", sa.LargeBinary, primary_key=True),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("created_at_s", sa.BigInteger, nullable=False),
    sa.Column("last_used_s", sa.BigInteger, nullable=True),
    sa.Column("scopes", sa.String(64), nullable=True),  # separated by spaces; null: all of them
    sa.Column("expires_at_s", sa.BigInteger, nullable=True),
    info=_CACHED,
)

# One row, which every transaction that changes credentials increments first.
CREDENTIAL_VERSION = sa.Table(
    "credential_version",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.BigInteger, nullable=False),
)

# Ids of removed apps are never used again, and their usage is still listed. Name and owner are null
# once the owner's account is erased.
REMOVED_APPS = sa.Table(
    "removed_apps",
    METADATA,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(128), nullable=True),
    sa.Column("owner_id", sa.BigInteger, nullable=True),
)

# Accounts whose erasure has begun and not ended. Each of them is out of all other tables already.
ERASURES = sa.Table(
    "erasures",
    METADATA,
    sa.Column("account_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("began_at_s", sa.BigInteger, nullable=False),
)

# Usage is kept when an app is removed or an account is erased: no foreign keys. A handle whose
# account is erased gets a random negative `account_id`, so that it still counts.
USAGE_REQUESTS = sa.Table(
    "usage_requests",
    METADATA,
    sa.Column("month", sa.String(7), primary_key=True),  # 2026-11
    sa.Column("app_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("outcome", sa.String(64), primary_key=True),  # ok, or a refusal's stable name
    sa.Column("requests", sa.BigInteger, nullable=False),
)

USAGE_HANDLES = sa.Table(
    "usage_handles",
    METADATA,
    sa.Column("month", sa.String(7), primary_key=True),
    sa.Column("app_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("account_id", sa.BigInteger, primary_key=True, autoincrement=False),
)

# Refused requests of an app by UTC day, for its developer. Old days are removed.
USAGE_REFUSALS = sa.Table(
    "usage_refusals",
    METADATA,
    sa.Column("app_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False, index=True),  # since 1970
    sa.Column("reason", sa.String(64), primary_key=True),  # a refusal's stable name
    sa.Column("requests", sa.BigInteger, nullable=False),
)

# Entries hold names as they were, so that later renames change nothing. An erasure replaces them.
AUDIT_LOG = sa.Table(
    "audit_log",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at_s", sa.BigInteger, nullable=False),
    sa.Column("actor_id", sa.BigInteger, nullable=True),  # null: the command line
    sa.Column("actor", sa.String(64), nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("app_id", sa.BigInteger, nullable=True, index=True),
    sa.Column("subject", sa.String(128), nullable=False),
    sa.Column("before", sa.String(32), nullable=True),
    sa.Column("after", sa.String(32), nullable=True),
    sa.Column("account_id", sa.BigInteger, nullable=True),  # whose role changed
)

# Where notifications are sent.
WEBHOOKS = sa.Table(
    "webhooks",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("url", sa.String(2048), nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False),  # encrypted
    sa.Column("old_secret", sa.LargeBinary, nullable=True),  # encrypted; signs as well for a while
    sa.Column("old_secret_until_s", sa.BigInteger, nullable=True),
    sa.Column("types", sa.String(255), nullable=True),  # separated by spaces; null: all of them
    sa.Column("created_at_s", sa.BigInteger, nullable=False),
)

# What managers are told. A transaction that causes a notification inserts it.
NOTIFICATIONS = sa.Table(
    "notifications",
    METADATA,
    sa.Column("id", sa.String(40), primary_key=True),  # the same in every delivery
    sa.Column("occasion", sa.String(255), nullable=False, unique=True),  # no second one for it
    sa.Column("type", sa.String(32), nullable=False),
    sa.Column("app_id", sa.BigInteger, sa.ForeignKey("apps.id", ondelete="CASCADE"), nullable=True),
    sa.Column("data", sa.Text, nullable=False),  # a JSON object
    sa.Column("created_at_s", sa.BigInteger, nullable=False, index=True),
    sa.Column("queued", sa.Boolean, nullable=False),  # its deliveries have been inserted
)

DELIVERIES = sa.Table(
    "deliveries",
    METADATA,
    sa.Column(
        "notification_id",
        sa.String(40),
        sa.ForeignKey("notifications.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("target", sa.String(32), primary_key=True),  # the id of a webhook, or mail
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at_s", sa.BigInteger, nullable=False),  # during an attempt, the lease's end
    sa.Column("result", sa.String(64), nullable=True),  # of the last attempt
)
