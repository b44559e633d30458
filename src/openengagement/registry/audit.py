"""The audit log: permissions of apps and accounts, removals, platform keys, and webhooks.

Entries are only added, each in the transaction of the change itself. Only the erasure of an account
changes earlier ones: it replaces the names in them.
"""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from openengagement.registry.database import Database, columns_of
from openengagement.registry.schema import APPS, AUDIT_LOG


@dataclass(frozen=True, slots=True)
class Actor:
    """The author of a change: an account, or a program without an account."""

    name: str
    account_id: int | None = None


COMMAND_LINE: Final = Actor("command line")


@dataclass(frozen=True, slots=True)
class Entry:
    """One change.

    `subject` is the name of the app, account or platform key at that time, or the webhook's host.
    `before` and `after` are None where the default applied. `has_app` says whether the app with
    `app_id` still exists.
    """

    id: int
    at_s: int
    actor_id: int | None
    actor: str
    action: str
    app_id: int | None
    subject: str
    before: str | None
    after: str | None
    has_app: bool


class AuditLog:
    """Reads the log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_entries(
        self,
        *,
        limit: int,
        before_id: int | None = None,
        app_id: int | None = None,
        text: str = "",
    ) -> list[Entry]:
        """List entries, the newest first: those before `before_id`, of one app, if given.

        `text` is a part of the actor's or the subject's name, an action, or an App ID.
        """
        query = _SELECT.order_by(AUDIT_LOG.c.id.desc()).limit(limit)
        if before_id is not None:
            query = query.where(AUDIT_LOG.c.id < before_id)
        if app_id is not None:
            query = query.where(AUDIT_LOG.c.app_id == app_id)
        if text:
            query = query.where(_matching(text))
        return self._database.read_all(Entry, query)


def _matching(text: str) -> sa.ColumnElement[bool]:
    name = text.removeprefix("@")
    found = AUDIT_LOG.c.subject.icontains(name, autoescape=True)
    found |= AUDIT_LOG.c.actor.icontains(name, autoescape=True)
    found |= AUDIT_LOG.c.action == text.lower()
    return found | (sa.cast(AUDIT_LOG.c.app_id, sa.String) == text)


def write_entry(db: sa.Connection, actor: Actor, *, now_s: int, **fields: str | int | None) -> None:
    """Add an entry.

    `fields`: `action`, `subject`, and optionally `app_id`, `account_id`, `before`, `after`.
    """
    row = {"at_s": now_s, "actor_id": actor.account_id, "actor": actor.name, **fields}
    db.execute(AUDIT_LOG.insert().values(row))


_SELECT: Final[sa.Select[Any]] = sa.select(
    *columns_of(Entry, AUDIT_LOG),
    sa.exists().where(APPS.c.id == AUDIT_LOG.c.app_id).label("has_app"),
)
