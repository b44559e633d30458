"""The developer portal: a developer's apps, their states and their settings."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

from starlette.responses import Response

from openengagement.apps.app_form import (
    ACCESS_LEVEL_TEXTS,
    DESCRIPTION_LENGTH_MAX,
    NAME_LENGTH_MAX,
    UnfitApp,
)
from openengagement.apps.own_apps import OwnApps
from openengagement.auth.credentials import draw_cookie
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.portal.one_time_secrets import OneTimeSecrets
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import (
    NO_FAULTS,
    PageRenderer,
    Refusal,
    describe_app,
    redirect,
)
from openengagement.registry.apps import App, AppForm, AppRemoved, TooManyApps
from openengagement.registry.audit import Actor

PORTAL_PATH: Final = "/portal"
_NOT_YOURS: Final = Refusal(
    404,
    gettext_noop("There is no such app"),
    gettext_noop("None of your apps has this App ID. Check the list of your apps."),
)
# What to write in a field, for rules that every fault of the field breaks.
_TO_WRITE: Final = {
    "name": gettext_noop("Write a name of 1 to %(name_max)s visible characters."),
    "description": gettext_noop(
        "Write a description of at most %(description_max)s visible characters."
    ),
    "access_level": gettext_noop("Choose one of the permissions."),
}
_LENGTHS: Final = {"name_max": NAME_LENGTH_MAX, "description_max": DESCRIPTION_LENGTH_MAX}

Result = TypeVar("Result")


class DeveloperApps:
    """Handlers of `/portal` and of an app's Settings.

    `newest_tweet` returns the newest Tweet of an account, None if it has none.
    """

    def __init__(
        self,
        renderer: PageRenderer,
        apps: OwnApps,
        *,
        one_time_secrets: OneTimeSecrets,
        default_per_minute: int,
        newest_tweet: Callable[[int], int | None],
    ) -> None:
        self._renderer = renderer
        self.apps = apps
        self._one_time_secrets = one_time_secrets
        self._default_per_minute = default_per_minute
        self.newest_tweet = newest_tweet

    def show_apps(self, request: PageRequest) -> Response:
        """`GET /portal`."""
        apps = [self._describe(app) for app in self.apps.list(request.account_id)]
        context = {"title": _("Your apps"), "apps": apps, "most": self.apps.apps_max}
        return self._renderer.render(request, "developer_apps", context=context)

    def show_new(self, request: PageRequest) -> Response:
        """`GET /portal/new`."""
        form = AppForm("", request.account_id, (), submission=draw_cookie())
        return self._form(request, form, complete=True)

    def create(self, request: PageRequest) -> Response:
        """`POST /portal/new`."""
        form = _read_form(request, request.account_id)
        try:
            made = self.apps.create(form)
        except UnfitApp as error:
            return self._form(request, form, faults=describe_faults(error))
        except TooManyApps:
            most = self.apps.apps_max
            text = _("You have %(count)s apps, and no account may have more.", count=most)
            return self._form(request, form, faults={"": text})
        app = self.apps.find(str(made.app_id), owner_id=form.owner_id)
        # A form that is sent again later must not show the secrets again.
        if app and self.apps.is_new(app):
            secrets = {"consumer_key": made.consumer_key, "consumer_secret": made.consumer_secret}
            if "complete" in request.fields:
                secrets |= self._issue_tokens(app)
            self._one_time_secrets.put(request, str(app.id), secrets=secrets)
        return redirect(f"{PORTAL_PATH}/apps/{made.app_id}/keys")

    def _issue_tokens(self, app: App) -> dict[str, str]:
        """Issue a bearer token, and an access token for the owner, of an app that is new."""
        token, secret = self.apps.generate_token(app)
        bearer = self.apps.generate_bearer(app)
        return {"bearer_token": bearer, "access_token": token, "access_token_secret": secret}

    def for_own_app(
        self, handler: Callable[[PageRequest, App], Result]
    ) -> Callable[[PageRequest], Result | Response]:
        """Wrap a handler of an app's page: find the app, and refuse everybody but its owner."""

        def handle(request: PageRequest) -> Result | Response:
            app = self.apps.find(request.params["app_id"], owner_id=request.account_id)
            with suppress(AppRemoved):  # deleted in another window meanwhile
                if app:
                    return handler(request, app)
            return self._renderer.refuse(request, _NOT_YOURS)

        return handle

    def show_settings(self, request: PageRequest, app: App) -> Response:
        """`GET /portal/apps/{app_id}`."""
        return self._settings(request, app, form=self.apps.read_form(app))

    def act(self, request: PageRequest, app: App) -> Response:
        """`POST /portal/apps/{app_id}`: save the settings, or delete the app."""
        if request.fields.get("action") == "delete" and request.session is not None:
            self.apps.remove(app, actor=Actor(request.session.screen_name, app.owner_id))
            return redirect(PORTAL_PATH)
        return self._save(request, app)

    def _save(self, request: PageRequest, app: App) -> Response:
        form = _read_form(request, app.owner_id)
        try:
            self.apps.change(app, form)
        except UnfitApp as error:
            return self._settings(request, app, form=form, faults=describe_faults(error))
        return redirect(f"{PORTAL_PATH}/apps/{app.id}?saved=yes")

    def _form(
        self,
        request: PageRequest,
        form: AppForm,
        *,
        faults: Mapping[str, str] = NO_FAULTS,
        complete: bool = False,
    ) -> Response:
        context = {
            "title": _("Create an app"),
            "scripts": ("page.js",),
            "complete": complete or "complete" in request.fields,
            **_fields(form, faults),
        }
        status = 400 if faults else 200
        return self._renderer.render(request, "developer_new", context=context, status=status)

    def _settings(
        self,
        request: PageRequest,
        app: App,
        *,
        form: AppForm,
        faults: Mapping[str, str] = NO_FAULTS,
    ) -> Response:
        context = {
            "title": _("Settings of %(app)s", app=app.name),
            "scripts": ("page.js",),
            "app": self._describe(app),
            "saved": "saved" in request.query and not faults,
            **_fields(form, faults),
        }
        status = 400 if faults else 200
        return self._renderer.render(request, "developer_settings", context=context, status=status)

    def _describe(self, app: App) -> dict[str, Any]:
        per_minute = app.per_minute or self._default_per_minute
        return describe_app(app, state=self.apps.read_state(app), per_minute=per_minute)


def _read_form(request: PageRequest, owner_id: int) -> AppForm:
    given = request.fields
    return AppForm(
        name=given.get("name", "").strip(),
        owner_id=owner_id,
        callbacks=given.get("callbacks", "").split(),
        website=given.get("website", "").strip() or None,
        # People break lines in a text area; the description is shown as one paragraph.
        description=" ".join(given.get("description", "").splitlines()).strip() or None,
        access_level=given.get("access_level", ""),
        sign_in="sign_in" in given,
        submission=given.get("submission", ""),
    )


def _fields(form: AppForm, faults: Mapping[str, str]) -> dict[str, Any]:
    return {"form": form, "faults": faults, "access_levels": ACCESS_LEVEL_TEXTS}


def describe_faults(error: UnfitApp) -> dict[str, str]:
    """Write what is wrong with each field of the form, as sentences that say what to write."""
    return {
        field: _(_TO_WRITE[field], **_LENGTHS)
        if field in _TO_WRITE
        else f"{text[:1].upper()}{text[1:]}."
        for field, text in error.faults.items()
    }
