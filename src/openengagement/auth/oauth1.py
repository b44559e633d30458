"""OAuth 1.0a: parse the protocol parameters of a request and verify its signature.

RFC 5849, section 3.2, and api.md 4.1 for what real clients send. The response names the check that
failed, because the wire does (api.md 3.4). Consumer keys and tokens are identifiers, not secrets.
The signature is computed even for an unknown token, so that response times reveal nothing else. An
unknown key is refused before that: the answer names it anyway, and a stranger costs little.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from openengagement.auth.lookup import Consumer, CredentialLookup, UserToken
from openengagement.auth.signature import parse_header, signatures_match
from openengagement.auth.signature_hints import explain_signature
from openengagement.engagement.types import parse_decimal
from openengagement.errors import (
    AccessTokenNotFound,
    ConsumerKeyNotFound,
    InvalidSignature,
    MalformedAuthorization,
    TimestampOutOfBounds,
    UnsupportedSignature,
)
from openengagement.http.forms import (
    MalformedParameters,
    Parameters,
    given_once,
    parse_form,
    parse_form_body,
)
from openengagement.http.message import Message, scheme_and_rest
from openengagement.limits.contract import Nonce
from openengagement_client.signature import SIGNATURE_METHOD, base_string, base_url, sign

_REQUIRED: Final = (
    "oauth_consumer_key",
    "oauth_signature_method",
    "oauth_timestamp",
    "oauth_nonce",
    "oauth_signature",
)
# RFC 5849 says 1.0 for both revisions; many Node clients send 1.0a for the second.
_VERSIONS: Final = ("1.0", "1.0a")
_TIMESTAMP_MAX: Final = 10**12 - 1
# Stands in for the secret of an unknown token. It is public, so a signature made with it
# proves nothing: every caller refuses an unknown token whatever the signature.
STAND_IN_SECRET: Final = "no consumer or token has this secret"

_Places = tuple[Parameters, Parameters, Parameters]  # header, query, form


class OAuthParameters(msgspec.Struct, frozen=True):
    """The parameters of a signed request, decoded; nothing is verified yet.

    `protocol` holds the `oauth_*` parameters by name. `readings` are the possible lists of signed
    parameters: usually one. If the signature may leave the body out, the list without it comes
    first. If an `oauth_*` parameter is repeated, lists that hold it once precede those as sent.
    """

    protocol: dict[str, str]
    readings: tuple[Parameters, ...]
    timestamp: int  # Unix seconds

    @property
    def token(self) -> str:
        """The oauth_token, empty if there is none."""
        return self.protocol.get("oauth_token", "")


class VerifiedRequest(msgspec.Struct, frozen=True):
    """A request whose signature is good. `user` is None if it names no token (app only).

    `nonce` is not remembered yet, so the request could still be a replay. All of `parameters` were
    signed.
    """

    consumer: Consumer
    user: UserToken | None
    nonce: Nonce
    parameters: Parameters

    def parameter(self, name: str) -> str | None:
        """A signed parameter; None unless it is given exactly once."""
        return given_once(self.parameters).get(name)


def has_oauth_parameters(message: Message) -> bool:
    """Whether the query or the form holds a signature (RFC 5849, 3.5.2 and 3.5.3)."""
    return "oauth_signature=" in message.query or (
        message.is_form and b"oauth_signature=" in message.body
    )


class SignatureVerifier:
    """Verifies signatures. A timestamp may differ from now by at most `window_s` seconds.

    With `explains`, InvalidSignature has a note that says what the client does differently.
    """

    def __init__(
        self,
        lookup: CredentialLookup,
        *,
        window_s: int,
        now_s: Callable[[], float],
        explains: bool = False,
    ) -> None:
        self._lookup = lookup
        self._explains = explains
        self._window_s = window_s
        self._now_s = now_s

    def verify(self, message: Message, *, json_body: bool) -> VerifiedRequest:
        """Verify a request that is signed by an app alone or with an access token.

        `json_body` says that the body is JSON, which no signature covers, even if its content type
        says form, as curl's does. The signature may then leave the body out.

        Raises:
            MalformedAuthorization, UnsupportedSignature, ConsumerKeyNotFound, AccessTokenNotFound,
            TimestampOutOfBounds, InvalidSignature
        """
        parameters = parse_oauth_parameters(message, json_body=json_body)
        token = parameters.token
        consumer, user = self._lookup.find_signing_pair(
            parameters.protocol["oauth_consumer_key"], token
        )
        if consumer is None:  # first, because a signature over many parameters takes long
            raise ConsumerKeyNotFound
        token_secret = user.secret if user else STAND_IN_SECRET if token else ""
        signature = find_signature(
            message, parameters, consumer=consumer, token_secrets=[token_secret]
        )
        if token and user is None:
            raise AccessTokenNotFound
        nonce = self._check(
            message, parameters, signature=signature, secrets=(consumer.secret, [token_secret])
        )
        return VerifiedRequest(consumer, user, nonce, parameters.readings[0])

    def verify_with(
        self,
        message: Message,
        parameters: OAuthParameters,
        *,
        consumer: Consumer | None,
        token_secrets: Sequence[str],
    ) -> Nonce:
        """Verify an OAuth call whose token is not an access token, under any of these secrets.

        Raises:
            ConsumerKeyNotFound, TimestampOutOfBounds, InvalidSignature
        """
        if consumer is None:
            raise ConsumerKeyNotFound
        signature = find_signature(
            message, parameters, consumer=consumer, token_secrets=token_secrets
        )
        return self._check(
            message, parameters, signature=signature, secrets=(consumer.secret, token_secrets)
        )

    def _check(
        self,
        message: Message,
        parameters: OAuthParameters,
        *,
        signature: str | None,
        secrets: tuple[str, Sequence[str]],
    ) -> Nonce:
        """Check timestamp and `signature`. `secrets` are the consumer's and those of the token."""
        if abs(self._now_s() - parameters.timestamp) > self._window_s:
            raise TimestampOutOfBounds
        if signature is None:
            error = InvalidSignature()
            if self._explains:
                given, readings = parameters.protocol["oauth_signature"], parameters.readings
                error.add_note(
                    explain_signature(message, given, readings=readings, secrets=secrets)
                )
            raise error
        return _make_nonce(parameters, signature)


def parse_oauth_parameters(message: Message, *, json_body: bool) -> OAuthParameters:
    """Parse the protocol parameters of header, query and form.

    Raises:
        MalformedAuthorization, UnsupportedSignature
    """
    try:
        header = _parse_authorization(message)
        query = parse_form(message.query)
        form = _parse_form_body(message, json_body=json_body)
    except MalformedParameters as error:
        raise MalformedAuthorization(str(error)) from None
    sent = (header, query, form)
    once = _drop_repeats(sent)
    protocol = {
        name: value for name, value in (*header, *query, *form) if name.startswith("oauth_")
    }
    _check_protocol(protocol)
    readings = _readings(once, json_body=json_body)
    if once is not sent:
        readings += _readings(sent, json_body=json_body)
    return OAuthParameters(protocol, readings, _parse_timestamp(protocol["oauth_timestamp"]))


def _drop_repeats(places: _Places) -> _Places:
    """Drop each `oauth_*` parameter that repeats one of an earlier place (api.md 4.1).

    Returns `places` itself if no parameter is repeated.

    Raises:
        MalformedAuthorization: a repeated parameter has another value, one place holds a parameter
            twice, or the parameters of the signature are split over several places.
    """
    if not (places[1] or places[2]) and len(dict(places[0])) == len(places[0]):
        return places  # nearly every request: all of it in the header
    seen: dict[str, str] = {}
    kept: list[Parameters] = []
    for place in places:
        own = [pair for pair in place if pair[0].startswith("oauth_")]
        if len(dict(own)) < len(own):
            twice = Counter(name for name, _ in own).most_common(1)[0][0]
            raise MalformedAuthorization(f"{twice[:40]} is given twice in one place")
        if other := [name for name, value in own if seen.get(name, value) != value]:
            raise MalformedAuthorization(f"{other[0][:40]} is given twice with different values")
        kept.append([pair for pair in place if pair[0] not in seen])
        seen.update(own)
    if sum(map(_has_required, kept)) > 1:
        raise MalformedAuthorization("oauth parameters are given in more than one place")
    return places if kept == list(places) else (kept[0], kept[1], kept[2])


def _readings(places: _Places, *, json_body: bool) -> tuple[Parameters, ...]:
    """List the parameters that the signature may cover, without and with the body."""
    header, query, form = places
    whole = [pair for pair in (*header, *query, *form) if pair[0] != "oauth_signature"]
    if not (json_body and form):
        return (whole,)
    return [pair for pair in (*header, *query) if pair[0] != "oauth_signature"], whole


def _has_required(parameters: Parameters) -> bool:
    return any(name in _REQUIRED for name, _ in parameters)


def _parse_authorization(message: Message) -> Parameters:
    if len(message.authorization) > 1:
        raise MalformedParameters("the Authorization header is given twice")
    scheme, rest = scheme_and_rest(message)
    return parse_header(rest) if scheme == "oauth" else []


def _parse_form_body(message: Message, *, json_body: bool) -> Parameters:
    try:
        return parse_form_body(message.content_type, message.body)
    except MalformedParameters:
        if json_body:
            return []
        raise MalformedParameters("the form body cannot be read") from None


def _check_protocol(protocol: dict[str, str]) -> None:
    if missing := [name for name in _REQUIRED if not protocol.get(name)]:
        raise MalformedAuthorization(f"{missing[0]} is missing")
    if protocol["oauth_signature_method"] != SIGNATURE_METHOD:
        raise UnsupportedSignature
    if protocol.get("oauth_version", "1.0").lower() not in _VERSIONS:
        raise MalformedAuthorization("oauth_version is not 1.0")
    if not protocol["oauth_nonce"].isascii():
        raise MalformedAuthorization("oauth_nonce is not ASCII")


def _parse_timestamp(text: str) -> int:
    if (seconds := parse_decimal(text, maximum=_TIMESTAMP_MAX)) is None:
        raise MalformedAuthorization("oauth_timestamp is not a number of seconds")
    return seconds


def find_signature(
    message: Message,
    parameters: OAuthParameters,
    *,
    consumer: Consumer,
    token_secrets: Sequence[str],
) -> str | None:
    """The request's signature if the consumer made it with one of these token secrets, else None.

    All secrets are tried, even if the first one fits, so that the time does not tell which fits.
    """
    url = base_url(message.scheme, message.host, path=message.path)
    found = None
    for reading in parameters.readings:
        base = base_string(message.method, url, parameters=reading)
        for token_secret in token_secrets:
            expected = sign(base, consumer.secret, token_secret=token_secret)
            if signatures_match(expected, parameters.protocol["oauth_signature"]):
                found = expected
    return found


def _make_nonce(parameters: OAuthParameters, signature: str) -> Nonce:
    """Make the record of a verified request by which a repeat is recognised (api.md 4.1).

    `signature` is the one that this server computed, never the client's text, so every spelling of
    a repeat gets the same digest. Two requests with different signatures may share a nonce: only a
    holder of the secrets can make a second signature, and some clients send the current second.
    """
    key, token = parameters.protocol["oauth_consumer_key"], parameters.token
    nonce = parameters.protocol["oauth_nonce"]
    # The lengths keep the parts from running into each other: (ab, c) is not (a, bc).
    text = f"{len(key)}:{len(token)}:{len(nonce)}:{key}{token}{nonce}{signature}"
    return Nonce(parameters.timestamp, hashlib.blake2b(text.encode(), digest_size=16).digest())
