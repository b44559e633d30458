"""The usage of apps by calendar month: requests by outcome, and unique handles (api.md 3.5).

A handle is an account whose Tweets were served to the app.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa

from openengagement.engagement.types import DAY_S, format_time
from openengagement.errors import RateLimited, StoreUnavailable
from openengagement.registry.database import Database, slices
from openengagement.registry.notifications import NotificationType, Occasion, notify_of_app
from openengagement.registry.schema import (
    ACCOUNTS,
    APPS,
    REMOVED_APPS,
    USAGE_HANDLES,
    USAGE_REFUSALS,
    USAGE_REQUESTS,
)

ERASED_HANDLE: Final = "(erased)"  # in place of the screen name
OK: Final = "ok"  # the outcome of a served request; a refused one has the refusal's stable name

REFUSAL_DAYS: Final = 28  # refusals are kept by day for so many days

_SLICE: Final = 1000  # handles in one transaction

Requests = Mapping[tuple[str, int, str], int]  # month, App ID, outcome -> requests
Handles = Collection[tuple[str, int, int]]  # month, App ID, account id
# App ID, day (since 1970, UTC), stable name of the refusal -> requests
Refusals = Mapping[tuple[int, int, str], int]
_NO_REFUSALS: Final[Refusals] = MappingProxyType({})


@dataclass(slots=True)
class Used:
    """The usage of an app in a month. `errors` maps the reason of a refusal to its requests."""

    requests: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    handles: int = 0

    @property
    def refused(self) -> int:
        """The number of refused requests."""
        return sum(self.errors.values())

    def add(self, outcome: str, requests: int) -> None:
        """Add requests of one outcome."""
        self.requests += requests
        if outcome != OK:
            self.errors[outcome] = requests


@dataclass(frozen=True, slots=True)
class AppUsage:
    """An app and its usage in a month.

    A removed app does not exist any more, and has no contract. `owner` is None if the owner's
    account was erased, and then so is `name`.
    """

    app_id: int
    name: str | None
    owner: str | None
    handles_contracted: int | None
    exists: bool
    used: Used


@dataclass(frozen=True, slots=True)
class Refused:
    """Refused requests of an app on one day (since 1970, UTC) for one reason."""

    day: int
    reason: str
    requests: int


class Usage:
    """Adds up and reads the usage of apps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_usage(
        self, requests: Requests, handles: Handles, *, refusals: Refusals = _NO_REFUSALS
    ) -> None:
        """Add to the counts of requests, and store the handles that are not stored yet.

        `refusals` are the refused ones of `requests`, by day. Days that are older than REFUSAL_DAYS
        are removed.

        Handles come first, in slices, so that other writers wait only briefly. If a slice fails,
        the call can be repeated: no request was counted yet. Rows are sorted, so that the calls of
        two workers cannot deadlock. Handles whose account was erased meanwhile are left out.
        """
        missing = self._database.insert_missing(USAGE_HANDLES)
        for some in slices(sorted(handles), _SLICE):
            with self._database.writing() as db:
                registered = _lock_registered(db, {account_id for _, _, account_id in some})
                kept = [handle for handle in some if handle[2] in registered]
                if kept:
                    db.execute(missing, _rows(("month", "app_id", "account_id"), kept))
        counts = sorted((*key, count) for key, count in requests.items())
        if counts:
            with self._database.writing() as db:
                db.execute(
                    self._database.insert_adding(USAGE_REQUESTS.c.requests),
                    _rows(("month", "app_id", "outcome", "requests"), counts),
                )
                self._add_refusals(db, refusals)

    def notify_of_limits(self, refusals: Refusals, *, now_s: int) -> None:
        """Notify managers of apps that these refusals show at their rate limit, once a day.

        If the registry is unavailable, the next refusal of the day notifies.
        """
        limited = sorted((app, day) for app, day, reason in refusals if reason == RateLimited.code)
        with suppress(StoreUnavailable):
            for app_id, number in limited:
                day = format_time(number * DAY_S)[:10]
                reached = Occasion(NotificationType.LIMIT_REACHED, app_id, day, {"day": day})
                with self._database.writing() as db:
                    notify_of_app(db, reached, database=self._database, now_s=now_s)

    def _add_refusals(self, db: sa.Connection, refusals: Refusals) -> None:
        if not refusals:
            return
        rows = sorted((*key, count) for key, count in refusals.items())
        insert = self._database.insert_adding(USAGE_REFUSALS.c.requests)
        db.execute(insert, _rows(("app_id", "day", "reason", "requests"), rows))
        oldest = max(day for _, day, _ in refusals) - REFUSAL_DAYS + 1
        db.execute(USAGE_REFUSALS.delete().where(USAGE_REFUSALS.c.day < oldest))

    def list_refusals(self, app_id: int, *, oldest_day: int) -> list[Refused]:
        """List an app's refused requests since a day: the newest day, and the most, first."""
        refused = USAGE_REFUSALS.c
        query = (
            sa.select(refused.day, refused.reason, refused.requests)
            .where(refused.app_id == app_id, refused.day >= oldest_day)
            .order_by(refused.day.desc(), refused.requests.desc(), refused.reason)
        )
        return self._database.read_all(Refused, query)

    def read_month(self, month: str) -> list[AppUsage]:
        """List each app that has requests in a month or contracted handles, ordered by App ID."""
        requests = sa.select(
            USAGE_REQUESTS.c.app_id, USAGE_REQUESTS.c.outcome, USAGE_REQUESTS.c.requests
        ).where(USAGE_REQUESTS.c.month == month)
        with self._database.reading() as db:
            rows = db.execute(_apps_of(month)).mappings()
            found = {row["app_id"]: AppUsage(**row, used=Used()) for row in rows}
            for app_id, outcome, count in db.execute(requests):
                if app_id in found:
                    found[app_id].used.add(outcome, count)
        for app_id, handles in self.count_handles(month).items():
            if app_id in found:
                found[app_id].used.handles = handles
        return list(found.values())

    def count_handles(self, month: str, app_ids: Sequence[int] | None = None) -> dict[int, int]:
        """Map App IDs to their unique handles of a month. Leaves out apps without any."""
        query = sa.select(USAGE_HANDLES.c.app_id, sa.func.count())
        query = query.where(USAGE_HANDLES.c.month == month).group_by(USAGE_HANDLES.c.app_id)
        if app_ids is not None:
            query = query.where(USAGE_HANDLES.c.app_id.in_(app_ids))
        with self._database.reading() as db:
            return {row[0]: row[1] for row in db.execute(query)}

    def read_app_usage(self, app_id: int, months: Sequence[str]) -> dict[str, Used]:
        """Map each of these months to the usage of an app."""
        used = {month: Used() for month in months}
        counted, served = USAGE_REQUESTS.c, USAGE_HANDLES.c
        requests = sa.select(counted.month, counted.outcome, counted.requests)
        requests = requests.where(counted.month.in_(months), counted.app_id == app_id)
        handles = sa.select(served.month, sa.func.count())
        handles = handles.where(served.month.in_(months), served.app_id == app_id)
        with self._database.reading() as db:
            for month, outcome, count in db.execute(requests):
                used[month].add(outcome, count)
            for month, count in db.execute(handles.group_by(served.month)):
                used[month].handles = count
        return used

    def count_answered(self, app_id: int, month: str) -> int:
        """Count the requests of an app that were answered in a month."""
        counted = USAGE_REQUESTS.c
        query = sa.select(counted.requests).where(
            counted.month == month, counted.app_id == app_id, counted.outcome == OK
        )
        with self._database.reading() as db:
            return db.scalar(query) or 0

    def list_handles(self, app_id: int, month: str, *, limit: int) -> list[str]:
        """List the present screen names of an app's handles of a month, in alphabetical order.

        The handles of erased accounts are listed first, as ERASED_HANDLE.
        """
        name = sa.func.coalesce(ACCOUNTS.c.screen_name, ERASED_HANDLE)
        key = sa.func.coalesce(ACCOUNTS.c.screen_name_key, "")
        query = (
            sa.select(name)
            .outerjoin_from(USAGE_HANDLES, ACCOUNTS, ACCOUNTS.c.id == USAGE_HANDLES.c.account_id)
            .where(USAGE_HANDLES.c.month == month, USAGE_HANDLES.c.app_id == app_id)
            .order_by(key, USAGE_HANDLES.c.account_id)
            .limit(limit)
        )
        with self._database.reading() as db:
            return list(db.scalars(query))


def _apps_of(month: str) -> sa.CompoundSelect[Any]:
    """Select the apps with requests in a month or contracted handles, and the removed ones."""
    active = sa.select(USAGE_REQUESTS.c.app_id).where(USAGE_REQUESTS.c.month == month)
    owner = ACCOUNTS.c.screen_name.label("owner")
    present = (
        sa.select(
            APPS.c.id.label("app_id"),
            APPS.c.name,
            owner,
            APPS.c.handles_contracted,
            sa.literal(True).label("exists"),
        )
        .join(ACCOUNTS, ACCOUNTS.c.id == APPS.c.owner_id)
        .where(APPS.c.handles_contracted.is_not(None) | APPS.c.id.in_(active))
    )
    removed = (
        sa.select(
            REMOVED_APPS.c.id,
            REMOVED_APPS.c.name,
            owner,
            sa.cast(sa.null(), sa.Integer),
            sa.literal(False),
        )
        .outerjoin(ACCOUNTS, ACCOUNTS.c.id == REMOVED_APPS.c.owner_id)
        .where(REMOVED_APPS.c.id.in_(active))
    )
    return present.union_all(removed).order_by("app_id")


def _lock_registered(db: sa.Connection, account_ids: Collection[int]) -> set[int]:
    """Return the ids that are registered. Until the transaction ends, none of them is erased."""
    query = sa.select(ACCOUNTS.c.id).where(ACCOUNTS.c.id.in_(account_ids))
    return set(db.scalars(query.with_for_update(key_share=True, read=True)))


def _rows(names: Sequence[str], values: Iterable[Sequence[object]]) -> list[dict[str, object]]:
    return [dict(zip(names, row, strict=True)) for row in values]
