"""Consent: a person sees which app asks for access to their account, and decides (api.md 4.5)."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from starlette.responses import Response

from openengagement.auth.three_legged_flow import Pending, ThreeLeggedFlow
from openengagement.engagement.permissions import AccessLevel
from openengagement.errors import RequestTokenNotFound
from openengagement.http.forms import read_url_query
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.portal.browser_sessions import BrowserSessions
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer, Refusal, describe_app, redirect
from openengagement.registry.grants import OOB

_CAN_READ: Final = (
    gettext_noop("See how your {tweets} were seen, clicked, liked and shared, hour by hour"),
    gettext_noop("See your screen name and account ID"),
)
# The wording for an app that has the permission, and for an app that lacks it.
_WRITE: Final = (
    gettext_noop("Post and delete {tweets} for you, where the platform offers that"),
    gettext_noop("Post or delete {tweets} for you"),
)
_MESSAGE: Final = (
    gettext_noop("Read and send your Direct Messages, where the platform offers that"),
    gettext_noop("Read or send your Direct Messages"),
)
_CANNOT: Final = (
    gettext_noop("See your password"),
    gettext_noop("See metrics of other people's {tweets} that are not public"),
)
_ENDED: Final = Refusal(
    403,
    gettext_noop("This request has ended"),
    gettext_noop(
        "You have answered it already, it is more than 15 minutes old, or it was never valid. If "
        "you see a PIN, type it into the app. Otherwise go back to the app and start again."
    ),
)
_NO_TOKEN: Final = Refusal(
    403,
    gettext_noop("This link is incomplete"),
    gettext_noop("The link from the app has no oauth_token. Go back to the app and start again."),
)


class Consent:
    """Handlers of `/oauth/authorize` and `/oauth/authenticate`."""

    def __init__(
        self, renderer: PageRenderer, sessions: BrowserSessions, *, flow: ThreeLeggedFlow
    ) -> None:
        self._renderer = renderer
        self._sessions = sessions
        self._flow = flow

    def authorize(self, request: PageRequest) -> Response:
        """`GET /oauth/authorize`: ask every time."""
        return self._show(request, may_skip=False)

    def authenticate(self, request: PageRequest) -> Response:
        """`GET /oauth/authenticate`: ask once, if the app may use sign-in with the platform."""
        return self._show(request, may_skip=True)

    def _show(self, request: PageRequest, *, may_skip: bool) -> Response:
        if not request.query.get("oauth_token"):
            return self._renderer.refuse(request, _NO_TOKEN)
        try:
            pending = self._flow.read_pending(request.query.get("oauth_token", ""))
            session = request.session
            if session is None or self._must_sign_in_again(request):
                return redirect(_sign_in_url(request))
            skips = may_skip and pending.app.sign_in and pending.request.callback != OOB
            if skips and self._flow.is_granted(pending, session.account_id):
                return redirect(self._flow.authorize(pending, session.account_id), 302)
        except RequestTokenNotFound:
            return self._renderer.refuse(request, _ENDED)
        context = {
            "title": _("Authorize %(app)s", app=pending.app.name),
            "app": describe_pending(pending),
            "oauth_token": pending.request.token,
            "returns_to": _describe_callback(pending.request.callback),
            **_permissions(pending.request.access_level),
        }
        return self._renderer.render(
            request, "consent", context=context, form_targets=form_targets(pending)
        )

    def _must_sign_in_again(self, request: PageRequest) -> bool:
        """Tell whether `force_login` demands a sign-in that was not made for this very request."""
        return forces_login(request.query) and not self._sessions.was_started_for(
            request, request.query["oauth_token"]
        )

    def decide(self, request: PageRequest) -> Response:
        """`POST /oauth/authorize`: apply the person's decision."""
        if request.session is None:
            return self._renderer.refuse(request, _ENDED)
        try:
            pending = self._flow.read_pending(
                request.fields.get("oauth_token", ""), account_id=request.session.account_id
            )
            if request.fields.get("decision") != "authorize":
                return self._deny(request, pending)
            granted = self._flow.authorize(pending, request.session.account_id)
        except RequestTokenNotFound:
            return self._renderer.refuse(request, _ENDED)
        if pending.request.callback != OOB:
            return redirect(granted, 302)
        context = {"title": _("Your PIN"), "app": describe_pending(pending), "pin": granted}
        return self._renderer.render(request, "pin", context=context)

    def _deny(self, request: PageRequest, pending: Pending) -> Response:
        link = self._flow.deny(pending)
        context = {"title": _("Not authorized"), "app": describe_pending(pending), "link": link}
        return self._renderer.render(request, "denied", context=context)


def forces_login(query: Mapping[str, str]) -> bool:
    """Tell whether an app demands that the person signs in again (api.md 4.5)."""
    return query.get("force_login", "").lower() in {"true", "1", "t"}


def return_forces_login(return_to: str) -> bool:
    """Tell whether a sign-in returns to a request for consent that demands a new sign-in."""
    return forces_login(read_url_query(return_to))


def find_pending(flow: ThreeLeggedFlow, return_to: str) -> Pending | None:
    """Find the request for consent that a sign-in returns to, if it returns to one."""
    if not urlsplit(return_to).path.startswith("/oauth/"):
        return None
    try:
        return flow.read_pending(read_url_query(return_to).get("oauth_token", ""))
    except RequestTokenNotFound:
        return None


def describe_pending(pending: Pending) -> dict[str, object]:
    """Describe the app that asks for consent, and its owner."""
    return describe_app(pending.app, owner=pending.owner.screen_name)


def form_targets(pending: Pending) -> tuple[str, ...]:
    """List the sources that let a form redirect to the app's callback (CSP `form-action`).

    These are schemes, not hosts: browsers check every further redirect against the same list. An
    app may redirect from its callback to `www.` or to another site.
    """
    if pending.request.callback == OOB:
        return ()
    scheme = urlsplit(pending.request.callback).scheme
    return ("http:", "https:") if scheme == "http" else (f"{scheme}:",)


def _describe_callback(callback: str) -> str | None:
    """Describe in words where the browser goes after the decision; None for a PIN."""
    if callback == OOB:
        return None
    parts = urlsplit(callback)
    if parts.scheme in {"http", "https"}:
        return parts.netloc
    return _("an app that opens %(scheme)s:", scheme=parts.scheme)


def _permissions(access_level: AccessLevel) -> dict[str, list[str]]:
    can, cannot = list(_CAN_READ), list(_CANNOT)
    for may, (yes, no) in (
        (access_level.covers(AccessLevel.READ_WRITE), _WRITE),
        (access_level.covers(AccessLevel.READ_WRITE_MESSAGES), _MESSAGE),
    ):
        (can if may else cannot).append(yes if may else no)
    return {"can": [_(text) for text in can], "cannot": [_(text) for text in cannot]}


def _sign_in_url(request: PageRequest) -> str:
    """Return the URL of the sign-in page, which returns here."""
    names = ("oauth_token", "force_login", "screen_name")
    back = {name: request.query[name] for name in names if name in request.query}
    query: dict[str, Any] = {"return_to": f"{request.path}?{urlencode(back)}"}
    if screen_name := request.query.get("screen_name"):
        query["screen_name"] = screen_name
    return f"/sign-in?{urlencode(query)}"
