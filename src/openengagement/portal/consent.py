"""The second leg: a person sees which app asks, and decides (api.md 4.5)."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from starlette.responses import Response

from openengagement.auth.three_legged_flow import REQUEST_TOKEN_S, Pending, ThreeLeggedFlow
from openengagement.engagement.permissions import AccessLevel
from openengagement.errors import RequestTokenNotFound
from openengagement.http.forms import read_url_query
from openengagement.portal.desk import Desk, Refusal
from openengagement.portal.rendering import redirect
from openengagement.portal.visits import Visit, Visits
from openengagement.registry.grants import OOB

_CAN_READ: Final = (
    "See how your Tweets were seen, clicked, liked and shared, hour by hour",
    "See your screen name and account ID",
)
# What it reads like when an app may, and when it may not.
_WRITE: Final = (
    "Post and delete Tweets for you, where the platform offers that",
    "Post or delete Tweets for you",
)
_MESSAGE: Final = (
    "Read and send your Direct Messages, where the platform offers that",
    "Read or send your Direct Messages",
)
_CANNOT: Final = (
    "See your password",
    "See metrics of other people's Tweets that are not public",
)
_DEAD: Final = Refusal(
    403,
    "This request has ended",
    "It was answered already, it is more than "
    f"{REQUEST_TOKEN_S // 60} minutes old, or it was never valid. If you were shown a PIN, type "
    "it into the app; otherwise go back there and start again.",
)
_NAMELESS: Final = Refusal(
    403,
    "No app is asking",
    "The address holds no oauth_token. Go back to the app and start again.",
)


class Consent:
    """Handlers of `/oauth/authorize` and `/oauth/authenticate`."""

    def __init__(self, desk: Desk, visits: Visits, *, legs: ThreeLeggedFlow) -> None:
        self._desk = desk
        self._visits = visits
        self._legs = legs

    def authorize(self, visit: Visit) -> Response:
        """`GET /oauth/authorize`: ask, every time."""
        return self._ask(visit, passes=False)

    def authenticate(self, visit: Visit) -> Response:
        """`GET /oauth/authenticate`: pass whoever authorized the app before, if the app may."""
        return self._ask(visit, passes=True)

    def _ask(self, visit: Visit, *, passes: bool) -> Response:
        if not visit.query.get("oauth_token"):
            return self._desk.refuse(visit, _NAMELESS)
        try:
            pending = self._legs.read_pending(visit.query.get("oauth_token", ""))
            session = visit.session
            if session is None or self._must_sign_in_anew(visit):
                return redirect(_sign_in_url(visit))
            may_pass = passes and pending.app.sign_in and pending.request.callback != OOB
            if may_pass and self._legs.is_granted(pending, session.account_id):
                return redirect(self._legs.authorize(pending, session.account_id), 302)
        except RequestTokenNotFound:
            return self._desk.refuse(visit, _DEAD)
        context = {
            "title": f"Authorize {pending.app.name}",
            "app": describe_app(pending),
            "oauth_token": pending.request.token,
            "returns_to": _place(pending.request.callback),
            **_powers(pending.request.access_level),
        }
        return self._desk.page(visit, "consent", context=context, leads_to=leads_to(pending))

    def _must_sign_in_anew(self, visit: Visit) -> bool:
        """Whether `force_login` asks for a sign-in that was not made for this very request."""
        return forces_login(visit.query) and not self._visits.signed_in_for(
            visit, visit.query["oauth_token"]
        )

    def decide(self, visit: Visit) -> Response:
        """`POST /oauth/authorize`: the decision."""
        if visit.session is None:
            return self._desk.refuse(visit, _DEAD)
        try:
            pending = self._legs.read_pending(
                visit.fields.get("oauth_token", ""), account_id=visit.session.account_id
            )
            if visit.fields.get("decision") != "authorize":
                return self._deny(visit, pending)
            granted = self._legs.authorize(pending, visit.session.account_id)
        except RequestTokenNotFound:
            return self._desk.refuse(visit, _DEAD)
        if pending.request.callback != OOB:
            return redirect(granted, 302)
        context = {"title": "Your PIN", "app": describe_app(pending), "pin": granted}
        return self._desk.page(visit, "pin", context=context)

    def _deny(self, visit: Visit, pending: Pending) -> Response:
        link = self._legs.deny(pending)
        context = {"title": "Not authorized", "app": describe_app(pending), "link": link}
        return self._desk.page(visit, "denied", context=context)


def forces_login(query: Mapping[str, str]) -> bool:
    """Tell whether an app demands that the person signs in again (api.md 4.5)."""
    return query.get("force_login", "").lower() in {"true", "1", "t"}


def find_pending(flow: ThreeLeggedFlow, return_to: str) -> Pending | None:
    """Find the request for consent that a sign-in returns to, if it returns to one."""
    if not urlsplit(return_to).path.startswith("/oauth/"):
        return None
    try:
        return flow.read_pending(read_url_query(return_to).get("oauth_token", ""))
    except RequestTokenNotFound:
        return None


def describe_app(pending: Pending) -> dict[str, str | None]:
    """An app as the templates want it."""
    app = pending.app
    return {
        "name": app.name,
        "website": app.website,
        "description": app.description,
        "owner": pending.owner.screen_name,
    }


def leads_to(pending: Pending) -> tuple[str, ...]:
    """What a content security policy must name, for a form to end up at the app's callback.

    The scheme and not the host: browsers hold every redirect that follows to the same list, and an
    app may send the person on from its callback, to `www.` or to a page of another site.
    """
    if pending.request.callback == OOB:
        return ()
    scheme = urlsplit(pending.request.callback).scheme
    return ("http:", "https:") if scheme == "http" else (f"{scheme}:",)


def _place(callback: str) -> str | None:
    """Where the person is returned to, in words; None for a PIN."""
    if callback == OOB:
        return None
    parts = urlsplit(callback)
    return (
        parts.netloc if parts.scheme in {"http", "https"} else f"an app that opens {parts.scheme}:"
    )


def _powers(access_level: AccessLevel) -> dict[str, list[str]]:
    can, cannot = list(_CAN_READ), list(_CANNOT)
    for may, (yes, no) in (
        (access_level.covers(AccessLevel.READ_WRITE), _WRITE),
        (access_level.covers(AccessLevel.READ_WRITE_MESSAGES), _MESSAGE),
    ):
        (can if may else cannot).append(yes if may else no)
    return {"can": can, "cannot": cannot}


def _sign_in_url(visit: Visit) -> str:
    """The sign-in page, which leads back here."""
    kept = ("oauth_token", "force_login", "screen_name")
    back = {name: visit.query[name] for name in kept if name in visit.query}
    query: dict[str, Any] = {"return_to": f"{visit.path}?{urlencode(back)}"}
    if screen_name := visit.query.get("screen_name"):
        query["screen_name"] = screen_name
    return f"/sign-in?{urlencode(query)}"
