"""The list of apps that a manager searches, and the state of each app."""

import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from openengagement.engagement.permissions import AccessLevel
from openengagement.registry.apps import AppRemoved
from openengagement.registry.database import Database, columns_of
from openengagement.registry.schema import ACCOUNTS, APPS, AUDIT_LOG, USAGE_REQUESTS, word
from openengagement.registry.usage import OK


class AppState(StrEnum):
    """The state of an app. `WAITING` means that it was never enabled."""

    WAITING = "waiting"
    ENABLED = "enabled"
    DISABLED = "disabled"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Search:
    """A search for apps. `text` is a part of the name or owner, or the start of the App ID."""

    text: str = ""
    state: AppState | None = None


WAITING: Final = Search(state=AppState.WAITING)


@dataclass(frozen=True, slots=True)
class ListedApp:
    """An app as a manager sees it, with the number of its requests of one month."""

    id: int
    name: str
    owner: str
    state: AppState
    per_minute: int | None
    handles_contracted: int | None
    created_at_s: int
    website: str | None
    description: str | None
    access_level: AccessLevel
    requests: int
    refused: int


class AppList:
    """Lists and counts the apps of the registry by state."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_apps(
        self, search: Search, *, month: str, limit: int, skip: int = 0
    ) -> list[ListedApp]:
        """List the matching apps, those with most requests first, or waiting apps newest first."""
        used = _requests_of(month)
        requests = sa.func.coalesce(used.c.requests, 0)
        query: sa.Select[Any] = (
            sa.select(
                *columns_of(ListedApp, APPS),
                ACCOUNTS.c.screen_name.label("owner"),
                _STATE.label("state"),
                requests.label("requests"),
                sa.func.coalesce(used.c.refused, 0).label("refused"),
            )
            .join(ACCOUNTS, ACCOUNTS.c.id == APPS.c.owner_id)
            .outerjoin(used, used.c.app_id == APPS.c.id)
            .where(*_matching(search))
            .limit(limit)
            .offset(skip)
        )
        newest = (APPS.c.created_at_s.desc(), APPS.c.id.desc())
        order = newest if search.state == AppState.WAITING else (requests.desc(), *newest)
        return self._database.read_all(ListedApp, query.order_by(*order))

    def count_apps(self, text: str = "") -> dict[str, int]:
        """Map each state to the number of its apps that match the text of a search."""
        query = (
            sa.select(_STATE.label("state"), sa.func.count())
            .join_from(APPS, ACCOUNTS, ACCOUNTS.c.id == APPS.c.owner_id)
            .where(*_matching(Search(text)))
            .group_by("state")
        )
        with self._database.reading() as db:
            found = {row[0]: row[1] for row in db.execute(query)}
        return {state: found.get(state, 0) for state in AppState}

    def count_waiting(self) -> int:
        """Return the number of apps that wait for a manager's decision."""
        query = sa.select(sa.func.count()).select_from(APPS).where(*_matching(WAITING))
        with self._database.reading() as db:
            return db.scalar(query) or 0

    def read_state(self, app_id: int) -> AppState:
        """Return the state of an app.

        Raises:
            AppRemoved: there is no such app.
        """
        with self._database.reading() as db:
            state: AppState | None = db.scalar(sa.select(_STATE).where(APPS.c.id == app_id))
        if state is None:
            raise AppRemoved
        return state


_STATE: Final[sa.ColumnElement[Any]] = sa.type_coerce(
    sa.case(
        (APPS.c.suspended, AppState.SUSPENDED),
        (APPS.c.enabled, AppState.ENABLED),
        (
            sa.exists().where(AUDIT_LOG.c.app_id == APPS.c.id, AUDIT_LOG.c.action == "disable"),
            AppState.DISABLED,
        ),
        else_=AppState.WAITING,
    ),
    word(AppState, length=16),
)


def _requests_of(month: str) -> sa.Subquery:
    """Select the requests of each app in a month, and how many of them were refused."""
    requests = USAGE_REQUESTS.c.requests
    refused = sa.case((USAGE_REQUESTS.c.outcome == OK, 0), else_=requests)
    return (
        sa.select(
            USAGE_REQUESTS.c.app_id,
            _sum(requests).label("requests"),
            _sum(refused).label("refused"),
        )
        .where(USAGE_REQUESTS.c.month == month)
        .group_by(USAGE_REQUESTS.c.app_id)
        .subquery()
    )


def _sum(column: sa.ColumnElement[int]) -> sa.Cast[int]:
    # PostgreSQL adds up BIGINT as NUMERIC, which would come back as Decimal.
    return sa.cast(sa.func.sum(column), sa.BigInteger)


def _matching(search: Search) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if search.state is not None:
        conditions.append(_STATE.in_([search.state]))
    if search.text:
        conditions.append(_matching_text(_printable(search.text).strip()))
    return conditions


def _matching_text(text: str) -> sa.ColumnElement[bool]:
    """Match a text. An empty one matches nothing, although every name contains it."""
    if not text:
        return sa.false()
    found = APPS.c.name.icontains(text, autoescape=True)
    found |= sa.cast(APPS.c.id, sa.String).startswith(text, autoescape=True)
    if handle := text.removeprefix("@").casefold():
        found |= ACCOUNTS.c.screen_name_key.contains(handle, autoescape=True)
    return found


def _printable(text: str) -> str:
    """Remove control characters: no name has any, and a pattern must not contain NUL."""
    return "".join(char for char in text if unicodedata.category(char) != "Cc")
