"""Pages as responses: templates, security headers, redirects and compression."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import PackageLoader
from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse, Response

from openengagement.engagement.types import DAY_S
from openengagement.http.encoding import compress_page
from openengagement.language.current import current, gettext_noop
from openengagement.language.negotiation import Languages
from openengagement.look import Look
from openengagement.portal.assets import Assets
from openengagement.portal.browser_sessions import BrowserSessions
from openengagement.portal.environment import make_environment
from openengagement.portal.page_request import PageRequest
from openengagement.registry.apps import App

# Only our own style sheets and pictures load, and no site may frame a page. A page with Tweets also
# loads pictures from the hosts of a setting.
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src {}; form-action {}; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_WITH_SCRIPTS: Final = "; script-src 'self'"  # our static files only, no script inside a page
_HEADERS: Final = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
NO_FAULTS: Final[Mapping[str, str]] = {}  # of a form: the names of fields -> what is wrong
_HSTS: Final = f"max-age={365 * DAY_S}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a page is refused: an HTTP status, what happened, and what to do next."""

    status: int
    heading: str
    text: str


FOREIGN_FORM: Final = Refusal(
    403,
    gettext_noop("The form was not accepted"),
    gettext_noop(
        "It was sent from another site, its page was open for too long, or you have signed in with "
        "another account since. Go back, reload the page and try again."
    ),
)
_REFUSED: Final = 400
VARY: Final = "accept-language, cookie"  # these choose the language of a page


class PageRenderer:
    """Renders templates for the person who is signed in, in one of `languages`.

    `assets` are the static files. Pages with pictures of Tweets may load them from `image_hosts`.
    `count_waiting` returns the number of apps that wait for a manager; every page tells managers.
    """

    def __init__(
        self,
        look: Look,
        sessions: BrowserSessions,
        *,
        languages: Languages,
        image_hosts: Collection[str] = (),
        count_waiting: Callable[[], int] = int,
    ) -> None:
        self.languages = languages
        self.assets = Assets(look, languages)
        self._image_sources = sorted(f"https://{host}" for host in image_hosts)
        self._sessions = sessions
        self._count_waiting = count_waiting
        self._environment = make_environment(PackageLoader("openengagement.portal"))
        self._environment.globals |= {
            "asset": self.assets.url,
            "platform_name": look.name,
            "look": look,
            "languages": languages.offered.values(),
        }

    def render(
        self,
        request: PageRequest,
        template: str,
        *,
        context: Mapping[str, Any],
        status: int = 200,
        form_targets: tuple[str, ...] = (),
    ) -> Response:
        """Render a page.

        `form_targets` are further sources of the policy's `form-action`: where the page's forms may
        lead besides this server. In `context`, `scripts` names the static scripts of the page, and
        `pictures` says that it may show pictures of Tweets.
        """
        manages = request.session is not None and request.session.is_manager
        common = {
            "viewer": _describe_viewer(request),
            "waiting_apps": self._count_waiting() if manages else 0,
            "csrf_token": self._sessions.csrf_token(request),
            "here": request.path,
            "this_page": _this_page(request, status),
            "author": request.author,
            "owners": request.owners,
            "base": request.base,
            "scripts": (),
            "pictures": False,
        }
        complete = {**common, **context}
        html = self._environment.get_template(f"{template}.html").render(complete)
        sources = ["'self'", *(self._image_sources if complete["pictures"] else ())]
        policy = _POLICY.format(" ".join(sources), " ".join(["'self'", *form_targets]))
        if complete["scripts"]:
            policy += _WITH_SCRIPTS
        headers = {"content-security-policy": policy, "content-language": current().code}
        return HTMLResponse(html, status, headers={**headers, "vary": VARY})

    def render_part(self, template: str, context: Mapping[str, Any]) -> str:
        """Render a template that is a part of a page, and knows nothing of the person."""
        return self._environment.get_template(f"{template}.html").render(context)

    def render_failure(self, refusal: Refusal, request_id: str) -> str:
        """Render the page of a failure. It reads nothing: the registry may be what failed."""
        context = {
            **_translate(refusal),
            "viewer": None,
            "csrf_token": "",
            "here": "",
            "scripts": (),
            "pictures": False,
            "this_page": "",
            "request_id": request_id,
        }
        return self.render_part("error", context)

    def refuse(self, request: PageRequest, refusal: Refusal) -> Response:
        """Render the page that explains a refusal."""
        context = {**_translate(refusal), "request_id": ""}
        return self.render(request, "error", context=context, status=refusal.status)


def _translate(refusal: Refusal) -> dict[str, object]:
    """Translate a refusal for its page. Its texts may be marked, or translated already."""
    heading, text = (current().gettext(each) for each in (refusal.heading, refusal.text))
    return {"title": heading, "heading": heading, "text": text, "status": refusal.status}


def describe_app(app: App, **more: object) -> dict[str, object]:
    """Describe an app for the templates, without its credentials."""
    shown = {"id": app.id, "name": app.name, "website": app.website}
    return {**shown, "description": app.description, **more}


def _describe_viewer(request: PageRequest) -> dict[str, str] | None:
    """Describe the person who is signed in, for the templates."""
    session = request.session
    return {"screen_name": session.screen_name, "role": session.role} if session else None


def _this_page(request: PageRequest, status: int) -> str:
    """Return this page for the form that changes the language; empty if none may be shown.

    The answer to a form may show a secret, which would be lost. A refused address may hold a secret
    that its page must not repeat.
    """
    if request.fields or status >= _REFUSED:
        return ""
    query = urlencode(request.query_pairs)
    return f"{request.path}?{query}" if query else request.path


def add_security_headers(headers: MutableHeaders, *, secure: bool) -> None:
    """Add the headers that every answer of the pages carries, unless the answer has set them."""
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("content-security-policy", _POLICY.format("'self'", "'none'"))
    if secure:
        headers["strict-transport-security"] = _HSTS


def encode_page(response: Response, *, gzip: bool) -> Response:
    """Compress a page for a browser that accepts gzip."""
    chosen_by = response.headers.get("vary")
    response.headers["vary"] = f"{chosen_by}, accept-encoding" if chosen_by else "accept-encoding"
    if gzip:
        response.body = compress_page(bytes(response.body))
        response.headers["content-encoding"] = "gzip"
        response.headers["content-length"] = str(len(response.body))
    return response


def redirect(url: str, status: int = 303) -> Response:
    """Redirect the browser; by default with 303, which turns a POST into a GET."""
    return RedirectResponse(url, status)
