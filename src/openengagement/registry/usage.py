"""What apps used, by calendar month: requests by outcome, and unique @handles (api.md 3.5).

A handle is an account whose Tweets were served to the app in an answer.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from openengagement.registry.schema import ACCOUNTS, APPS, USAGE_HANDLES, USAGE_REQUESTS

OK: Final = "ok"  # the outcome of what was answered; a refusal's is its stable name

_AT_ONCE: Final = 1000  # handles in one transaction

Requests = Mapping[tuple[str, int, str], int]  # month, App ID, outcome -> requests
Handles = Collection[tuple[str, int, int]]  # month, App ID, account


@dataclass(slots=True)
class Used:
    """What an app used in a month. `errors` are the refused ones of its requests, by reason."""

    requests: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    handles: int = 0

    @property
    def refused(self) -> int:
        return sum(self.errors.values())

    def add(self, outcome: str, requests: int) -> None:
        """Add requests of one outcome."""
        self.requests += requests
        if outcome != OK:
            self.errors[outcome] = requests


@dataclass(frozen=True, slots=True)
class AppUsage:
    """An app, and what it used in a month."""

    app_id: int
    name: str
    owner: str
    handles_contracted: int | None
    used: Used


class Usage:
    """The usage of all apps."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._read = engine.execution_options(isolation_level="AUTOCOMMIT")

    def add(self, requests: Requests, handles: Handles) -> None:
        """Add to the requests and note the handles, those noted before included.

        The handles come first, some at a time: they keep other writers waiting for moments only,
        and to note one again is no harm where this fails half-way and is tried again.
        """
        names = ("month", "app_id", "account_id")
        known = insert(USAGE_HANDLES).on_conflict_do_nothing()
        every = [dict(zip(names, each, strict=True)) for each in sorted(handles)]
        for start in range(0, len(every), _AT_ONCE):
            with self._engine.begin() as db:
                db.execute(known, every[start : start + _AT_ONCE])
        count = insert(USAGE_REQUESTS)
        more = USAGE_REQUESTS.c.requests + count.excluded.requests
        count = count.on_conflict_do_update(
            index_elements=list(USAGE_REQUESTS.primary_key), set_={"requests": more}
        )
        if requests:
            names = ("month", "app_id", "outcome")
            rows = [
                dict(zip(names, key, strict=True)) | {"requests": each}
                for key, each in requests.items()
            ]
            with self._engine.begin() as db:
                db.execute(count, rows)

    def read_month(self, month: str) -> list[AppUsage]:
        """Every app that asked anything in a month or has agreed on handles, by App ID."""
        requests = sa.select(
            USAGE_REQUESTS.c.app_id, USAGE_REQUESTS.c.outcome, USAGE_REQUESTS.c.requests
        ).where(USAGE_REQUESTS.c.month == month)
        asked = sa.select(USAGE_REQUESTS.c.app_id).where(USAGE_REQUESTS.c.month == month)
        apps = (
            sa.select(APPS.c.id, APPS.c.name, ACCOUNTS.c.screen_name, APPS.c.handles_contracted)
            .join(ACCOUNTS, ACCOUNTS.c.id == APPS.c.owner_id)
            .where(APPS.c.handles_contracted.is_not(None) | APPS.c.id.in_(asked))
            .order_by(APPS.c.id)
        )
        with self._read.connect() as db:
            found = {row[0]: AppUsage(*row, Used()) for row in db.execute(apps)}
            for app_id, outcome, count in db.execute(requests):
                if app_id in found:
                    found[app_id].used.add(outcome, count)
        for app_id, handles in self.count_handles(month).items():
            if app_id in found:
                found[app_id].used.handles = handles
        return list(found.values())

    def count_handles(self, month: str, app_ids: Sequence[int] | None = None) -> dict[int, int]:
        """App ID -> unique handles of a month, of all apps or of these; absent where none."""
        query = sa.select(USAGE_HANDLES.c.app_id, sa.func.count())
        query = query.where(USAGE_HANDLES.c.month == month).group_by(USAGE_HANDLES.c.app_id)
        if app_ids is not None:
            query = query.where(USAGE_HANDLES.c.app_id.in_(app_ids))
        with self._read.connect() as db:
            return {row[0]: row[1] for row in db.execute(query)}

    def read_app(self, app_id: int, months: Sequence[str]) -> dict[str, Used]:
        """What an app used in each of these months."""
        used = {month: Used() for month in months}
        asked, served = USAGE_REQUESTS.c, USAGE_HANDLES.c
        requests = sa.select(asked.month, asked.outcome, asked.requests)
        requests = requests.where(asked.month.in_(months), asked.app_id == app_id)
        handles = sa.select(served.month, sa.func.count())
        handles = handles.where(served.month.in_(months), served.app_id == app_id)
        with self._read.connect() as db:
            for month, outcome, count in db.execute(requests):
                used[month].add(outcome, count)
            for month, count in db.execute(handles.group_by(served.month)):
                used[month].handles = count
        return used

    def list_handles(self, app_id: int, month: str, *, most: int) -> list[str]:
        """The screen names of an app's handles of a month, in order, as they are now."""
        name = sa.func.coalesce(
            ACCOUNTS.c.screen_name, sa.cast(USAGE_HANDLES.c.account_id, sa.String)
        )
        key = sa.func.coalesce(ACCOUNTS.c.screen_name_key, "")
        query = (
            sa.select(name)
            .outerjoin_from(USAGE_HANDLES, ACCOUNTS, ACCOUNTS.c.id == USAGE_HANDLES.c.account_id)
            .where(USAGE_HANDLES.c.month == month, USAGE_HANDLES.c.app_id == app_id)
            .order_by(key, USAGE_HANDLES.c.account_id)
            .limit(most)
        )
        with self._read.connect() as db:
            return list(db.scalars(query))
