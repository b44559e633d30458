"""Account settings: the apps that may use a person's account, and where the person is signed in."""

from typing import Final

from starlette.responses import Response

from openengagement.engagement.types import ID_MAX, parse_decimal
from openengagement.language.current import gettext as _
from openengagement.portal.browser_sessions import BrowserSessions
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer, redirect
from openengagement.registry.registry import Registry

_PATH: Final = "/settings/apps"


class AccountSettings:
    """Handlers of `/settings/*`."""

    def __init__(
        self, renderer: PageRenderer, sessions: BrowserSessions, *, registry: Registry
    ) -> None:
        self._renderer = renderer
        self._sessions = sessions
        self._registry = registry

    def show(self, request: PageRequest) -> Response:
        """`GET /settings/apps`."""
        context = {
            "title": _("Apps and sessions"),
            "scripts": ("page.js",),
            "apps": self._registry.grants.list_grants(request.account_id),
            "sessions": self._sessions.list(request),
            "current_id": request.session.id if request.session else "",
        }
        return self._renderer.render(request, "account", context=context)

    def revoke_app(self, request: PageRequest) -> Response:
        """`POST /settings/apps/revoke`: revoke an app's access token, at once on every worker."""
        app_id = parse_decimal(request.fields.get("app_id", ""), maximum=ID_MAX)
        if request.session and app_id is not None:
            self._registry.grants.revoke_access_token(
                app_id=app_id, account_id=request.session.account_id
            )
        return redirect(_PATH)

    def end_session(self, request: PageRequest) -> Response:
        """`POST /settings/sessions/revoke`."""
        if request.session:
            session_id = request.fields.get("session_id", "")
            self._registry.sessions.end_session(session_id, account_id=request.session.account_id)
        return redirect(_PATH)
