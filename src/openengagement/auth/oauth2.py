"""OAuth 2.0, app only: verify Basic credentials (api.md 4.7)."""

import hmac
from base64 import b64decode
from collections.abc import Iterator
from urllib.parse import unquote

from openengagement.auth.lookup import CredentialLookup
from openengagement.http.message import Message, scheme_and_rest
from openengagement.registry.apps import App


def verify_basic(message: Message, lookup: CredentialLookup) -> App | None:
    """Return the app whose consumer key and secret are in a Basic header, or None."""
    scheme, rest = scheme_and_rest(message)
    if scheme != "basic":
        return None
    try:
        key, secret = b64decode(rest, validate=True).decode().split(":", 1)
    except ValueError:  # not base64, not UTF-8, or no colon
        return None
    found = None
    for key_read, secret_read in _readings(key, secret):
        consumer = lookup.find_consumer(key_read)
        expected = consumer.secret if consumer else ""
        matches = hmac.compare_digest(expected.encode(), secret_read.encode())
        if consumer and matches:
            found = consumer.app
    return found


def _readings(key: str, secret: str) -> Iterator[tuple[str, str]]:
    # RFC 6749, 2.3.1, percent-encodes both first. Several clients and `curl -u` do not.
    yield key, secret
    if "%" in key + secret:
        yield unquote(key), unquote(secret)
