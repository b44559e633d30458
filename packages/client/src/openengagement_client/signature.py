"""OAuth 1.0a signatures (RFC 5849, 3.4). Pure functions, no I/O, standard library only.

The client signs with this module and the server of Open Engagement verifies with it. Parameters are
pairs of decoded text. They include repeated names, as the base string does.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import Final
from urllib.parse import quote

SIGNATURE_METHOD: Final = "HMAC-SHA1"
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9\-._~]").search


def encode(text: str) -> str:
    """Percent-encode everything but letters, digits and `-._~` (RFC 5849, 3.6)."""
    return quote(text, safe="-._~")


def base_url(scheme: str, host: str, *, path: str) -> str:
    """Build the base string URI (RFC 5849, 3.4.1.2). `path` is percent-encoded as it is sent."""
    scheme, host = scheme.lower(), host.lower()
    return f"{scheme}://{host.removesuffix(_DEFAULT_PORTS.get(scheme, ' '))}{path or '/'}"


def base_string(method: str, url: str, *, parameters: Iterable[tuple[str, str]]) -> str:
    """Build the text that is signed (RFC 5849, 3.4.1.1).

    `parameters` are all except `oauth_signature` and `realm`. They include unknown `oauth_*` ones,
    such as `oauth_body_hash`, because clients sign what they send.
    """
    pairs = list(parameters)
    if _UNSAFE("".join(chain.from_iterable(pairs))):  # most requests need no encoding
        pairs = [(encode(name), encode(value)) for name, value in pairs]
    joined = "&".join([f"{name}={value}" for name, value in sorted(pairs)])
    # The names and values are encoded, so encoding the whole changes only these three characters.
    joined = joined.replace("%", "%25").replace("=", "%3D").replace("&", "%26")
    return f"{method.upper()}&{_encode_url(url)}&{joined}"


@lru_cache(256)
def _encode_url(url: str) -> str:
    return encode(url)


def sign(base: str, consumer_secret: str, *, token_secret: str = "") -> str:
    """Compute the HMAC-SHA1 signature in base64 (RFC 5849, 3.4.2)."""
    keyed = _keyed(consumer_secret, token_secret).copy()
    keyed.update(base.encode())
    return b64encode(keyed.digest()).decode()


@lru_cache(1024)
def _keyed(consumer_secret: str, token_secret: str) -> hmac.HMAC:
    """Return the keyed hash before its first update. Caching it saves half of the work."""
    key = f"{encode(consumer_secret)}&{encode(token_secret)}"
    return hmac.new(key.encode(), digestmod="sha1")
