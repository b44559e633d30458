"""OAuth 1.0a signatures, RFC 5849 section 3.4: pure functions, no I/O, shared by server and client.

Parameters are pairs of decoded text, repeats kept, because the base string keeps them.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

SIGNATURE_METHOD: Final = "HMAC-SHA1"
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}

_FORM_LENGTH_MAX: Final = 65_536
_PARAMETERS_MAX: Final = 1_000
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9\-._~]").search

Parameters = list[tuple[str, str]]


class MalformedParameters(ValueError):
    """A query, form or header that cannot be read; the text says why and quotes no value."""


def encode(text: str) -> str:
    """Percent-encode as RFC 5849 section 3.6: everything but letters, digits and `-._~`."""
    # Most of what is signed needs nothing, and to see that is much quicker than to do nothing.
    return quote(text, safe="-._~") if _UNSAFE(text) else text


def decode(text: str) -> str:
    """Undo `encode`. A `+` stays a plus (RFC 5849, 3.5.1).

    Raises:
        MalformedParameters: a broken escape, or bytes that are not UTF-8.
    """
    if "%" not in text:
        return text
    parts = text.split("%")
    if any(len(part) < 2 or not _is_hex(part[:2]) for part in parts[1:]):  # noqa: PLR2004
        raise MalformedParameters("a % is not followed by two hexadecimal digits")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise MalformedParameters("an escape is not UTF-8") from None


def parse_form(text: str) -> Parameters:
    """Parse a query string or a form body (RFC 5849, 3.4.1.3.1): here a `+` is a space.

    Raises:
        MalformedParameters: a broken escape, or too much of it.
    """
    if not text:
        return []
    # Each parameter is decoded, encoded and sorted, and whoever sends them need not be known yet.
    if len(text) > _FORM_LENGTH_MAX or text.count("&") >= _PARAMETERS_MAX:
        raise MalformedParameters(
            f"there are more than {_PARAMETERS_MAX} parameters or {_FORM_LENGTH_MAX} characters"
        )
    pairs = (part.partition("=") for part in text.split("&") if part)
    return [
        (decode(name.replace("+", " ")), decode(value.replace("+", " ")))
        for name, _, value in pairs
    ]


def parse_header(text: str) -> Parameters:
    """Parse what follows `OAuth` in an Authorization header (RFC 5849, 3.5.1), `realm` included.

    Raises:
        MalformedParameters: not a list of `name="value"`.
    """
    parameters: Parameters = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        value = value.strip()
        if not equals or len(value) < 2 or value[0] != '"' or value[-1] != '"':  # noqa: PLR2004
            raise MalformedParameters('the header is not a list of name="value"')
        parameters.append((decode(name.strip()), decode(value[1:-1])))
    return parameters


def base_url(scheme: str, host: str, *, path: str) -> str:
    """The base string URI (RFC 5849, 3.4.1.2): lower case, no default port, path as sent."""
    scheme, host = scheme.lower(), host.lower()
    return f"{scheme}://{host.removesuffix(_DEFAULT_PORTS.get(scheme, ' '))}{path or '/'}"


def base_string(method: str, url: str, *, parameters: Iterable[tuple[str, str]]) -> str:
    """The text that is signed (RFC 5849, 3.4.1.1).

    `parameters` are all but `oauth_signature` and `realm`: unknown `oauth_*` ones count too, since
    clients sign what they send (`oauth_body_hash`, contract 4.1).
    """
    encoded = sorted([(encode(name), encode(value)) for name, value in parameters])
    joined = "&".join([f"{name}={value}" for name, value in encoded])
    # What is joined is encoded already, so encoding it as a whole changes these three alone.
    joined = joined.replace("%", "%25").replace("=", "%3D").replace("&", "%26")
    return f"{method.upper()}&{_encode_url(url)}&{joined}"


@lru_cache(256)
def _encode_url(url: str) -> str:
    return encode(url)


def sign(base: str, consumer_secret: str, *, token_secret: str = "") -> str:
    """The HMAC-SHA1 signature in base 64 (RFC 5849, 3.4.2)."""
    key = f"{encode(consumer_secret)}&{encode(token_secret)}"
    return b64encode(hmac.digest(key.encode(), base.encode(), "sha1")).decode()


def signatures_match(expected: str, given: str) -> bool:
    """Compare in a time that tells nothing about where they differ."""
    return hmac.compare_digest(expected.encode(), given.encode())


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF" for character in text)
