"""What managers decide: which apps may use the API and how much, and who is a manager.

Every decision is written to the audit log in the transaction that makes it.
"""

import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa

from openengagement.registry.audit import Actor, AuditLog, write_entry
from openengagement.registry.schema import ACCOUNTS, APPS, AUDIT_LOG, USAGE_REQUESTS
from openengagement.registry.usage import OK

PER_MINUTE_MAX: Final = 10_000_000
HANDLES_MAX: Final = 1_000_000_000  # a month
# `waiting` is an app that was never enabled, `disabled` one that a manager took access from.
STATES: Final = ("waiting", "enabled", "disabled", "suspended")
# What is decided of an app, and what the log calls it: of a flag that is set, and let go.
_ACTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "enabled": ("enable", "disable"),
    "suspended": ("suspend", "resume"),
    "per_minute": ("limit", "limit"),
    "handles_contracted": ("handles", "handles"),
}


class NotManager(Exception):
    """The account that decides is no manager, or is none any more."""


class Outdated(Exception):
    """The app is not what the decision was made of; `columns` tell where."""

    def __init__(self, columns: Collection[str]) -> None:
        super().__init__(", ".join(columns))
        self.columns = frozenset(columns)


@dataclass(frozen=True, slots=True)
class Search:
    """Which apps are asked for: `text` is part of a name or owner, or how an App ID begins."""

    text: str = ""
    state: str | None = None  # one of STATES


@dataclass(frozen=True, slots=True)
class ListedApp:
    """An app as a manager sees it, with its requests of one month, and how many were refused."""

    id: int
    name: str
    owner: str
    state: str
    per_minute: int | None
    handles_contracted: int | None
    created_at_s: int
    website: str | None
    description: str | None
    access_level: str
    requests: int
    refused: int


class Decisions:
    """Makes decisions, and lists what there is to decide."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.audit = AuditLog(engine)
        self._read = engine.execution_options(isolation_level="AUTOCOMMIT")

    def change_app(
        self,
        app_id: int,
        values: Mapping[str, bool | int | None],
        *,
        actor: Actor,
        now_s: int,
        known: Mapping[str, str | int | None] = MappingProxyType({}),
    ) -> bool:
        """Set some of `enabled`, `suspended`, `per_minute` and `handles_contracted`.

        `known` are the app's columns that the decision was made of, as they were then. What is so
        already is no change and leaves no entry. False when there is no such app.

        Raises:
            NotManager
            Outdated
        """
        mine = APPS.c.id == app_id
        with self._engine.begin() as db:
            _see_that_decides(db, actor)
            row = db.execute(sa.select(APPS).where(mine)).mappings().first()
            if row is None:
                return False
            if differing := [name for name, value in known.items() if row[name] != value]:
                raise Outdated(differing)
            changed = {name: value for name, value in values.items() if row[name] != value}
            if changed:
                db.execute(APPS.update().where(mine).values(changed))
            for name, value in changed.items():
                write_entry(
                    db,
                    actor,
                    now_s=now_s,
                    action=_ACTIONS[name][not value],
                    app_id=app_id,
                    subject=row["name"],
                    before=_show(row[name]),
                    after=_show(value),
                )
        return True

    def set_role(self, account_id: int, role: str, *, actor: Actor, now_s: int) -> None:
        """Make an account a `manager` or a `member`; it holds for the account's next request.

        Raises:
            NotManager: `actor` is none.
        """
        mine = ACCOUNTS.c.id == account_id
        with self._engine.begin() as db:
            _see_that_decides(db, actor)
            row = db.execute(sa.select(ACCOUNTS.c.screen_name, ACCOUNTS.c.role).where(mine)).one()
            if row.role == role:
                return
            db.execute(ACCOUNTS.update().where(mine).values(role=role))
            names = {"subject": row.screen_name, "before": row.role, "after": role}
            write_entry(db, actor, now_s=now_s, action="role", **names)

    def list(self, search: Search, *, month: str, most: int, skip: int = 0) -> list[ListedApp]:
        """The apps that make most requests first; of those that wait the newest first."""
        used = _requests_of(month)
        requests = sa.func.coalesce(used.c.requests, 0)
        query: sa.Select[Any] = (
            sa.select(
                APPS.c.id,
                APPS.c.name,
                ACCOUNTS.c.screen_name,
                _STATE,
                APPS.c.per_minute,
                APPS.c.handles_contracted,
                APPS.c.created_at_s,
                APPS.c.website,
                APPS.c.description,
                APPS.c.access_level,
                requests,
                sa.func.coalesce(used.c.refused, 0),
            )
            .join(ACCOUNTS, ACCOUNTS.c.id == APPS.c.owner_id)
            .outerjoin(used, used.c.app_id == APPS.c.id)
            .where(*_matching(search))
            .limit(most)
            .offset(skip)
        )
        newest = (APPS.c.created_at_s.desc(), APPS.c.id.desc())
        order = newest if search.state == "waiting" else (requests.desc(), *newest)
        with self._read.connect() as db:
            return [ListedApp(*row) for row in db.execute(query.order_by(*order))]

    def count(self, text: str = "") -> dict[str, int]:
        """How many apps of each state match."""
        query = (
            sa.select(_STATE, sa.func.count())
            .join_from(APPS, ACCOUNTS, ACCOUNTS.c.id == APPS.c.owner_id)
            .where(*_matching(Search(text)))
            .group_by(_STATE)
        )
        with self._read.connect() as db:
            found: dict[str, int] = {row[0]: row[1] for row in db.execute(query)}
        return {state: found.get(state, 0) for state in STATES}

    def read_state(self, app_id: int) -> str:
        """Which of STATES an app is in."""
        with self._read.connect() as db:
            state: str = db.execute(sa.select(_STATE).where(APPS.c.id == app_id)).scalar_one()
        return state

    def created_at_s(self, app_id: int) -> int:
        """When an app was registered, in Unix seconds."""
        query = sa.select(APPS.c.created_at_s).where(APPS.c.id == app_id)
        with self._read.connect() as db:
            made: int = db.execute(query).scalar_one()
        return made


def _see_that_decides(db: sa.Connection, actor: Actor) -> None:
    """Refuse whoever stopped being a manager since their page was asked for."""
    if actor.account_id is None:
        return
    role = db.scalar(sa.select(ACCOUNTS.c.role).where(ACCOUNTS.c.id == actor.account_id))
    if role != "manager":
        raise NotManager


def _show(value: bool | int | None) -> str | None:  # noqa: FBT001
    if value is None:
        return None
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _requests_of(month: str) -> sa.Subquery:
    """Each app's requests of a month, and how many of them were refused."""
    refused = sa.case((USAGE_REQUESTS.c.outcome == OK, 0), else_=USAGE_REQUESTS.c.requests)
    return (
        sa.select(
            USAGE_REQUESTS.c.app_id,
            sa.func.sum(USAGE_REQUESTS.c.requests).label("requests"),
            sa.func.sum(refused).label("refused"),
        )
        .where(USAGE_REQUESTS.c.month == month)
        .group_by(USAGE_REQUESTS.c.app_id)
        .subquery()
    )


def _matching(search: Search) -> list[sa.ColumnElement[bool]]:
    wanted: list[sa.ColumnElement[bool]] = []
    if search.state is not None:
        wanted.append(_STATE.in_([search.state]))
    if search.text:
        wanted.append(_matching_text(_printable(search.text).strip()))
    return wanted


def _matching_text(text: str) -> sa.ColumnElement[bool]:
    """Nothing where nothing is left to look for: every name contains the empty text."""
    if not text:
        return sa.false()
    found = APPS.c.name.icontains(text, autoescape=True)
    found |= sa.cast(APPS.c.id, sa.String).startswith(text, autoescape=True)
    if handle := text.removeprefix("@").casefold():
        found |= ACCOUNTS.c.screen_name_key.contains(handle, autoescape=True)
    return found


def _printable(text: str) -> str:
    """Without control characters: SQLite's patterns end at NUL, and no name has any."""
    return "".join(each for each in text if unicodedata.category(each) != "Cc")


_STATE: Final[sa.ColumnElement[Any]] = sa.case(
    (APPS.c.suspended, "suspended"),
    (APPS.c.enabled, "enabled"),
    (
        sa.exists().where((AUDIT_LOG.c.app_id == APPS.c.id) & (AUDIT_LOG.c.action == "disable")),
        "disabled",
    ),
    else_="waiting",
)
