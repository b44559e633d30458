"""The audit log: who changed what an app or an account may do, when, and from what to what.

It is only ever added to, in the transaction of the change itself.
"""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from openengagement.registry.schema import AUDIT_LOG


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change: an account, or nobody's account under a name of ours."""

    name: str
    account_id: int | None = None


COMMAND_LINE: Final = Actor("command line")


@dataclass(frozen=True, slots=True)
class Entry:
    """One change. `subject` is what the app or account was called then.

    `before` and `after` are None where there was no value of its own.
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


class AuditLog:
    """Reads the log."""

    def __init__(self, engine: sa.Engine) -> None:
        self._read = engine.execution_options(isolation_level="AUTOCOMMIT")

    def list(
        self, *, most: int, before_id: int | None = None, app_id: int | None = None
    ) -> list[Entry]:
        """The newest entries, of one app or of all, or those older than one of them."""
        query = _SELECT.order_by(AUDIT_LOG.c.id.desc()).limit(most)
        if before_id is not None:
            query = query.where(AUDIT_LOG.c.id < before_id)
        if app_id is not None:
            query = query.where(AUDIT_LOG.c.app_id == app_id)
        with self._read.connect() as db:
            return [Entry(*row) for row in db.execute(query)]


def write_entry(db: sa.Connection, actor: Actor, *, now_s: int, **fields: str | int | None) -> None:
    """Add an entry: `action`, `subject`, and where there are some `app_id`, `before`, `after`."""
    row = {"at_s": now_s, "actor_id": actor.account_id, "actor": actor.name, **fields}
    db.execute(AUDIT_LOG.insert().values(row))


_SELECT: Final[sa.Select[Any]] = sa.select(
    AUDIT_LOG.c.id,
    AUDIT_LOG.c.at_s,
    AUDIT_LOG.c.actor_id,
    AUDIT_LOG.c.actor,
    AUDIT_LOG.c.action,
    AUDIT_LOG.c.app_id,
    AUDIT_LOG.c.subject,
    AUDIT_LOG.c.before,
    AUDIT_LOG.c.after,
)
