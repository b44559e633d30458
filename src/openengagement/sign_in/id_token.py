"""Verify the ID token of OpenID Connect (Core, 3.1.3.7). Pure: keys and time are parameters."""

import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet
from joserfc.jws import JWSRegistry

# Only asymmetric algorithms. `none` proves nothing, and every holder of the client secret can make
# an HS* signature.
ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}
    | {"EdDSA", "Ed25519"}
)
LEEWAY_S: Final = 60  # the accepted difference between the provider's clock and ours, either way
_KEY_TYPES: Final = frozenset({"RSA", "EC", "OKP"})
_KEYS_MAX: Final = 100


class IdTokenRefused(Exception):
    """The ID token is not valid. The text names the check that failed, and may be logged."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The values that the token's `iss`, `aud` and `nonce` must match."""

    issuer: str
    client_id: str
    nonce: str


def parse_keys(document: Mapping[str, Any]) -> KeySet:
    """Parse the public signature keys of a JWK set; ignore all other keys (RFC 7517, 5)."""
    listed = document.get("keys")
    found = [_parse_key(key) for key in (listed if isinstance(listed, list) else [])[:_KEYS_MAX]]
    return KeySet([key for key in found if key is not None])


def _parse_key(given: object) -> Key | None:
    if not isinstance(given, dict) or given.get("kty") not in _KEY_TYPES:
        return None
    if given.get("use", "sig") != "sig":
        return None
    try:
        return JWKRegistry.import_key(given)
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def verify_id_token(
    text: str, keys: KeySet, *, algorithms: Collection[str], expected: Expected, now_s: int
) -> dict[str, Any]:
    """Verify an ID token against these keys; return its claims.

    `algorithms` are those that the provider announces; only the asymmetric ones are accepted.
    `now_s` is Unix seconds.

    Raises:
        IdTokenRefused
    """
    allowed = ALGORITHMS.intersection(algorithms)
    if not allowed:
        raise IdTokenRefused("algorithms")
    registry = JWSRegistry(algorithms=sorted(allowed), strict_check_header=False)
    claims = jwt.JWTClaimsRegistry(
        now=now_s,
        leeway=LEEWAY_S,
        iss={"essential": True, "value": expected.issuer},
        sub={"essential": True},
        aud={"essential": True, "value": expected.client_id},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        token = jwt.decode(text, keys, registry=registry)
        claims.validate(token.claims)
    except JoseError as error:
        raise IdTokenRefused(error.error) from None
    except (ValueError, TypeError, KeyError):
        raise IdTokenRefused("malformed") from None
    _check_party(token.claims, expected.client_id)
    _check_nonce(token.claims, expected.nonce)
    return token.claims


def _check_party(claims: Mapping[str, Any], client_id: str) -> None:
    """Require `azp` to be this client if there are several audiences (Core, 3.1.3.7, 4 and 5)."""
    alone = claims["aud"] in (client_id, [client_id])
    if not (alone and "azp" not in claims) and claims.get("azp") != client_id:
        raise IdTokenRefused("azp")


def _check_nonce(claims: Mapping[str, Any], nonce: str) -> None:
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
        raise IdTokenRefused("nonce")
