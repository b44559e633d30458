"""Developers' applications: what they say of themselves, and their keys.

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

    `handles_contracted` is how many authors' metrics it may read a month before it pays for more;
    None where nothing is agreed. A suspended app can do nothing at all; one that is not enabled
    only not use the data API. `registry.decisions` changes what is a manager's to decide.
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
    handles_contracted: int | None = None


class TooManyApps(Exception):
    """The owner has as many apps as one may have."""


class Apps:
    """The apps of the registry."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._read = engine.execution_options(isolation_level="AUTOCOMMIT")

    def add(
        self,
        form: AppForm,
        *,
        credentials: tuple[str, bytes],
        now_s: int,
        most: int | None = None,
    ) -> int:
        """Register an app, not enabled, and return its App ID.

        `credentials` are the consumer key and the encrypted consumer secret; `most` is how many
        apps its owner may have then.

        Raises:
            TooManyApps
        """
        owned = sa.select(sa.func.count()).where(APPS.c.owner_id == form.owner_id)
        with self._engine.begin() as db:
            if most is not None and (db.scalar(owned) or 0) >= most:
                raise TooManyApps
            newest = db.scalar(sa.select(sa.func.max(APPS.c.id)))
            app_id: int = FIRST_APP_ID if newest is None else newest + 1
            row = {
                "id": app_id,
                "owner_id": form.owner_id,
                **_said(form),
                "consumer_key": credentials[0],
                "consumer_secret": credentials[1],
                "enabled": False,
                "bearer_generation": 0,
                "created_at_s": now_s,
            }
            db.execute(APPS.insert().values(row))
            _write_callbacks(db, app_id, urls=form.callbacks)
            return app_id

    def change(self, app_id: int, form: AppForm) -> None:
        """Let an app be what its developer says now; its owner and its tokens stay."""
        with self._engine.begin() as db:
            db.execute(APPS.update().where(APPS.c.id == app_id).values(_said(form)))
            db.execute(CALLBACKS.delete().where(CALLBACKS.c.app_id == app_id))
            _write_callbacks(db, app_id, urls=form.callbacks)

    def list_owned(self, owner_id: int) -> list[App]:
        """The apps of an account, the newest first."""
        query = _SELECT_APP.where(APPS.c.owner_id == owner_id).order_by(APPS.c.id.desc())
        with self._read.connect() as db:
            return [App(*row) for row in db.execute(query)]

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

    def set_consumer(self, app_id: int, *, credentials: tuple[str, bytes]) -> None:
        """Replace an app's consumer key and secret, and kill its bearer token.

        Whoever held the old pair could ask for that token, and may have.
        """
        pair = {"consumer_key": credentials[0], "consumer_secret": credentials[1]}
        with self._engine.begin() as db:
            db.execute(APPS.update().where(APPS.c.id == app_id).values(pair | _NO_BEARER))

    def kill_bearer(self, app_id: int) -> None:
        """Kill whatever bearer token the app has; the next one is of a new generation."""
        with self._engine.begin() as db:
            db.execute(APPS.update().where(APPS.c.id == app_id).values(_NO_BEARER))

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


def _said(form: AppForm) -> dict[str, Any]:
    """The columns of what a developer may change."""
    return {
        "name": form.name,
        "website": form.website,
        "description": form.description,
        "access_level": form.access_level,
        "sign_in": form.sign_in,
    }


def _write_callbacks(db: sa.Connection, app_id: int, *, urls: Sequence[str]) -> None:
    rows = [{"app_id": app_id, "position": at, "url": url} for at, url in enumerate(urls)]
    if rows:
        db.execute(CALLBACKS.insert(), rows)


_NO_BEARER: Final[dict[str, Any]] = {
    "bearer_generation": APPS.c.bearer_generation + 1,
    "bearer_hash": None,
}
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
    APPS.c.handles_contracted,
)
