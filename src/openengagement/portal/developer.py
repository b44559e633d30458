"""The developer portal: a developer's apps, what state they are in, and their settings."""

from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import Response

from openengagement.apps.app_form import ACCESS_LEVEL_TEXTS, UnfitApp
from openengagement.apps.own_apps import OwnApps
from openengagement.portal.desk import Desk, Refusal
from openengagement.portal.rendering import redirect
from openengagement.portal.shown_once import ShownOnce
from openengagement.portal.sign_in import to_sign_in
from openengagement.portal.visits import Visit
from openengagement.registry.apps import App, AppForm, TooManyApps

HOME: Final = "/portal"
_NOT_YOURS: Final = Refusal(
    404, "There is no such app", "None of your apps has this App ID. See the list of your apps."
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a form, and with which of its fields; `field` may be none of them."""

    field: str
    text: str


class Developer:
    """Handlers of `/portal` and of an app's Settings."""

    def __init__(
        self, desk: Desk, apps: OwnApps, *, shown_once: ShownOnce, default_per_minute: int
    ) -> None:
        self._desk = desk
        self._apps = apps
        self._shown_once = shown_once
        self._default_per_minute = default_per_minute

    def show_apps(self, visit: Visit) -> Response:
        """`GET /portal`."""
        if visit.session is None:
            return to_sign_in(visit)
        apps = [self._describe(app) for app in self._apps.list(visit.session.account_id)]
        context = {"title": "Your apps", "apps": apps, "most": self._apps.apps_max}
        return self._desk.page(visit, "developer_apps", context=context)

    def ask(self, visit: Visit) -> Response:
        """`GET /portal/new`."""
        if visit.session is None:
            return to_sign_in(visit)
        return self._form(visit, AppForm("", visit.session.account_id, ()))

    def create(self, visit: Visit) -> Response:
        """`POST /portal/new`."""
        if visit.session is None:
            return to_sign_in(visit, back=f"{HOME}/new")
        form = _read_form(visit, visit.session.account_id)
        try:
            made = self._apps.create(form)
        except UnfitApp as error:
            return self._form(visit, form, fault=Fault(error.field, str(error)))
        except TooManyApps:
            text = f"you have {self._apps.apps_max} apps, and no account may have more"
            return self._form(visit, form, fault=Fault("", text))
        secrets = {"consumer_key": made.consumer_key, "consumer_secret": made.consumer_secret}
        self._shown_once.hand_over(visit, str(made.app_id), secrets=secrets)
        return redirect(f"{HOME}/apps/{made.app_id}/keys")

    def show_settings(self, visit: Visit) -> Response:
        """`GET /portal/apps/{app_id}`."""
        app = self.find(visit)
        if isinstance(app, Response):
            return app
        return self._settings(visit, app, form=self._apps.read_form(app))

    def save(self, visit: Visit) -> Response:
        """`POST /portal/apps/{app_id}`."""
        app = self.find(visit)
        if isinstance(app, Response):
            return app
        form = _read_form(visit, app.owner_id)
        try:
            self._apps.change(app, form)
        except UnfitApp as error:
            return self._settings(visit, app, form=form, fault=Fault(error.field, str(error)))
        return redirect(f"{HOME}/apps/{app.id}?saved=yes")

    def find(self, visit: Visit) -> App | Response:
        """The app that the address names, or what to answer who has no such app."""
        if visit.session is None:
            return to_sign_in(visit, back=visit.path)
        app = self._apps.find(visit.params["app_id"], owner_id=visit.session.account_id)
        return app or self._desk.refuse(visit, _NOT_YOURS)

    def _form(self, visit: Visit, form: AppForm, *, fault: Fault | None = None) -> Response:
        context = {"title": "Create an app", **_fields(form, fault)}
        status = 400 if fault else 200
        return self._desk.page(visit, "developer_new", context=context, status=status)

    def _settings(
        self, visit: Visit, app: App, *, form: AppForm, fault: Fault | None = None
    ) -> Response:
        context = {
            "title": f"Settings of {app.name}",
            "scripts": ("page.js",),
            "app": self._describe(app),
            "saved": "saved" in visit.query and fault is None,
            **_fields(form, fault),
        }
        status = 400 if fault else 200
        return self._desk.page(visit, "developer_settings", context=context, status=status)

    def _describe(self, app: App) -> dict[str, Any]:
        per_minute = app.per_minute or self._default_per_minute
        return describe(app, self._apps.read_state(app)) | {"per_minute": per_minute}


def describe(app: App, state: str) -> dict[str, Any]:
    """An app as the templates expect it; `state` is a value of `AppState`."""
    return {
        "app_id": str(app.id),
        "name": app.name,
        "website": app.website,
        "description": app.description,
        "state": state,
    }


def show_access(level: str) -> str:
    """An access level as people read it."""
    return ACCESS_LEVEL_TEXTS[level]


def _read_form(visit: Visit, owner_id: int) -> AppForm:
    given = visit.fields
    return AppForm(
        name=given.get("name", "").strip(),
        owner_id=owner_id,
        callbacks=given.get("callbacks", "").split(),
        website=given.get("website", "").strip() or None,
        # A text area invites to begin a new line; what it describes is shown as one paragraph.
        description=" ".join(given.get("description", "").splitlines()).strip() or None,
        access_level=given.get("access_level", ""),
        sign_in="sign_in" in given,
    )


def _fields(form: AppForm, fault: Fault | None) -> dict[str, Any]:
    return {"form": form, "fault": fault, "access_levels": ACCESS_LEVEL_TEXTS}
