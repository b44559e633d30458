"""OAuth 1.0a signatures, RFC 5849 section 3.4: pure functions, no I/O, shared by server and client.

Parameters are pairs of decoded text, repeats kept, because the base string keeps them.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import Final
from urllib.parse import quote, unquote_to_bytes

SIGNATURE_METHOD: Final = "HMAC-SHA1"
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}

_FORM_LENGTH_MAX: Final = 65_536
_PARAMETERS_MAX: Final = 1_000
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9\-._~]").search
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})").search
# name="value" up to a comma or the end, or nothing at all up to there; or the rest, to be refused.
_HEADER_PART: Final = re.compile(r'\s*(?:([^\s=,]+)\s*=\s*"([^"]*)"\s*)?(?:,|\Z)|(.+)', re.DOTALL)

Parameters = list[tuple[str, str]]


class MalformedParameters(ValueError):
    """A query, form or header that cannot be read; the text says why and quotes no value."""


def encode(text: str) -> str:
    """Percent-encode as RFC 5849 section 3.6: everything but letters, digits and `-._~`."""
    return quote(text, safe="-._~")


def decode(text: str) -> str:
    """Undo `encode`. A `+` stays a plus (RFC 5849, 3.5.1).

    Raises:
        MalformedParameters: a broken escape, or bytes that are not UTF-8.
    """
    if "%" not in text:
        return text
    if _BROKEN_ESCAPE(text):
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
    found = _HEADER_PART.findall(text)
    if any(rest for _, _, rest in found):
        raise MalformedParameters('the header is not a list of name="value"')
    return [(decode(name), decode(value)) for name, value, _ in found if name]


def base_url(scheme: str, host: str, *, path: str) -> str:
    """The base string URI (RFC 5849, 3.4.1.2): lower case, no default port, path as sent."""
    scheme, host = scheme.lower(), host.lower()
    return f"{scheme}://{host.removesuffix(_DEFAULT_PORTS.get(scheme, ' '))}{path or '/'}"


def base_string(method: str, url: str, *, parameters: Iterable[tuple[str, str]]) -> str:
    """The text that is signed (RFC 5849, 3.4.1.1).

    `parameters` are all but `oauth_signature` and `realm`: unknown `oauth_*` ones count too, since
    clients sign what they send (`oauth_body_hash`, api.md 4.1).
    """
    pairs = list(parameters)
    if _UNSAFE("".join(chain.from_iterable(pairs))):  # most of what is signed needs no encoding
        pairs = [(encode(name), encode(value)) for name, value in pairs]
    joined = "&".join([f"{name}={value}" for name, value in sorted(pairs)])
    # What is joined is encoded already, so encoding it as a whole changes these three alone.
    joined = joined.replace("%", "%25").replace("=", "%3D").replace("&", "%26")
    return f"{method.upper()}&{_encode_url(url)}&{joined}"


@lru_cache(256)
def _encode_url(url: str) -> str:
    return encode(url)


def sign(base: str, consumer_secret: str, *, token_secret: str = "") -> str:
    """The HMAC-SHA1 signature in base 64 (RFC 5849, 3.4.2)."""
    keyed = _keyed(consumer_secret, token_secret).copy()
    keyed.update(base.encode())
    return b64encode(keyed.digest()).decode()


@lru_cache(1024)
def _keyed(consumer_secret: str, token_secret: str) -> hmac.HMAC:
    """The hash with the key already in it, which is half of the work."""
    key = f"{encode(consumer_secret)}&{encode(token_secret)}"
    return hmac.new(key.encode(), digestmod="sha1")


def signatures_match(expected: str, given: str) -> bool:
    """Compare in a time that tells nothing about where they differ."""
    return hmac.compare_digest(expected.encode(), given.encode())
