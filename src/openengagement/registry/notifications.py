"""Notifications: what managers are told by webhook and mail (docs/webhooks.md).

A transaction that causes a notification inserts it, so that neither exists without the other. Some
occasions are conditions instead, such as damage, which are found again and again. The text of an
occasion is unique, so there is one notification for it. `registry.deliveries` has what follows.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final
from uuid import uuid4

import msgspec
import sqlalchemy as sa

from openengagement.registry.database import Database
from openengagement.registry.schema import ACCOUNTS, APPS, NOTIFICATIONS, USAGE_HANDLES

NEAR_PERCENT: Final = 80  # of the contracted handles


class NotificationType(StrEnum):
    """What has happened. Receivers depend on these names."""

    APP_WAITING = "app.waiting"
    LIMIT_REACHED = "limit.reached"
    CONTRACT_NEAR = "contract.near"
    CONTRACT_REACHED = "contract.reached"
    DAMAGE_FOUND = "damage.found"
    TEST = "webhook.test"  # sent by the command line only, and never stored


STORED_TYPES: Final = tuple(each for each in NotificationType if each != NotificationType.TEST)


@dataclass(frozen=True, slots=True)
class Occasion:
    """What to notify of, once for each `period`. `data` is for the receiver, as JSON."""

    type: NotificationType
    app_id: int | None = None
    period: str = ""
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """A damaged file, by its path in the data folder."""

    file: str
    reason: str


class Notifications:
    """Inserts the notifications of conditions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note_damage(self, found: Collection[Fault], *, day: str, now_s: int) -> None:
        """Notify of damaged files, of each once in a day."""
        with self._database.writing() as db:
            for fault in found:
                data = {"file": fault.file, "reason": fault.reason}
                period = f"{day} {fault.file}"
                occasion = Occasion(NotificationType.DAMAGE_FOUND, None, period, data)
                _insert(db, occasion, database=self._database, now_s=now_s)

    def note_contracts(self, month: str, *, now_s: int) -> None:
        """Notify of apps whose handles of a month have reached their contract, or are near it.

        A changed contract is another occasion. An app that has reached its contract at once is not
        near it.
        """
        contracts = self._list_open_contracts(month)
        for app_id, handles in self._count_handles(month, contracts).items():
            contracted = contracts[app_id]
            if handles * 100 < contracted * NEAR_PERCENT:
                continue
            kind = NotificationType.CONTRACT_NEAR
            if handles >= contracted:
                kind = NotificationType.CONTRACT_REACHED
            data = {"month": month, "handles": handles, "handles_contracted": contracted}
            occasion = Occasion(kind, app_id, f"{month} {contracted}", data)
            with self._database.writing() as db:
                notify_of_app(db, occasion, database=self._database, now_s=now_s)

    def _list_open_contracts(self, month: str) -> dict[int, int]:
        """Map apps to their contracted handles, without those known to have reached them."""
        kind = NotificationType.CONTRACT_REACHED
        query = sa.select(APPS.c.id, APPS.c.handles_contracted)
        query = query.where(APPS.c.handles_contracted.is_not(None))
        reached = sa.select(NOTIFICATIONS.c.occasion).where(NOTIFICATIONS.c.type == kind)
        with self._database.reading() as db:
            noted = set(db.scalars(reached))
            return {
                app_id: contracted
                for app_id, contracted in db.execute(query)
                if _text_of(Occasion(kind, app_id, f"{month} {contracted}")) not in noted
            }

    def _count_handles(self, month: str, app_ids: Iterable[int]) -> dict[int, int]:
        used = USAGE_HANDLES.c
        query = sa.select(used.app_id, sa.func.count()).group_by(used.app_id)
        query = query.where(used.month == month, used.app_id.in_(app_ids))
        with self._database.reading() as db:
            return {row[0]: row[1] for row in db.execute(query)}


def notify_of_app(db: sa.Connection, occasion: Occasion, *, database: Database, now_s: int) -> None:
    """Insert a notification about an app, with its name and owner, in the caller's transaction.

    Does nothing if the app was removed, or if there is a notification for this occasion.
    """
    query = (
        sa.select(APPS.c.name, ACCOUNTS.c.screen_name)
        .join(ACCOUNTS, ACCOUNTS.c.id == APPS.c.owner_id)
        .where(APPS.c.id == occasion.app_id)
        # Until the transaction ends, the app is not removed.
        .with_for_update(key_share=True, read=True, of=APPS)
    )
    row = db.execute(query).first()
    if row is not None:
        app = {"app_id": str(occasion.app_id), "name": row.name, "owner": row.screen_name}
        described = replace(occasion, data={**app, **occasion.data})
        _insert(db, described, database=database, now_s=now_s)


def _insert(db: sa.Connection, occasion: Occasion, *, database: Database, now_s: int) -> None:
    row = {
        "id": f"msg_{uuid4().hex}",
        "occasion": _text_of(occasion),
        "type": occasion.type,
        "app_id": occasion.app_id,
        "data": msgspec.json.encode(occasion.data).decode(),
        "created_at_s": now_s,
        "queued": False,
    }
    db.execute(database.insert_missing(NOTIFICATIONS).values(row))


def _text_of(occasion: Occasion) -> str:
    return f"{occasion.type} {occasion.app_id or ''} {occasion.period}"[:255]
