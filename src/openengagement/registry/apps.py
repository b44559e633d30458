"""Developers' apps: their settings and their credentials.

Secrets pass through here only encrypted or hashed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from openengagement.engagement.permissions import AccessLevel
from openengagement.registry.database import Database, columns_of
from openengagement.registry.notifications import NotificationType, Occasion, notify_of_app
from openengagement.registry.schema import APPS, CALLBACKS, REMOVED_APPS

FIRST_APP_ID: Final = 10_000_001


@dataclass(frozen=True, slots=True)
class AppForm:
    """The settings of an app that its developer chooses.

    `callbacks` are the URLs that users may return to. An app without callbacks is a desktop app,
    whose users copy a PIN. `sign_in` lets `oauth/authenticate` skip the consent page for users who
    authorized the app before. `access_level` is a value of `AccessLevel` after `apps.app_form` has
    checked the form. `submission` is a random text of the page that has the form: when it is sent
    twice, as by a double click, it creates one app. Empty: every time creates an app.
    """

    name: str
    owner_id: int
    callbacks: Sequence[str]
    website: str | None = None
    description: str | None = None
    access_level: str = AccessLevel.READ
    sign_in: bool = False
    submission: str = ""


@dataclass(frozen=True, slots=True)
class App:
    """A developer's application.

    An `enabled` app may use the data API. A `suspended` app can do nothing. Only managers change
    these two and the limits (`registry.decisions`). `per_minute` is None if the default applies.
    `handles_contracted` is the number of unique handles per month in the app's contract, None
    without a contract.
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
    created_at_s: int
    website: str | None = None
    description: str | None = None
    access_level: AccessLevel = AccessLevel.READ
    sign_in: bool = False
    suspended: bool = False
    handles_contracted: int | None = None


class TooManyApps(Exception):
    """The owner has the largest number of apps that an account may have."""


class AppRemoved(Exception):
    """The app was removed after the caller read it."""


class Apps:
    """The apps of the registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_app(
        self,
        form: AppForm,
        *,
        credentials: tuple[str, bytes],
        now_s: int,
        apps_max: int | None = None,
    ) -> int:
        """Register an app, not enabled, and return its App ID. Managers are notified.

        `credentials` are the consumer key and the encrypted consumer secret. If the form
        has a submission and an app has this consumer key, nothing changes, and the App ID of that
        app is returned. `apps_max` is the number of apps that the owner may have, including this
        one.

        Raises:
            TooManyApps: the owner has `apps_max` apps already.
        """
        owned = sa.select(sa.func.count()).where(APPS.c.owner_id == form.owner_id)
        same_key = sa.select(APPS.c.id).where(APPS.c.consumer_key == credentials[0])
        # Relies on the credential lock (Database.writing): no other writer adds an app between
        # the reads and the insert. No id is used twice, not even that of a removed app.
        with self._database.writing(credentials=True) as db:
            if form.submission and (known := db.scalar(same_key)) is not None:
                return int(known)
            if apps_max is not None and (db.scalar(owned) or 0) >= apps_max:
                raise TooManyApps
            used = (db.scalar(sa.select(sa.func.max(t.c.id))) for t in (APPS, REMOVED_APPS))
            app_id: int = max((newest + 1 for newest in used if newest), default=FIRST_APP_ID)
            row = {
                "id": app_id,
                "owner_id": form.owner_id,
                **_form_columns(form),
                "consumer_key": credentials[0],
                "consumer_secret": credentials[1],
                "enabled": False,
                "bearer_generation": 0,
                "created_at_s": now_s,
            }
            db.execute(APPS.insert().values(row))
            _insert_callbacks(db, app_id, urls=form.callbacks)
            waiting = Occasion(NotificationType.APP_WAITING, app_id)
            notify_of_app(db, waiting, database=self._database, now_s=now_s)
            return app_id

    def apply_form(self, app_id: int, form: AppForm) -> None:
        """Replace the settings of an app. Its owner and its tokens stay.

        Raises:
            AppRemoved
        """
        change = APPS.update().where(APPS.c.id == app_id).values(_form_columns(form))
        with self._database.writing(credentials=True) as db:
            if not db.execute(change).rowcount:
                raise AppRemoved
            db.execute(CALLBACKS.delete().where(CALLBACKS.c.app_id == app_id))
            _insert_callbacks(db, app_id, urls=form.callbacks)

    def list_owned(self, owner_id: int) -> list[App]:
        """List the apps of an account, the newest first."""
        query = _SELECT.where(APPS.c.owner_id == owner_id).order_by(APPS.c.id.desc())
        return self._database.read_all(App, query)

    def read_app(self, app_id: int) -> App | None:
        """Return the app with this App ID."""
        return self._read_one(APPS.c.id == app_id)

    def read_callbacks(self, app_id: int) -> list[str]:
        """List the callback URLs of an app, in the developer's order."""
        query = sa.select(CALLBACKS.c.url).where(CALLBACKS.c.app_id == app_id)
        with self._database.reading() as db:
            return list(db.scalars(query.order_by(CALLBACKS.c.position)))

    def list_callbacks(self) -> list[tuple[int, str]]:
        """List the App ID and URL of the callbacks of all apps."""
        query = sa.select(CALLBACKS.c.app_id, CALLBACKS.c.url)
        with self._database.reading() as db:
            rows = db.execute(query.order_by(CALLBACKS.c.app_id, CALLBACKS.c.position))
            return [(row.app_id, row.url) for row in rows]

    def find_by_consumer_key(self, consumer_key: str) -> App | None:
        """Return the app with this consumer key."""
        return self._read_one(APPS.c.consumer_key == consumer_key)

    def find_by_name(self, name: str, *, owner_id: int) -> App | None:
        """Return the owner's oldest app of this name."""
        query = _SELECT.where(APPS.c.name == name, APPS.c.owner_id == owner_id)
        return self._database.read_one(App, query.order_by(APPS.c.id))

    def find_by_bearer(self, bearer_hash: bytes) -> App | None:
        """Return the app whose live bearer token has this digest."""
        return self._read_one(APPS.c.bearer_hash == bearer_hash)

    def replace_consumer(self, app_id: int, *, credentials: tuple[str, bytes]) -> None:
        """Replace an app's consumer key and secret, and revoke its bearer token.

        Anyone who knew the old key and secret could have requested that token.
        """
        pair = {"consumer_key": credentials[0], "consumer_secret": credentials[1]}
        self._update(APPS.c.id == app_id, pair | _NO_BEARER)

    def revoke_bearer(self, app_id: int) -> None:
        """Revoke the app's bearer token, if any. The next one is of a new generation."""
        self._update(APPS.c.id == app_id, _NO_BEARER)

    def revoke_all_bearers(self) -> None:
        """Revoke all bearer tokens, for example after the keys that they derive from leaked."""
        self._update(sa.true(), _NO_BEARER)

    def set_bearer(self, app: App, *, generation: int, bearer_hash: bytes | None) -> bool:
        """Set the generation of the app's bearer token, and the digest of the live token if any.

        Returns False, and changes nothing, if the generation changed since `app` was read.
        """
        unchanged = (APPS.c.id == app.id) & (APPS.c.bearer_generation == app.bearer_generation)
        values = {"bearer_generation": generation, "bearer_hash": bearer_hash}
        return self._update(unchanged, values)

    def _update(self, condition: sa.ColumnElement[bool], values: dict[str, Any]) -> bool:
        return self._database.change(
            APPS.update().where(condition).values(values), credentials=True
        )

    def _read_one(self, condition: sa.ColumnElement[bool]) -> App | None:
        return self._database.read_one(App, _SELECT.where(condition))


_SELECT: Final[sa.Select[Any]] = sa.select(*columns_of(App, APPS))
_CHANGEABLE: Final = ("name", "website", "description", "access_level", "sign_in")
_NO_BEARER: Final[dict[str, Any]] = {
    "bearer_generation": APPS.c.bearer_generation + 1,
    "bearer_hash": None,
}


def _form_columns(form: AppForm) -> dict[str, Any]:
    """Return the columns that a developer may change."""
    return {name: getattr(form, name) for name in _CHANGEABLE}


def _insert_callbacks(db: sa.Connection, app_id: int, *, urls: Sequence[str]) -> None:
    rows = [{"app_id": app_id, "position": index, "url": url} for index, url in enumerate(urls)]
    if rows:
        db.execute(CALLBACKS.insert(), rows)
