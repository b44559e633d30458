"""Render errors: strings on the data API, objects with codes on the OAuth calls (api.md 3.4, 4.8).

A browser gets a plain page for an error outside the pages' own handlers. The same `ApiError` serves
every part of the server; this module gives it the form that the part demands.
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
    """The part of the server that answers, and so the form of its errors."""

    DATA = "data"
    OAUTH = "oauth"
    PLATFORM = "platform"
    PAGE = "page"


# api.md 4.8: (error, HTTP status, code, message); the first matching class decides.
_OAUTH_CODES: Final[tuple[tuple[type[ApiError], int, int, str], ...]] = (
    (AppSuspended, 401, 416, "Invalid / suspended application"),
    (
        DesktopAppsOnlyPin,
        401,
        417,
        "Desktop applications only support the oauth_callback value 'oob'",
    ),
    (
        CallbackNotApproved,
        403,
        415,
        (
            "Callback URL not approved for this client application. "
            "Approved callback URLs can be adjusted in your application settings"
        ),
    ),
    (UserContextRequired, 403, 220, "Your credentials do not allow access to this resource"),
    (UnverifiedClient, 403, 99, "Unable to verify your credentials"),
    (UnknownAuthorization, 400, 215, "Bad Authentication data."),
    (TimestampOutOfBounds, 401, 135, "Timestamp out of bounds."),
    (AccessTokenNotFound, 401, 89, "Invalid or expired token."),
    (BearerTokenNotFound, 401, 89, "Invalid or expired token."),
    (AuthenticationError, 401, 32, "Could not authenticate you."),
    (SslRequired, 403, 92, "SSL is required"),
    (NotFound, 404, 34, "Sorry, that page does not exist"),
    (RateLimited, 429, 88, "Rate limit exceeded"),
)
# api.md 4.6: `oauth/access_token` answers these in plain text, whatever its content type says.
_PLAIN: Final[Mapping[type[ApiError], str]] = {
    InvalidVerifier: "Error processing your OAuth request: Invalid oauth_verifier parameter",
    RequestTokenMissing: "Request token missing",
    RequestTokenNotFound: "Invalid request token.",
}
_REALM: Final = 'OAuth realm="https://api.twitter.com"'


def render_error(error: ApiError, family: Family, *, method: str, path: str) -> Reply:
    """Render the answer to a refused request."""
    headers = {"x-error-code": error.code, **error.headers}
    if family is Family.PAGE:
        return _render_page(error, headers)
    if isinstance(error, MethodNotAllowed) and family is not Family.OAUTH:
        # As Twitter's framework: plain text for a wrong method, no body for an unknown path.
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
    texts = error.texts or ("Sorry, that page does not exist",)
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
    fallback = (error.status, 131, "; ".join(error.texts) or "Internal error")
    status, code, message = next(
        (row[1:] for row in _OAUTH_CODES if isinstance(error, row[0])), fallback
    )
    entry: dict[str, str | int] = {"code": code, "message": message}
    if isinstance(error, UnverifiedClient):
        entry["label"] = "authenticity_token_error"
    elif status == 401:  # noqa: PLR2004
        headers["www-authenticate"] = f"{_REALM}, api_error_code={code}"
    return Reply(status, msgspec.json.encode({"errors": [entry]}), headers)
