"""Remove apps and accounts, with everything that the registry knows of them.

An erasure spans the registry and the stores (`openengagement.erasure`). `begin_erasure` takes the
account out of all tables at once, and records that its Tweets have to follow. So an erasure that
was interrupted is known, and can be repeated.
"""

import os
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from openengagement.registry.audit import Actor, write_entry
from openengagement.registry.database import Database
from openengagement.registry.schema import (
    ACCESS_TOKENS,
    ACCOUNTS,
    APPS,
    AUDIT_LOG,
    CALLBACKS,
    ERASURES,
    REMOVED_APPS,
    REQUEST_TOKENS,
    SESSIONS,
    USAGE_HANDLES,
    USAGE_REFUSALS,
)

ERASED_ACCOUNT: Final = "erased account"  # in the audit log, in place of a screen name
ERASED_APP: Final = "erased app"


@dataclass(frozen=True, slots=True)
class Removed:
    """The number of rows that were removed with an account."""

    apps: int
    access_tokens: int
    sessions: int


class Removal:
    """Removes apps and accounts.

    Relies on the credential lock (`Database.writing`). Rows of tokens and sessions are inserted
    without it, so the rows that these refer to are locked first: an insert then waits, and is
    refused by its foreign key.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def remove_app(self, app_id: int, *, actor: Actor, now_s: int) -> bool:
        """Remove an app with its tokens, and record it. False if there is no such app."""
        same = APPS.c.id == app_id
        with self._database.writing(credentials=True) as db:
            app = db.execute(sa.select(APPS.c.name, APPS.c.owner_id).where(same)).first()
            if app is None:
                return False
            _remove_apps(db, same)
            entry = {"action": "remove", "app_id": app_id, "subject": app.name}
            write_entry(db, actor, now_s=now_s, **entry)
        return True

    def begin_erasure(
        self, account_id: int, *, actor: Actor, now_s: int, has_tweets: bool
    ) -> Removed | None:
        """Erase an account from the registry, and record that its Tweets have to follow.

        Returns None, and changes nothing, if there is nothing to erase: no account, no Tweets, and
        no erasure that began earlier.
        """
        same = ACCOUNTS.c.id == account_id
        begun = ERASURES.c.account_id == account_id
        with self._database.writing(credentials=True) as db:
            account = db.execute(sa.select(ACCOUNTS).where(same).with_for_update()).first()
            if db.execute(sa.select(ERASURES).where(begun)).first() is None:
                if account is None and not has_tweets:
                    return None
                db.execute(ERASURES.insert().values(account_id=account_id, began_at_s=now_s))
                entry = {"action": "erase", "subject": ERASED_ACCOUNT}
                write_entry(db, actor, now_s=now_s, **entry)
            removed = _remove_account(db, account_id)
            name = account.screen_name if account else None
            _erase_from_audit_log(db, account_id, screen_name=name)
            _erase_from_usage(db, account_id)
        return removed

    def list_unfinished(self) -> list[int]:
        """List the accounts whose erasure has begun and not ended."""
        with self._database.reading() as db:
            return list(db.scalars(sa.select(ERASURES.c.account_id).order_by(*ERASURES.c)))

    def finish_erasure(self, account_id: int) -> None:
        """Forget an erasure, after the Tweets of the account were erased."""
        self._database.change(ERASURES.delete().where(ERASURES.c.account_id == account_id))


def _remove_account(db: sa.Connection, account_id: int) -> Removed:
    """Remove an account with its apps, tokens and sessions.

    The database removes its shares, its second factor and its link for a new password with it.
    """
    apps, tokens = _remove_apps(db, APPS.c.owner_id == account_id)
    db.execute(REQUEST_TOKENS.delete().where(REQUEST_TOKENS.c.account_id == account_id))
    tokens += _remove_tokens(db, ACCESS_TOKENS.c.account_id == account_id)
    ended = db.execute(SESSIONS.delete().where(SESSIONS.c.account_id == account_id)).rowcount
    db.execute(ACCOUNTS.delete().where(ACCOUNTS.c.id == account_id))
    return Removed(apps, tokens, ended)


def _remove_apps(db: sa.Connection, condition: sa.ColumnElement[bool]) -> tuple[int, int]:
    """Remove apps with their tokens. Return the number of apps, and of access tokens."""
    query = sa.select(APPS.c.id, APPS.c.name, APPS.c.owner_id).where(condition)
    rows = [dict(row) for row in db.execute(query.with_for_update()).mappings()]
    if not rows:
        return 0, 0
    ids = [row["id"] for row in rows]
    for table in (CALLBACKS, REQUEST_TOKENS, USAGE_REFUSALS):
        db.execute(table.delete().where(table.c.app_id.in_(ids)))
    tokens = _remove_tokens(db, ACCESS_TOKENS.c.app_id.in_(ids))
    db.execute(APPS.delete().where(APPS.c.id.in_(ids)))
    db.execute(REMOVED_APPS.insert(), rows)
    return len(rows), tokens


def _remove_tokens(db: sa.Connection, condition: sa.ColumnElement[bool]) -> int:
    # Locks tokens in the same order as Grants.apply_last_used, so that no two deadlock.
    ordered = sa.select(ACCESS_TOKENS.c.token).where(condition).order_by(ACCESS_TOKENS.c.token)
    db.execute(ordered.with_for_update()).all()
    return db.execute(ACCESS_TOKENS.delete().where(condition)).rowcount


def _erase_from_audit_log(db: sa.Connection, account_id: int, *, screen_name: str | None) -> None:
    """Replace names in the log, and forget the names of the account's removed apps."""
    log = AUDIT_LOG.c
    as_actor = AUDIT_LOG.update().where(log.actor_id == account_id)
    db.execute(as_actor.values(actor_id=None, actor=ERASED_ACCOUNT))
    # Entries of an older version have no account id.
    by_name = (log.action == "role") & (log.account_id.is_(None)) & (log.subject == screen_name)
    as_subject = AUDIT_LOG.update().where((log.account_id == account_id) | by_name)
    db.execute(as_subject.values(account_id=None, subject=ERASED_ACCOUNT))
    owned = REMOVED_APPS.c.owner_id == account_id
    ids = sa.select(REMOVED_APPS.c.id).where(owned)
    db.execute(AUDIT_LOG.update().where(log.app_id.in_(ids)).values(subject=ERASED_APP))
    db.execute(REMOVED_APPS.update().where(owned).values(name=None, owner_id=None))


def _erase_from_usage(db: sa.Connection, account_id: int) -> None:
    """Give the account another, random id as a handle. It still counts, but for nobody."""
    used = USAGE_HANDLES.c
    rows = db.execute(sa.select(used.month, used.app_id).where(used.account_id == account_id)).all()
    same = (used.month == sa.bindparam("in_month")) & (used.app_id == sa.bindparam("of_app"))
    same &= used.account_id == account_id
    renamed = USAGE_HANDLES.update().where(same).values(account_id=sa.bindparam("new_id"))
    changes: list[dict[str, Any]] = [
        {"in_month": row.month, "of_app": row.app_id, "new_id": _draw_handle()} for row in rows
    ]
    if changes:
        db.execute(renamed, changes)


def _draw_handle() -> int:
    """Draw a negative number of 63 bits."""
    return -1 - (int.from_bytes(os.urandom(8)) >> 1)
