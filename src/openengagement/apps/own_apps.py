"""Developers manage their own apps: create and change them, and issue their credentials."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from openengagement.auth.credentials import (
    Granted,
    NewApp,
    issue_access_token,
    issue_app,
    issue_bearer,
    rotate_access_token,
    rotate_consumer,
)
from openengagement.auth.keyring import Keyring
from openengagement.engagement.types import parse_id
from openengagement.registry.app_list import AppState
from openengagement.registry.apps import App, AppForm, AppRemoved
from openengagement.registry.audit import Actor
from openengagement.registry.grants import Grant
from openengagement.registry.registry import Registry

_NEW_S: Final = 60


@dataclass(frozen=True, slots=True)
class Complete:
    """All credentials of an app and of its owner, in the clear: show them once."""

    consumer_key: str
    consumer_secret: str
    bearer_token: str
    access_token: str
    access_token_secret: str


class OwnApps:
    """The apps of developers. An account may have `apps_max` of them.

    `check_form` is `app_form.check_app_form` with the allowed schemes. Methods that take an app
    raise AppRemoved if it was removed after it was found.
    """

    def __init__(
        self,
        registry: Registry,
        keyring: Keyring,
        *,
        apps_max: int,
        check_form: Callable[..., None],
        now_s: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._keyring = keyring
        self._now_s = now_s
        self._check_form = check_form
        self.apps_max = apps_max

    def list(self, owner_id: int) -> list[App]:
        """List an account's apps, the newest first."""
        return self._registry.apps.list_owned(owner_id)

    def find(self, app_id: str, *, owner_id: int) -> App | None:
        """Find an app by the text of its App ID; None if it is not this account's."""
        try:
            app = self._registry.apps.read_app(parse_id(app_id))
        except ValueError:
            return None
        return app if app and (app.owner_id, str(app.id)) == (owner_id, app_id) else None

    def read_state(self, app: App) -> AppState:
        """The state of an app."""
        return self._registry.app_list.read_state(app.id)

    def read_form(self, app: App) -> AppForm:
        """Read the current form of an app."""
        return AppForm(
            app.name,
            app.owner_id,
            self._registry.apps.read_callbacks(app.id),
            app.website,
            app.description,
            app.access_level,
            app.sign_in,
        )

    def create(self, form: AppForm) -> NewApp:
        """Create an app. A manager has to enable it before it may use the data API.

        A form that is sent again returns the app that it created.

        Raises:
            UnfitApp, TooManyApps
        """
        self._check_form(form)
        now_s = int(self._now_s())
        return issue_app(
            self._registry, self._keyring, form=form, now_s=now_s, apps_max=self.apps_max
        )

    def is_new(self, app: App) -> bool:
        """Whether the app was created just now, so that a page may show its credentials."""
        return self._now_s() - app.created_at_s <= _NEW_S

    def change(self, app: App, form: AppForm) -> None:
        """Change an app. Existing access tokens keep their access level.

        Raises:
            UnfitApp
        """
        registered = self._registry.apps.read_callbacks(app.id)
        self._check_form(form, registered=registered)
        self._registry.apps.apply_form(app.id, form)

    def remove(self, app: App, *, actor: Actor) -> None:
        """Remove an app with its keys and all tokens. The audit log records it."""
        self._registry.removal.remove_app(app.id, actor=actor, now_s=int(self._now_s()))

    def rotate_consumer(self, app: App) -> NewApp:
        """Issue a new consumer key and secret. Revokes the old pair and the bearer token."""
        return rotate_consumer(self._registry, self._keyring, app_id=app.id)

    def generate_bearer(self, app: App) -> str:
        """Issue a bearer token. If a concurrent call issued one first, return that one."""
        return issue_bearer(self._registry, self._keyring, app=app)

    def rotate_bearer(self, app: App) -> str:
        """Issue a new bearer token. Revokes the old one."""
        self._registry.apps.revoke_bearer(app.id)
        current = self._registry.apps.read_app(app.id)
        if current is None:
            raise AppRemoved
        return issue_bearer(self._registry, self._keyring, app=current)

    def revoke_bearer(self, app: App) -> None:
        """Revoke the app's bearer token."""
        self._registry.apps.revoke_bearer(app.id)

    def read_token(self, app: App) -> Grant | None:
        """Read the owner's own access token for the app, if any, without its secret."""
        grants = self._registry.grants.list_grants(app.owner_id)
        return next((grant for grant in grants if grant.app_id == app.id), None)

    def generate_token(self, app: App) -> tuple[str, str]:
        """Issue the owner's own access token and secret, with the app's access level.

        If a concurrent call issued them first, return those.
        """
        return self._issue_token(app, issue_access_token)

    def rotate_token(self, app: App) -> tuple[str, str]:
        """Issue a new access token and secret of the owner. Revokes the old pair."""
        return self._issue_token(app, rotate_access_token)

    def _issue_token(self, app: App, issue: Callable[..., tuple[str, str]]) -> tuple[str, str]:
        granted = Granted(app.id, app.owner_id, app.access_level)
        return issue(self._registry, self._keyring, granted=granted, now_s=int(self._now_s()))

    def rotate_all(self, app: App) -> Complete:
        """Issue new credentials of every kind. Revokes the old ones."""
        made = self.rotate_consumer(app)
        bearer = self.rotate_bearer(app)
        return Complete(made.consumer_key, made.consumer_secret, bearer, *self.rotate_token(app))

    def revoke_token(self, app: App) -> None:
        """Revoke the owner's own access token for the app."""
        self._registry.grants.revoke_access_token(app_id=app.id, account_id=app.owner_id)
