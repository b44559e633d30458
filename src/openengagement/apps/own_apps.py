"""What a developer does with apps of their own: creates and changes them, and makes their keys."""

from collections.abc import Callable

from openengagement.apps.app_form import check_app_form
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
from openengagement.registry.apps import App, AppForm
from openengagement.registry.grants import Grant
from openengagement.registry.registry import Registry


class OwnApps:
    """The apps of developers. `most` is how many one account may have."""

    def __init__(
        self, registry: Registry, keyring: Keyring, *, most: int, now_s: Callable[[], float]
    ) -> None:
        self._registry = registry
        self._keyring = keyring
        self._now_s = now_s
        self.most = most

    def list(self, owner_id: int) -> list[App]:
        """The newest first."""
        return self._registry.apps.list_owned(owner_id)

    def find(self, app_id: str, *, owner_id: int) -> App | None:
        """The app with this App ID, written as we write it, if it is this account's."""
        try:
            app = self._registry.apps.read_app(parse_id(app_id))
        except ValueError:
            return None
        return app if app and (app.owner_id, str(app.id)) == (owner_id, app_id) else None

    def read_state(self, app: App) -> AppState:
        """The state of an app."""
        return self._registry.app_list.read_state(app.id)

    def read_form(self, app: App) -> AppForm:
        """What its developer said of it last."""
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
        """A new app, which a manager has yet to enable.

        Raises:
            UnfitApp, TooManyApps
        """
        check_app_form(form)
        now_s = int(self._now_s())
        return issue_app(self._registry, self._keyring, form=form, now_s=now_s, apps_max=self.most)

    def change(self, app: App, form: AppForm) -> None:
        """Let an app be what is said now. Access tokens keep the level they were made with.

        Raises:
            UnfitApp
        """
        check_app_form(form)
        self._registry.apps.apply_form(app.id, form)

    def rotate_consumer(self, app: App) -> NewApp:
        """A fresh API key and secret; the old pair and the bearer token die."""
        return rotate_consumer(self._registry, self._keyring, app_id=app.id)

    def generate_bearer(self, app: App) -> str:
        """The bearer token of an app that had none; that of whoever was quicker, if any."""
        return issue_bearer(self._registry, self._keyring, app=app)

    def rotate_bearer(self, app: App) -> str:
        """A fresh bearer token; the one before dies."""
        self._registry.apps.revoke_bearer(app.id)
        fresh = self._registry.apps.read_app(app.id)
        assert fresh is not None, "apps are never removed"
        return issue_bearer(self._registry, self._keyring, app=fresh)

    def revoke_bearer(self, app: App) -> None:
        self._registry.apps.revoke_bearer(app.id)

    def read_token(self, app: App) -> Grant | None:
        """The access token that its owner gave the app, without its secrets."""
        held = self._registry.grants.list_grants(app.owner_id)
        return next((grant for grant in held if grant.app_id == app.id), None)

    def generate_token(self, app: App) -> tuple[str, str]:
        """The owner's access token and secret, of the app's level, where there was none.

        Those of whoever was quicker, if any.
        """
        return self._give_token(app, issue_access_token)

    def rotate_token(self, app: App) -> tuple[str, str]:
        """A fresh access token and secret of the owner, of the app's level; the old pair dies."""
        return self._give_token(app, rotate_access_token)

    def _give_token(self, app: App, give: Callable[..., tuple[str, str]]) -> tuple[str, str]:
        granted = Granted(app.id, app.owner_id, app.access_level)
        return give(self._registry, self._keyring, granted=granted, now_s=int(self._now_s()))

    def revoke_token(self, app: App) -> None:
        self._registry.grants.revoke_access_token(app_id=app.id, account_id=app.owner_id)
