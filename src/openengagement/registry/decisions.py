"""The decisions of managers: permissions and limits of apps, and the roles of accounts.

The transaction that applies a decision also writes it to the audit log.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa

from openengagement.engagement.permissions import Role
from openengagement.registry.audit import Actor, write_entry
from openengagement.registry.database import Database
from openengagement.registry.schema import ACCOUNTS, APPS

PER_MINUTE_MAX: Final = 10_000_000
HANDLES_MAX: Final = 1_000_000_000  # a month
# Column of an app -> the action in the log when it is set, and when it is cleared.
_ACTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "enabled": ("enable", "disable"),
    "suspended": ("suspend", "resume"),
    "per_minute": ("limit", "limit"),
    "handles_contracted": ("handles", "handles"),
}


class NotManager(Exception):
    """The account that decides is not a manager, or no longer one."""


class Outdated(Exception):
    """The app changed since the manager's page was loaded. `columns` names the differences."""

    def __init__(self, columns: Collection[str]) -> None:
        super().__init__(", ".join(columns))
        self.columns = frozenset(columns)


class Decisions:
    """Applies and logs decisions.

    Relies on the credential lock (`Database.writing`): no other writer changes the app, or the role
    of the actor, between the reads and the writes. So `before` in the log is correct as well.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def change_app(
        self,
        app_id: int,
        values: Mapping[str, bool | int | None],
        *,
        actor: Actor,
        now_s: int,
        known: Mapping[str, str | int | None] = MappingProxyType({}),
    ) -> bool:
        """Set any of `enabled`, `suspended`, `per_minute` and `handles_contracted`.

        `known` holds columns of the app as the manager saw them. A value that the app has already
        is not logged. Returns False if there is no such app.

        Raises:
            NotManager: the actor is not a manager.
            Outdated: the app differs from `known`.
        """
        same_app = APPS.c.id == app_id
        with self._database.writing(credentials=True) as db:
            check_manager(db, actor)
            row = db.execute(sa.select(APPS).where(same_app)).mappings().first()
            if row is None:
                return False
            if differing := [name for name, value in known.items() if row[name] != value]:
                raise Outdated(differing)
            changed = {name: value for name, value in values.items() if row[name] != value}
            if changed:
                db.execute(APPS.update().where(same_app).values(changed))
            for name, value in changed.items():
                names = {"action": _ACTIONS[name][not value], "subject": row["name"]}
                values_shown = {"before": _show(row[name]), "after": _show(value)}
                write_entry(db, actor, now_s=now_s, app_id=app_id, **names, **values_shown)
        return True

    def set_role(self, account_id: int, role: Role, *, actor: Actor, now_s: int) -> None:
        """Change the role of an account, from its next request on.

        Raises:
            NotManager: the actor is not a manager.
        """
        same_account = ACCOUNTS.c.id == account_id
        query = sa.select(ACCOUNTS.c.screen_name, ACCOUNTS.c.role).where(same_account)
        with self._database.writing(credentials=True) as db:
            check_manager(db, actor)
            row = db.execute(query).one()
            if row.role == role:
                return
            db.execute(ACCOUNTS.update().where(same_account).values(role=role))
            names = {"subject": row.screen_name, "before": row.role, "after": role}
            write_entry(db, actor, now_s=now_s, action="role", account_id=account_id, **names)


def check_manager(db: sa.Connection, actor: Actor) -> None:
    """Refuse an actor who is not a manager any more, although their page may still show it."""
    if actor.account_id is None:
        return
    role = db.scalar(sa.select(ACCOUNTS.c.role).where(ACCOUNTS.c.id == actor.account_id))
    if role != Role.MANAGER:
        raise NotManager


def _show(value: bool | int | None) -> str | None:  # noqa: FBT001
    if value is None:
        return None
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
