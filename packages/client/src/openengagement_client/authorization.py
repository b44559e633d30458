"""Make the `Authorization` header of a request. Each attempt gets a nonce of its own."""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from openengagement_client.credentials import Credentials
from openengagement_client.errors import ConfigurationError
from openengagement_client.signature import SIGNATURE_METHOD, base_string, base_url, encode, sign


class Stamp(NamedTuple):
    """The part of a signature that no two attempts share: Unix time of the server, and a nonce."""

    timestamp: int
    nonce: str


def make_stamp(now_s: float) -> Stamp:
    """Return the stamp of an attempt, with a nonce that nobody can guess."""
    return Stamp(int(now_s), secrets.token_hex(16))


def authorize(credentials: Credentials, method: str, *, url: str, stamp: Stamp) -> str:
    """Return the header for the user if there is an access token, otherwise for the app alone.

    Raises:
        ConfigurationError: the credentials are empty.
    """
    if not credentials.access_token and credentials.bearer_token:
        return f"Bearer {credentials.bearer_token}"
    if not credentials.consumer_key:
        raise ConfigurationError(
            "no credentials: pass a bearer token, or a consumer key and secret, "
            "or set BEARER_TOKEN, or CONSUMER_KEY and CONSUMER_SECRET"
        )
    return sign_header(credentials, method, url=url, stamp=stamp)


def sign_header(
    credentials: Credentials,
    method: str,
    *,
    url: str,
    stamp: Stamp,
    more: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the header of OAuth 1.0a. `more` are parameters such as `oauth_callback`."""
    parameters = [
        *more,
        ("oauth_consumer_key", credentials.consumer_key),
        ("oauth_nonce", stamp.nonce),
        ("oauth_signature_method", SIGNATURE_METHOD),
        ("oauth_timestamp", str(stamp.timestamp)),
        ("oauth_version", "1.0"),
    ]
    if credentials.access_token:
        parameters.append(("oauth_token", credentials.access_token))
    signature = sign_request(credentials, method, url=url, parameters=parameters)
    pairs = [*parameters, ("oauth_signature", signature)]
    return "OAuth " + ", ".join(f'{name}="{encode(value)}"' for name, value in pairs)


def sign_request(
    credentials: Credentials, method: str, *, url: str, parameters: list[tuple[str, str]]
) -> str:
    """Sign a request whose body is not a form. The query of `url` is signed too."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    signed_url = base_url(parts.scheme, parts.netloc, path=parts.path)
    base = base_string(method, signed_url, parameters=[*query, *parameters])
    return sign(base, credentials.consumer_secret, token_secret=credentials.access_token_secret)


def basic_header(credentials: Credentials) -> str:
    """Return the header of HTTP Basic with the consumer key and secret, as `/oauth2/*` wants it."""
    pair = f"{encode(credentials.consumer_key)}:{encode(credentials.consumer_secret)}"
    return f"Basic {b64encode(pair.encode()).decode()}"
