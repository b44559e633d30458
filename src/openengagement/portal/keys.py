"""Keys and tokens of an app: generate, show once, regenerate and revoke them (api.md 5)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Final

from starlette.responses import Response

from openengagement.apps.app_form import ACCESS_LEVEL_TEXTS
from openengagement.apps.own_apps import OwnApps
from openengagement.language.current import gettext as _
from openengagement.portal.developer import PORTAL_PATH
from openengagement.portal.one_time_secrets import OneTimeSecrets
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer, describe_app, redirect
from openengagement.registry.apps import App

_SECTIONS: Final = frozenset({"key", "bearer", "token", "all"})  # of the page; actions end in these
# A host that needs no escaping inside the quotes of a shell.
_PLAIN_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]_-]+")


class AppKeys:
    """Handlers of an app's Keys and tokens.

    `newest_tweet` returns the newest Tweet of an account, None if it has none. `count_answered`
    returns the requests of an app that were answered this month.
    """

    def __init__(
        self,
        renderer: PageRenderer,
        apps: OwnApps,
        *,
        one_time_secrets: OneTimeSecrets,
        newest_tweet: Callable[[int], int | None],
        count_answered: Callable[[int], int],
    ) -> None:
        self._renderer = renderer
        self._apps = apps
        self._one_time_secrets = one_time_secrets
        self._newest_tweet = newest_tweet
        self._count_answered = count_answered

    def show(self, request: PageRequest, app: App) -> Response:
        """`GET /portal/apps/{app_id}/keys`."""
        context = {
            "title": _("Keys and tokens of %(app)s", app=app.name),
            "scripts": ("page.js",),
            "app": describe_app(
                app, state=self._apps.read_state(app), created_at_s=app.created_at_s
            ),
            "answered": self._count_answered(app.id),
            "key_hint": f"{app.consumer_key[:4]}…{app.consumer_key[-4:]}",
            "has_bearer": app.bearer_hash is not None,
            "token": self._apps.read_token(app),
            "access_level": app.access_level,
            "access_levels": ACCESS_LEVEL_TEXTS,
            "shown": self._one_time_secrets.take(request, str(app.id)),
            "origin": _origin(request),
            "tweet_id": self._newest_tweet(app.owner_id) or "",
        }
        return self._renderer.render(request, "developer_keys", context=context)

    def act(self, request: PageRequest, app: App) -> Response:
        """`POST /portal/apps/{app_id}/keys`: perform the form's `action`."""
        action = request.fields.get("action", "")
        made = self._perform(app, action)
        if made:
            self._one_time_secrets.put(request, str(app.id), secrets=made)
        section = action.rpartition("_")[2]
        there = f"#{section}-title" if section in _SECTIONS else ""
        return redirect(f"{PORTAL_PATH}/apps/{app.id}/keys{there}")

    def _perform(self, app: App, action: str) -> Mapping[str, str]:
        """Perform an action and return the secrets that it made.

        Generating a credential never revokes one: it does nothing if the app has one already.
        """
        apps = self._apps
        match action:
            case "regenerate_key":
                made = apps.rotate_consumer(app)
                return {"consumer_key": made.consumer_key, "consumer_secret": made.consumer_secret}
            case "generate_bearer" if app.bearer_hash is None:
                return {"bearer_token": apps.generate_bearer(app)}
            case "regenerate_bearer":
                return {"bearer_token": apps.rotate_bearer(app)}
            case "revoke_bearer":
                apps.revoke_bearer(app)
            case "generate_token" if apps.read_token(app) is None:
                return _name_pair(apps.generate_token(app))
            case "regenerate_token":
                return _name_pair(apps.rotate_token(app))
            case "regenerate_all":
                return asdict(apps.rotate_all(app))
            case "revoke_token":
                apps.revoke_token(app)
        return {}


def _name_pair(pair: tuple[str, str]) -> dict[str, str]:
    return {"access_token": pair[0], "access_token_secret": pair[1]}


def _origin(request: PageRequest) -> str:
    """Return this server's origin as the browser sees it, safe inside the quotes of a shell."""
    host = request.host if _PLAIN_HOST.fullmatch(request.host) else "HOST"
    return f"{request.scheme}://{host}"
