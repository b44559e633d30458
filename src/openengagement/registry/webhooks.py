"""The webhooks that notifications are sent to, with their encrypted secrets.

The audit log names the host of a webhook only, because its URL may contain a key of the receiver.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa

from openengagement.registry.audit import COMMAND_LINE, Actor, write_entry
from openengagement.registry.database import Database, columns_of
from openengagement.registry.decisions import check_manager
from openengagement.registry.schema import DELIVERIES, WEBHOOKS

_SUBJECT_MAX: Final = 128  # characters of a subject in the audit log


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that notifications are sent to, and the secret that signs them.

    After a rotation, `old_secret` signs as well until `old_secret_until_s`. `types` are separated
    by spaces; None stands for all.
    """

    id: str
    url: str
    secret: bytes  # encrypted
    created_at_s: int
    types: str | None = None
    old_secret: bytes | None = None  # encrypted
    old_secret_until_s: int | None = None

    @property
    def host(self) -> str:
        """The host of the URL, with its port if it has one."""
        return urlsplit(self.url).netloc

    def wants(self, kind: str) -> bool:
        """Return whether notifications of this type are sent to it."""
        return self.types is None or kind in self.types.split()


class Webhooks:
    """The webhooks of the registry. Every change is recorded.

    Each method that changes a webhook raises NotManager if the actor is not a manager.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_webhook(self, webhook: Webhook, *, actor: Actor = COMMAND_LINE) -> None:
        """Store a new webhook."""
        with self._database.writing(credentials=True) as db:
            check_manager(db, actor)
            db.execute(WEBHOOKS.insert().values(asdict(webhook)))
            _record(db, actor, action="add_webhook", webhook=webhook, now_s=webhook.created_at_s)

    def list_webhooks(self) -> list[Webhook]:
        """List the webhooks, the oldest first."""
        query = _SELECT.order_by(WEBHOOKS.c.created_at_s, WEBHOOKS.c.id)
        return self._database.read_all(Webhook, query)

    def find_webhook(self, webhook_id: str) -> Webhook | None:
        """Return the webhook with this id."""
        return self._database.read_one(Webhook, _SELECT.where(WEBHOOKS.c.id == webhook_id))

    def replace_secret(
        self,
        webhook: Webhook,
        secret: bytes,
        *,
        old_until_s: int,
        now_s: int,
        actor: Actor = COMMAND_LINE,
    ) -> bool:
        """Replace the secret. The present one signs as well until `old_until_s`.

        Returns False, and changes nothing, if the secret changed since `webhook` was read.
        """
        same = (WEBHOOKS.c.id == webhook.id) & (WEBHOOKS.c.secret == webhook.secret)
        values = {
            "secret": secret,
            "old_secret": webhook.secret,
            "old_secret_until_s": old_until_s,
        }
        with self._database.writing(credentials=True) as db:
            check_manager(db, actor)
            if not db.execute(WEBHOOKS.update().where(same).values(values)).rowcount:
                return False
            _record(db, actor, action="rotate_webhook", webhook=webhook, now_s=now_s)
        return True

    def remove_webhook(self, webhook: Webhook, *, now_s: int, actor: Actor = COMMAND_LINE) -> bool:
        """Remove a webhook with its deliveries. False if it was removed already."""
        with self._database.writing(credentials=True) as db:
            check_manager(db, actor)
            db.execute(DELIVERIES.delete().where(DELIVERIES.c.target == webhook.id))
            if not db.execute(WEBHOOKS.delete().where(WEBHOOKS.c.id == webhook.id)).rowcount:
                return False
            _record(db, actor, action="remove_webhook", webhook=webhook, now_s=now_s)
        return True


def _record(db: sa.Connection, actor: Actor, *, action: str, webhook: Webhook, now_s: int) -> None:
    entry = {"action": action, "subject": webhook.host[:_SUBJECT_MAX], "before": webhook.id}
    write_entry(db, actor, now_s=now_s, **entry)


_SELECT: Final[sa.Select[Any]] = sa.select(*columns_of(Webhook, WEBHOOKS))
