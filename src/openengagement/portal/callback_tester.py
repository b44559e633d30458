"""The callback tester: runs the first step of the three-legged flow for a callback URL.

It calls oauth/request_token as the app would, and shows why a callback URL is refused. The secret
of the request token is dropped here, so nothing that a person authorizes through the tester can be
exchanged for an access token. The verifier goes only to the callback URL.
"""

from collections.abc import Mapping
from concurrent.futures import Executor
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from starlette.responses import Response

from openengagement.apps.own_calls import OwnCalls
from openengagement.http.threads import run_in_pool
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.portal.api_console import describe_answer
from openengagement.portal.developer import DeveloperApps
from openengagement.portal.inner_calls import InnerAnswer, InnerCalls
from openengagement.portal.page_request import PageRequest
from openengagement.portal.remedies import explain
from openengagement.portal.rendering import PageRenderer, describe_app
from openengagement.registry.apps import App
from openengagement_client.signature import base_url

_PATH: Final = "/oauth/request_token"
_PIN: Final = "oob"
_LENGTH_MAX: Final = 2048
_OK: Final = 200
_EMPTY: Final = gettext_noop("Write a callback URL, or oob for a PIN.")
_SIMILAR: Final = 0.8  # at least, of a registered URL that is shown; 1 is the same


class CallbackTester:
    """Handlers of `/portal/apps/{app_id}/callback`."""

    def __init__(
        self,
        renderer: PageRenderer,
        developer: DeveloperApps,
        *,
        own_calls: OwnCalls,
        inner_calls: InnerCalls,
        pool: Executor,
    ) -> None:
        self._renderer = renderer
        self._developer = developer
        self._own_calls = own_calls
        self._inner_calls = inner_calls
        self._pool = pool

    def show(self, request: PageRequest, app: App) -> Response:
        """`GET /portal/apps/{app_id}/callback`."""
        return self._render(request, app)

    async def test(self, request: PageRequest) -> Response:
        """`POST /portal/apps/{app_id}/callback`: ask for a request token for this URL."""
        authorize = self._developer.for_own_app(self._authorize)
        authorization = await run_in_pool(self._pool, authorize, request)
        if isinstance(authorization, Response):
            return authorization
        headers = {"authorization": authorization}
        answer = await self._inner_calls.post(request, _PATH, headers=headers, body=b"")
        show = self._developer.for_own_app(
            lambda asked, app: self._render(asked, app, answer=answer)
        )
        return await run_in_pool(self._pool, show, request)

    def _authorize(self, request: PageRequest, app: App) -> str | Response:
        if not _read_callback(request.fields):
            return self._render(request, app)
        return self._own_calls.authorize(
            app,
            base_url(request.scheme, request.host, path=_PATH),
            as_owner=False,
            parameters=[("oauth_callback", _read_callback(request.fields))],
        )

    def _render(
        self, request: PageRequest, app: App, *, answer: InnerAnswer | None = None
    ) -> Response:
        apps = self._developer.apps
        registered = list(apps.read_form(app).callbacks)
        typed = "callback" in request.fields
        callback = _read_callback(request.fields)
        if not typed:
            callback = next(iter(registered), _PIN)
        outcome = None
        if answer is not None:
            outcome = _describe_outcome(request, answer)
            near = get_close_matches(callback, registered, n=1, cutoff=_SIMILAR)
            outcome["near"] = near[0] if near and callback not in registered else ""
        context = {
            "title": _("Callback tester of %(app)s", app=app.name),
            "scripts": ("page.js",),
            "app": describe_app(app, state=apps.read_state(app)),
            "registered": registered,
            "callback": callback,
            "outcome": outcome,
            "faults": _find_faults(outcome) if callback else {"callback": _(_EMPTY)},
        }
        status = 200 if callback else 400
        return self._renderer.render(request, "developer_callback", context=context, status=status)


def _read_callback(fields: Mapping[str, str]) -> str:
    return fields.get("callback", "").strip()[:_LENGTH_MAX]


def _find_faults(outcome: Mapping[str, Any] | None) -> dict[str, str]:
    """Return what is wrong with the field, if the URL was refused."""
    if outcome is None or outcome["authorize_url"]:
        return {}
    return {"callback": f"{outcome['remedy'].reason} {outcome['remedy'].advice}"}


def _describe_outcome(request: PageRequest, answer: InnerAnswer) -> dict[str, Any]:
    """Describe the answer without the secret of the request token."""
    if answer.status != _OK:
        code = answer.header("x-error-code")
        return {**describe_answer(answer), "remedy": explain(code), "authorize_url": ""}
    token = parse_qs(answer.body.decode()).get("oauth_token", [""])[0]
    query = urlencode({"oauth_token": token})
    return {"authorize_url": f"{request.origin}/oauth/authorize?{query}", "status": answer.status}
