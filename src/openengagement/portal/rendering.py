"""Pages as responses: templates, static files, and the headers that every page carries."""

import hashlib
import mimetypes
from collections.abc import Mapping
from importlib import resources
from pathlib import PurePosixPath
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse, Response

from openengagement.engagement.types import DAY_S, utc_datetime
from openengagement.http.encoding import compress_file, compress_page

STATIC_PREFIX: Final = "/static/"
_YEAR_S: Final = 365 * DAY_S
_HASH_DIGITS: Final = 12
# Nothing but our own style and pictures; a page may be framed by nobody.
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action {}; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_WITH_SCRIPTS: Final = "; script-src 'self'"  # files of ours; never what stands in the page
_HEADERS: Final = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_HSTS: Final = f"max-age={_YEAR_S}"


class Assets:
    """The static files, named after their content, so that a browser may keep them for a year.

    What others made lies in a folder of its own, with its licence, and goes by `vendor/` and its
    name.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._files: dict[str, tuple[bytes, bytes, str]] = {}  # as it is, compressed, its kind
        static = resources.files("openengagement.portal").joinpath("static")
        for prefix, folder in (("", static), ("vendor/", static.joinpath("vendor"))):
            for file in folder.iterdir():
                if file.is_file():
                    self._add(prefix + file.name, file.read_bytes())

    def _add(self, name: str, content: bytes) -> None:
        path = PurePosixPath(name)
        digest = hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]
        self._names[name] = f"{path.stem}.{digest}{path.suffix}"
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        self._files[self._names[name]] = (content, compress_file(content), kind)

    def url(self, name: str) -> str:
        """The address of a static file by its plain name."""
        return STATIC_PREFIX + self._names[name]

    def respond(self, name: str, *, gzip: bool) -> Response | None:
        """Return a static file by its hashed name, compressed or not; None if there is none."""
        if name not in self._files:
            return None
        content, compressed, kind = self._files[name]
        headers = {
            "cache-control": f"public, max-age={_YEAR_S}, immutable",
            "x-content-type-options": "nosniff",
            "vary": "accept-encoding",
        }
        if gzip:
            content, headers["content-encoding"] = compressed, "gzip"
        return Response(content, media_type=kind, headers=headers)


class Renderer:
    """Templates and the headers of a page."""

    def __init__(self, platform_name: str) -> None:
        self.assets = Assets()
        self._environment = Environment(
            loader=PackageLoader("openengagement.portal"),
            autoescape=True,
            undefined=StrictUndefined,
        )
        self._environment.filters["utc"] = utc_datetime
        self._environment.globals |= {"asset": self.assets.url, "platform_name": platform_name}

    def page(
        self,
        template: str,
        context: Mapping[str, Any],
        *,
        status: int = 200,
        leads_to: tuple[str, ...] = (),
    ) -> Response:
        """A page. `leads_to` are the origins, beside ours, that its forms may end up at.

        Of its context, `scripts` are the static files that make it more comfortable.
        """
        html = self._environment.get_template(f"{template}.html").render(context)
        policy = _POLICY.format(" ".join(["'self'", *leads_to]))
        if context["scripts"]:
            policy += _WITH_SCRIPTS
        return HTMLResponse(html, status, headers={"content-security-policy": policy})


def finish(headers: MutableHeaders, *, secure: bool) -> None:
    """Put on what every answer of the pages carries and does not say otherwise."""
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("content-security-policy", _POLICY.format("'none'"))
    if secure:
        headers["strict-transport-security"] = _HSTS


def encode_page(response: Response, *, gzip: bool) -> Response:
    """Compress a page for a browser that accepts gzip."""
    response.headers["vary"] = "accept-encoding"
    if gzip:
        response.body = compress_page(bytes(response.body))
        response.headers["content-encoding"] = "gzip"
        response.headers["content-length"] = str(len(response.body))
    return response


def redirect(url: str, status: int = 303) -> Response:
    """A redirect, by default one that turns a POST into a GET."""
    return RedirectResponse(url, status)
