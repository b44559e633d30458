"""Keys and tokens of an app: made, shown once, and killed (api.md 5)."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.responses import Response

from openengagement.apps.own_apps import OwnApps
from openengagement.portal.desk import Desk
from openengagement.portal.developer import HOME, Developer, describe, show_access
from openengagement.portal.rendering import redirect
from openengagement.portal.shown_once import ShownOnce
from openengagement.portal.visits import Visit
from openengagement.registry.apps import App
from openengagement.registry.grants import Grant

_SECTIONS: Final = frozenset({"key", "bearer", "token"})  # of the page, and what actions end in
# What a shell takes as it is, within quotes.
_PLAIN_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]_-]+")


class Keys:
    """Handlers of an app's Keys and tokens. `newest_tweet` is an account's, if it has any."""

    def __init__(
        self,
        desk: Desk,
        apps: OwnApps,
        *,
        developer: Developer,
        shown_once: ShownOnce,
        newest_tweet: Callable[[int], int | None],
    ) -> None:
        self._desk = desk
        self._apps = apps
        self._developer = developer
        self._shown_once = shown_once
        self._newest_tweet = newest_tweet

    def show(self, visit: Visit) -> Response:
        """`GET /portal/apps/{app_id}/keys`."""
        app = self._developer.find(visit)
        if isinstance(app, Response):
            return app
        token = self._apps.read_token(app)
        context = {
            "title": f"Keys and tokens of {app.name}",
            "scripts": ("page.js",),
            "app": describe(app, self._apps.read_state(app)),
            "key_hint": f"{app.consumer_key[:4]}…{app.consumer_key[-4:]}",
            "has_bearer": app.bearer_hash is not None,
            "token": _describe_token(token) if token else None,
            "access": show_access(app.access_level),
            "shown": self._shown_once.take(visit, str(app.id)),
            "origin": _origin(visit),
            "tweet_id": self._newest_tweet(app.owner_id) or "",
        }
        return self._desk.page(visit, "developer_keys", context=context)

    def act(self, visit: Visit) -> Response:
        """`POST /portal/apps/{app_id}/keys`: what the form's `action` says."""
        app = self._developer.find(visit)
        if isinstance(app, Response):
            return app
        action = visit.fields.get("action", "")
        made = self._carry_out(app, action)
        if made:
            self._shown_once.hand_over(visit, str(app.id), secrets=made)
        section = action.rpartition("_")[2]
        there = f"#{section}-title" if section in _SECTIONS else ""
        return redirect(f"{HOME}/apps/{app.id}/keys{there}")

    def _carry_out(self, app: App, action: str) -> Mapping[str, str]:
        """Do it; returns the secrets it made. Generating kills nothing: it needs an empty place."""
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
            case "revoke_token":
                apps.revoke_token(app)
        return {}


def _name_pair(pair: tuple[str, str]) -> dict[str, str]:
    return {"access_token": pair[0], "access_token_secret": pair[1]}


def _describe_token(token: Grant) -> dict[str, Any]:
    return {
        "access": show_access(token.access_level),
        "created_at_s": token.created_at_s,
        "last_used_s": token.last_used_s,
    }


def _origin(visit: Visit) -> str:
    """This server as the browser calls it, fit to stand in a shell's quotes."""
    host = visit.host if _PLAIN_HOST.fullmatch(visit.host) else "HOST"
    return f"{visit.scheme}://{host}"
