"""OAuth 1.0a for requests that no library would send. oauthlib computes the signatures."""

import time
import uuid
from collections.abc import Sequence
from urllib.parse import quote

from oauthlib.oauth1 import Client
from oauthlib.oauth1.rfc5849 import signature

from support.world import App

Pairs = list[tuple[str, str]]


def escape(text: str) -> str:
    return quote(text, safe="-._~")


def protocol_parameters(app: App, *, user: bool = True, **changes: str | None) -> Pairs:
    """Return the `oauth_*` parameters without the signature. A change to None removes one."""
    fields: dict[str, str | None] = {
        "oauth_consumer_key": app.consumer_key,
        "oauth_nonce": uuid.uuid4().hex,
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": str(int(time.time())),
        "oauth_token": app.access_token if user else None,
        "oauth_version": "1.0",
    }
    fields |= {f"oauth_{name}": value for name, value in changes.items()}
    return [(name, value) for name, value in fields.items() if value is not None]


def signature_of(
    method: str,
    url: str,
    parameters: Sequence[tuple[str, str]],
    secrets: tuple[str, str],
) -> str:
    """Return the HMAC-SHA1 signature of `url` (without a query) and all signed parameters."""
    normalized = signature.normalize_parameters(list(parameters))
    base = signature.signature_base_string(method, signature.base_string_uri(url), normalized)
    client = Client("", client_secret=secrets[0], resource_owner_secret=secrets[1])
    signed: str = signature.sign_hmac_sha1_with_client(base, client)
    return signed


def signature_with(
    method: str, url: str, parameters: Sequence[tuple[str, str]], app: App, *, user: bool = True
) -> str:
    token_secret = app.access_token_secret if user else ""
    return signature_of(method, url, parameters, (app.consumer_secret, token_secret))


def as_header(parameters: Sequence[tuple[str, str]], *, comma: str = ", ") -> str:
    """Return the value of an Authorization header."""
    return "OAuth " + comma.join(f'{escape(name)}="{escape(text)}"' for name, text in parameters)


def as_form(parameters: Sequence[tuple[str, str]]) -> str:
    """Return a query string or a form body."""
    return "&".join(f"{escape(name)}={escape(text)}" for name, text in parameters)


def signed_header(
    method: str, url: str, app: App, *, user: bool = True, more: Sequence[tuple[str, str]] = ()
) -> str:
    """Return a valid Authorization header. `more` are the parameters of the query or form."""
    parameters = protocol_parameters(app, user=user)
    signed = signature_with(method, url, [*parameters, *more], app, user=user)
    return as_header([*parameters, ("oauth_signature", signed)])
