"""Developers' applications: what they say of themselves, their keys, and what a manager lets them.

Secrets pass through here encrypted only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from openengagement.registry.schema import APPS, CALLBACKS

FIRST_APP_ID: Final = 10_000_001


@dataclass(frozen=True, slots=True)
class AppForm:
    """What a developer says of a new app.

    `callbacks` are the URLs its users may return to; without any it is a desktop app, whose users
    carry a PIN. `sign_in` lets `oauth/authenticate` pass users who authorized it before.
    `access_level` is `read`, `read-write` or `read-write-directmessages`.
    """

    name: str
    owner_id: int
    callbacks: Sequence[str]
    website: str | None = None
    description: str | None = None
    access_level: str = "read"
    sign_in: bool = False


@dataclass(frozen=True, slots=True)
class App:
    """A developer's application. `per_minute` None means the default limit.

    A suspended app can do nothing at all; one that is not enabled only not use the data API.
    """

    id: int
    name: str
    owner_id: int
    consumer_key: str
    consumer_secret: bytes  # encrypted
    enabled: bool
    per_minute: int | None
    bearer_generation: int
    bearer_hash: bytes | None
    website: str | None = None
    description: str | None = None
    access_level: str = "read"
    sign_in: bool = False
    suspended: bool = False


class Apps:
    """The apps of the registry."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._read = engine.execution_options(isolation_level="AUTOCOMMIT")

    def add(self, form: AppForm, *, credentials: tuple[str, bytes], now_s: int) -> int:
        """Register an app, not enabled, and return its App ID.

        `credentials` are the consumer key and the encrypted consumer secret.
        """
        with self._engine.begin() as db:
            newest = db.scalar(sa.select(sa.func.max(APPS.c.id)))
            app_id: int = FIRST_APP_ID if newest is None else newest + 1
            row = {
                "id": app_id,
                "name": form.name,
                "owner_id": form.owner_id,
                "website": form.website,
                "description": form.description,
                "access_level": form.access_level,
                "sign_in": form.sign_in,
                "consumer_key": credentials[0],
                "consumer_secret": credentials[1],
                "enabled": False,
                "bearer_generation": 0,
                "created_at_s": now_s,
            }
            db.execute(APPS.insert().values(row))
            urls = [
                {"app_id": app_id, "position": position, "url": url}
                for position, url in enumerate(form.callbacks)
            ]
            if urls:
                db.execute(CALLBACKS.insert(), urls)
            return app_id

    def read(self, app_id: int) -> App | None:
        return self._one(_SELECT_APP.where(APPS.c.id == app_id))

    def read_callbacks(self, app_id: int) -> list[str]:
        """The callback URLs of an app, in the developer's order."""
        query = sa.select(CALLBACKS.c.url).where(CALLBACKS.c.app_id == app_id)
        with self._read.connect() as db:
            return list(db.scalars(query.order_by(CALLBACKS.c.position)))

    def find(self, consumer_key: str) -> App | None:
        return self._one(_SELECT_APP.where(APPS.c.consumer_key == consumer_key))

    def find_by_name(self, name: str, *, owner_id: int) -> App | None:
        named = (APPS.c.name == name) & (APPS.c.owner_id == owner_id)
        return self._one(_SELECT_APP.where(named).order_by(APPS.c.id))

    def find_by_bearer(self, bearer_hash: bytes) -> App | None:
        return self._one(_SELECT_APP.where(APPS.c.bearer_hash == bearer_hash))

    def set_enabled(self, app_id: int, *, enabled: bool, per_minute: int | None) -> bool:
        """Enable or disable an App ID; a `per_minute` of None leaves the limit as it is."""
        values: dict[str, Any] = {"enabled": enabled}
        if per_minute is not None:
            values["per_minute"] = per_minute
        with self._engine.begin() as db:
            done = db.execute(APPS.update().where(APPS.c.id == app_id).values(values))
            return done.rowcount > 0

    def set_suspended(self, app_id: int, *, suspended: bool) -> bool:
        """Suspend an app, or let it go on; its credentials stay what they are."""
        with self._engine.begin() as db:
            update = APPS.update().where(APPS.c.id == app_id).values(suspended=suspended)
            return db.execute(update).rowcount > 0

    def set_bearer(self, app: App, *, generation: int, bearer_hash: bytes | None) -> bool:
        """Replace the app's bearer token; False when someone else did so since `app` was read."""
        unchanged = (APPS.c.id == app.id) & (APPS.c.bearer_generation == app.bearer_generation)
        values = {"bearer_generation": generation, "bearer_hash": bearer_hash}
        with self._engine.begin() as db:
            return db.execute(APPS.update().where(unchanged).values(values)).rowcount > 0

    def _one(self, query: sa.Select[Any]) -> App | None:
        with self._read.connect() as db:
            row = db.execute(query).first()
        return None if row is None else App(*row)


_SELECT_APP: Final = sa.select(
    APPS.c.id,
    APPS.c.name,
    APPS.c.owner_id,
    APPS.c.consumer_key,
    APPS.c.consumer_secret,
    APPS.c.enabled,
    APPS.c.per_minute,
    APPS.c.bearer_generation,
    APPS.c.bearer_hash,
    APPS.c.website,
    APPS.c.description,
    APPS.c.access_level,
    APPS.c.sign_in,
    APPS.c.suspended,
)
