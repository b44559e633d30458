"""The webhooks that notifications are sent to, with their encrypted secrets."""

from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa

from openengagement.registry.database import Database, columns_of
from openengagement.registry.schema import DELIVERIES, WEBHOOKS


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

    def wants(self, kind: str) -> bool:
        """Return whether notifications of this type are sent to it."""
        return self.types is None or kind in self.types.split()


class Webhooks:
    """The webhooks of the registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_webhook(self, webhook: Webhook) -> None:
        """Store a new webhook."""
        self._database.change(WEBHOOKS.insert().values(asdict(webhook)))

    def list_webhooks(self) -> list[Webhook]:
        """List the webhooks, the oldest first."""
        query = _SELECT.order_by(WEBHOOKS.c.created_at_s, WEBHOOKS.c.id)
        return self._database.read_all(Webhook, query)

    def find_webhook(self, webhook_id: str) -> Webhook | None:
        """Return the webhook with this id."""
        return self._database.read_one(Webhook, _SELECT.where(WEBHOOKS.c.id == webhook_id))

    def replace_secret(self, webhook: Webhook, secret: bytes, *, old_until_s: int) -> bool:
        """Replace the secret. The present one signs as well until `old_until_s`.

        Returns False, and changes nothing, if the secret changed since `webhook` was read.
        """
        same = (WEBHOOKS.c.id == webhook.id) & (WEBHOOKS.c.secret == webhook.secret)
        values = {
            "secret": secret,
            "old_secret": webhook.secret,
            "old_secret_until_s": old_until_s,
        }
        return self._database.change(WEBHOOKS.update().where(same).values(values))

    def remove_webhook(self, webhook_id: str) -> bool:
        """Remove a webhook with its deliveries. False if there is none."""
        with self._database.writing() as db:
            db.execute(DELIVERIES.delete().where(DELIVERIES.c.target == webhook_id))
            return db.execute(WEBHOOKS.delete().where(WEBHOOKS.c.id == webhook_id)).rowcount > 0


_SELECT: Final[sa.Select[Any]] = sa.select(*columns_of(Webhook, WEBHOOKS))
