"""The deliveries of notifications: an outbox that the servers of a registry share.

`queue` inserts a delivery of each new notification for each receiver. `claim` takes due deliveries
under a lease, so that no two servers attempt one at the same time. If a server dies during an
attempt, another one claims the delivery when the lease has ended. So a receiver may get a
notification twice, always with the same id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from openengagement.registry.database import Database, delete_expired
from openengagement.registry.schema import DELIVERIES, NOTIFICATIONS, WEBHOOKS
from openengagement.registry.webhooks import Webhook

MAIL: Final = "mail"  # the target of a delivery by mail
LEASE_S: Final = 120  # longer than any attempt
_QUEUED_MAX: Final = 100  # notifications in one transaction


class DeliveryState(StrEnum):
    """The state of a delivery."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery. `next_at_s` is when it is due, or during an attempt when its lease ends.

    `attempts` includes the present one. `result` is the status of the last answer, or an error.
    """

    notification_id: str
    target: str
    type: str
    data: str
    created_at_s: int  # of the notification
    state: str
    attempts: int
    next_at_s: int
    result: str | None


class Deliveries:
    """The deliveries of the registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def queue(self, *, by_mail: bool, now_s: int) -> None:
        """Insert the deliveries of new notifications: to webhooks, and by mail if that is set."""
        new = sa.select(NOTIFICATIONS.c.id, NOTIFICATIONS.c.type)
        new = new.where(NOTIFICATIONS.c.queued.is_(sa.false())).limit(_QUEUED_MAX)
        if not self._finds_any(new):  # a transaction that writes would cost a commit
            return
        with self._database.writing() as db:
            # Another server queues the rows that it has locked.
            found = db.execute(new.with_for_update(skip_locked=True)).all()
            webhooks = [Webhook(**row) for row in db.execute(sa.select(WEBHOOKS)).mappings()]
            rows = [
                _new_row(row.id, target, now_s=now_s)
                for row in found
                for target in _targets_of(row.type, webhooks, by_mail=by_mail)
            ]
            if rows:
                db.execute(DELIVERIES.insert(), rows)
            ids = [row.id for row in found]
            same = NOTIFICATIONS.c.id.in_(ids)
            db.execute(NOTIFICATIONS.update().where(same).values(queued=True))

    def claim(self, *, limit: int, now_s: int) -> list[Delivery]:
        """Take due deliveries for LEASE_S, and count an attempt of each."""
        due = (DELIVERIES.c.state == DeliveryState.WAITING) & (DELIVERIES.c.next_at_s <= now_s)
        query = sa.select(DELIVERIES.c.notification_id, DELIVERIES.c.target).where(due)
        query = query.order_by(DELIVERIES.c.next_at_s).limit(limit)
        if not self._finds_any(query):
            return []
        with self._database.writing() as db:
            keys = [tuple(row) for row in db.execute(query.with_for_update(skip_locked=True))]
            claimed = sa.tuple_(*DELIVERIES.primary_key.columns).in_(keys)
            values = {"attempts": DELIVERIES.c.attempts + 1, "next_at_s": now_s + LEASE_S}
            db.execute(DELIVERIES.update().where(claimed).values(values))
            rows = db.execute(_SELECT.where(claimed)).mappings()
            return [Delivery(**row) for row in rows]

    def finish(
        self, delivery: Delivery, state: DeliveryState, *, result: str, next_at_s: int
    ) -> None:
        """Store the result of an attempt.

        A failure is not stored if another attempt has begun, after the lease of this one.
        """
        same = _is(delivery) & (DELIVERIES.c.state == DeliveryState.WAITING)
        if state != DeliveryState.DELIVERED:
            same &= DELIVERIES.c.attempts == delivery.attempts
        values = {"state": state, "result": result, "next_at_s": next_at_s}
        self._database.change(DELIVERIES.update().where(same).values(values))

    def list_deliveries(
        self, *, limit: int, target: str | None = None, state: DeliveryState | None = None
    ) -> list[Delivery]:
        """List deliveries, the newest first, of one target and in one state if given."""
        query = _SELECT.order_by(NOTIFICATIONS.c.created_at_s.desc(), *DELIVERIES.primary_key)
        if target is not None:
            query = query.where(DELIVERIES.c.target == target)
        if state is not None:
            query = query.where(DELIVERIES.c.state == state)
        return self._database.read_all(Delivery, query.limit(limit))

    def retry_failed(self, target: str, *, now_s: int) -> int:
        """Begin the failed deliveries of a target again. Return their number."""
        failed = (DELIVERIES.c.target == target) & (DELIVERIES.c.state == DeliveryState.FAILED)
        values = {"state": DeliveryState.WAITING, "attempts": 0, "next_at_s": now_s}
        with self._database.writing() as db:
            return db.execute(DELIVERIES.update().where(failed).values(values)).rowcount

    def count_failed(self) -> dict[str, int]:
        """Count the failed deliveries of each target that has some."""
        query = sa.select(DELIVERIES.c.target, sa.func.count()).group_by(DELIVERIES.c.target)
        with self._database.reading() as db:
            rows = db.execute(query.where(DELIVERIES.c.state == DeliveryState.FAILED))
            return {row[0]: row[1] for row in rows}

    def count(self) -> dict[str, int]:
        """Count the deliveries that wait and that failed, as `status` names them."""
        query = sa.select(DELIVERIES.c.state, sa.func.count()).group_by(DELIVERIES.c.state)
        with self._database.reading() as db:
            found: dict[str, int] = {row[0]: row[1] for row in db.execute(query)}
        shown = (DeliveryState.WAITING, DeliveryState.FAILED)
        return {f"deliveries_{state}": found.get(state, 0) for state in shown}

    def forget(self, *, before_s: int) -> None:
        """Remove notifications from before a time, with their deliveries."""
        with self._database.writing() as db:
            delete_expired(db, NOTIFICATIONS, before_s=before_s)

    def _finds_any(self, query: sa.Select[Any]) -> bool:
        with self._database.reading() as db:
            return db.execute(query.limit(1)).first() is not None


def _targets_of(kind: str, webhooks: Sequence[Webhook], *, by_mail: bool) -> list[str]:
    wanted = [webhook.id for webhook in webhooks if webhook.wants(kind)]
    return [*wanted, MAIL] if by_mail else wanted


def _new_row(notification_id: str, target: str, *, now_s: int) -> dict[str, object]:
    return {
        "notification_id": notification_id,
        "target": target,
        "state": DeliveryState.WAITING,
        "attempts": 0,
        "next_at_s": now_s,
    }


def _is(delivery: Delivery) -> sa.ColumnElement[bool]:
    return (DELIVERIES.c.notification_id == delivery.notification_id) & (
        DELIVERIES.c.target == delivery.target
    )


_SELECT: Final[sa.Select[Any]] = sa.select(
    DELIVERIES,
    NOTIFICATIONS.c.type,
    NOTIFICATIONS.c.data,
    NOTIFICATIONS.c.created_at_s,
).join(NOTIFICATIONS, NOTIFICATIONS.c.id == DELIVERIES.c.notification_id)
