"""Render errors: strings on the data API, objects with codes on the OAuth calls (api.md 3.4, 4.8).

A browser gets a plain HTML page for an error that no handler of the portal renders. Every part of
the server raises the same `ApiError`; the family of the route decides the form of the answer.
"""

import html
from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from openengagement.errors import (
    AccessTokenNotFound,
    ApiError,
    AppSuspended,
    AuthenticationError,
    BearerTokenNotFound,
    CallbackNotApproved,
    DesktopAppsOnlyPin,
    InvalidVerifier,
    MethodNotAllowed,
    NotFound,
    RateLimited,
    RequestTokenMissing,
    RequestTokenNotFound,
    SslRequired,
    TimestampOutOfBounds,
    UnknownAuthorization,
    UnverifiedClient,
    UserContextRequired,
)
from openengagement.http.reply import HTML, JSON, Reply


class Family(Enum):
    """A part of the server whose errors have one form."""

    DATA = "data"
    OAUTH = "oauth"
    PLATFORM = "platform"
    PAGE = "page"


_NO_PAGE: Final = "Sorry, that page does not exist"
_ADJUST_CALLBACKS: Final = "Approved callback URLs can be adjusted in your application settings"
# api.md 4.8: the numeric code and the message of each class and its subclasses.
_OAUTH_CODES: Final[Mapping[type[ApiError], tuple[int, str]]] = {
    AppSuspended: (416, AppSuspended.text),
    DesktopAppsOnlyPin: (417, DesktopAppsOnlyPin.text),
    CallbackNotApproved: (415, f"{CallbackNotApproved.text}. {_ADJUST_CALLBACKS}"),
    UserContextRequired: (220, UserContextRequired.text),
    UnverifiedClient: (99, UnverifiedClient.text),
    UnknownAuthorization: (215, "Bad Authentication data."),
    TimestampOutOfBounds: (135, f"{TimestampOutOfBounds.text}."),
    AccessTokenNotFound: (89, "Invalid or expired token."),
    BearerTokenNotFound: (89, "Invalid or expired token."),
    AuthenticationError: (32, "Could not authenticate you."),
    SslRequired: (92, SslRequired.text),
    NotFound: (34, _NO_PAGE),
    RateLimited: (88, RateLimited.text),
}
# api.md 4.6: the OAuth calls answer these in plain text, although the content type says HTML.
_PLAIN: Final[Mapping[type[ApiError], str]] = {
    InvalidVerifier: f"Error processing your OAuth request: {InvalidVerifier.text}",
    RequestTokenMissing: RequestTokenMissing.text,
    RequestTokenNotFound: "Invalid request token.",
}
_REALM: Final = 'OAuth realm="https://api.twitter.com"'


def render_error(error: ApiError, family: Family, *, method: str, path: str) -> Reply:
    """Render the answer to a refused request."""
    headers = {"x-error-code": error.code, **error.headers}
    if family is Family.PAGE:
        return _render_page(error, headers)
    if isinstance(error, MethodNotAllowed) and family is not Family.OAUTH:
        # Twitter's framework answered in plain text here, and without a body to an unknown path.
        headers["content-type"] = "text/plain;charset=utf-8"
        text = f"{method} is not allowed on path {path}"
        return Reply(error.status, text.encode(), headers)
    if isinstance(error, NotFound) and family is Family.DATA and not error.texts:
        return Reply(error.status, b"", headers)
    plain = _PLAIN.get(type(error))
    if plain and family is Family.OAUTH:
        headers |= {"content-type": HTML, "www-authenticate": _REALM}
        return Reply(error.status, plain.encode(), headers)
    headers["content-type"] = JSON
    if family is Family.OAUTH:
        return _render_oauth(error, headers)
    texts = error.texts or (_NO_PAGE,)
    body = {
        "errors": list(texts),
        **{name: list(ids) for name, ids in error.arrays.items()},
        **error.details,
    }
    return Reply(error.status, msgspec.json.encode(body), headers)


def _render_page(error: ApiError, headers: dict[str, str]) -> Reply:
    heading = "Something went wrong" if error.status >= 500 else "This request was refused"  # noqa: PLR2004
    text = html.escape("; ".join(error.texts) or "Try again in a moment.")
    headers |= {"content-type": HTML, "content-security-policy": "default-src 'none'"}
    page = f"<title>{heading}</title>\n<h1>{heading}</h1>\n<p>{text}</p>\n"
    return Reply(error.status, f'<!doctype html>\n<html lang="en">\n{page}'.encode(), headers)


def _render_oauth(error: ApiError, headers: dict[str, str]) -> Reply:
    kind = next((each for each in type(error).__mro__ if each in _OAUTH_CODES), None)
    fallback = (131, "; ".join(error.texts) or "Internal error")
    code, message = _OAUTH_CODES[kind] if kind else fallback
    # The data API answers this error with 401.
    status = 400 if kind is UnknownAuthorization else error.status
    entry: dict[str, str | int] = {"code": code, "message": message}
    if isinstance(error, UnverifiedClient):
        entry["label"] = "authenticity_token_error"
    elif status == 401:  # noqa: PLR2004
        headers["www-authenticate"] = f"{_REALM}, api_error_code={code}"
    return Reply(status, msgspec.json.encode({"errors": [entry]}), headers)
