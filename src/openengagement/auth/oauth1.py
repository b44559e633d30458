"""OAuth 1.0a: reading the protocol parameters of a request and verifying its signature.

RFC 5849 section 3.2, and api.md 4.1 for what real clients send. An unknown key or token does not
cut the work short: the signature is computed all the same, against a secret nobody has. The answer
names the check that failed, because the wire does (api.md 3.4); keys and tokens are names, not
secrets.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from openengagement.auth.lookup import Consumer, CredentialLookup, UserToken
from openengagement.auth.message import Message
from openengagement.auth.signature import (
    SIGNATURE_METHOD,
    MalformedParameters,
    Parameters,
    base_string,
    base_url,
    parse_form,
    parse_header,
    sign,
    signatures_match,
)
from openengagement.errors import (
    AccessTokenNotFound,
    ConsumerKeyNotFound,
    InvalidSignature,
    MalformedAuthorization,
    TimestampOutOfBounds,
    UnsupportedSignature,
)
from openengagement.limits.contract import Nonce

_REQUIRED: Final = (
    "oauth_consumer_key",
    "oauth_signature_method",
    "oauth_timestamp",
    "oauth_nonce",
    "oauth_signature",
)
# The standard says 1.0 of both; many clients in Node call the revised one by its other name.
_VERSIONS: Final = ("1.0", "1.0a")
_TIMESTAMP_LENGTH_MAX: Final = 12
NOBODYS_SECRET: Final = "no consumer or token has this secret"


class Signed(msgspec.Struct, frozen=True):
    """A request whose signature was found good. `user` is None for an app alone (two legs).

    `parameters` holds what was signed, each name once: a repeated one counts as not given.
    """

    consumer: Consumer
    user: UserToken | None
    nonce: Nonce
    parameters: Parameters

    def parameter(self, name: str) -> str | None:
        """One of the signed parameters, None unless it is there once."""
        return single(self.parameters, name)


class Claim(msgspec.Struct, frozen=True):
    """What a request claims, before anything of it is verified."""

    fields: dict[str, str]  # the protocol's own, oauth_*
    signed: Parameters  # from header and query
    form: Parameters
    timestamp: int


def single(parameters: Parameters, name: str) -> str | None:
    """A parameter's value, None unless it is there once."""
    found = [value for key, value in parameters if key == name]
    return found[0] if len(found) == 1 else None


def has_oauth_parameters(message: Message) -> bool:
    """Whether a request without an Authorization header signs itself in its query or form."""
    return "oauth_signature=" in message.query or (
        message.is_form and b"oauth_signature=" in message.body
    )


def verify_request(
    message: Message, lookup: CredentialLookup, *, now_s: float, window_s: int, json_body: bool
) -> Signed:
    """Verify a signed request.

    `json_body` says that the body is JSON, which is not signed, even under a form's content type as
    curl sends it: the signature may then leave it out.

    Raises:
        MalformedAuthorization, UnsupportedSignature, ConsumerKeyNotFound, AccessTokenNotFound,
        TimestampOutOfBounds, InvalidSignature
    """
    claim = parse_claim(message, json_body=json_body)
    token = claim.fields.get("oauth_token", "")
    consumer, user = lookup.signing_pair(claim.fields["oauth_consumer_key"], token)
    token_secret = user.secret if user else NOBODYS_SECRET if token else ""
    good = is_signed_by(
        message,
        claim,
        consumer=consumer,
        token_secrets=[token_secret],
        json_body=json_body,
    )
    if consumer is None:
        raise ConsumerKeyNotFound
    if token and user is None:
        raise AccessTokenNotFound
    check_signed(claim, good=good, now_s=now_s, window_s=window_s)
    return Signed(consumer, user, read_nonce(claim), claim.signed + claim.form)


def check_signed(claim: Claim, *, good: bool, now_s: float, window_s: int) -> None:
    """Refuse what was signed at another time, or not by whom it says.

    Raises:
        TimestampOutOfBounds, InvalidSignature
    """
    if abs(now_s - claim.timestamp) > window_s:
        raise TimestampOutOfBounds
    if not good:
        raise InvalidSignature


def parse_claim(message: Message, *, json_body: bool) -> Claim:
    """Read the protocol parameters from header, query and form.

    Raises:
        MalformedAuthorization, UnsupportedSignature
    """
    try:
        header = [pair for pair in _parse_authorization(message) if pair[0] != "realm"]
        query = parse_form(message.query)
        form = _parse_form_body(message, json_body=json_body)
    except MalformedParameters as error:
        raise MalformedAuthorization(str(error)) from None
    every = [*header, *query, *form]
    protocol = [pair for pair in every if pair[0].startswith("oauth_")]
    fields = dict(protocol)
    if len(fields) < len(protocol):
        names = Counter(name for name, _ in protocol)
        raise MalformedAuthorization(f"{names.most_common(1)[0][0][:40]} is given twice")
    placements = [part for part in (header, query, form) if part]
    if len(placements) > 1 and sum(map(_signs, placements)) > 1:
        raise MalformedAuthorization("oauth parameters are given in more than one place")
    _check_fields(fields)
    signed = [pair for pair in (*header, *query) if pair[0] != "oauth_signature"]
    form = [pair for pair in form if pair[0] != "oauth_signature"]
    return Claim(fields, signed, form, _parse_timestamp(fields["oauth_timestamp"]))


def _signs(parameters: Parameters) -> bool:
    """Whether any of what a signature needs stands here."""
    return any(name in _REQUIRED for name, _ in parameters)


def _parse_authorization(message: Message) -> Parameters:
    if not message.authorization:
        return []
    scheme, _, rest = message.authorization[0].strip().partition(" ")
    return parse_header(rest) if scheme.lower() == "oauth" else []


def _parse_form_body(message: Message, *, json_body: bool) -> Parameters:
    if not message.is_form or not message.body:
        return []
    try:
        return parse_form(message.body.decode())
    except (MalformedParameters, UnicodeDecodeError):
        if json_body:
            return []
        raise MalformedParameters("the form body cannot be read") from None


def _check_fields(fields: dict[str, str]) -> None:
    if missing := [name for name in _REQUIRED if not fields.get(name)]:
        raise MalformedAuthorization(f"{missing[0]} is missing")
    if fields["oauth_signature_method"] != SIGNATURE_METHOD:
        raise UnsupportedSignature
    if fields.get("oauth_version", "1.0").lower() not in _VERSIONS:
        raise MalformedAuthorization("oauth_version is not 1.0")
    if not fields["oauth_nonce"].isascii():
        raise MalformedAuthorization("oauth_nonce is not ASCII")


def _parse_timestamp(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _TIMESTAMP_LENGTH_MAX):
        raise MalformedAuthorization("oauth_timestamp is not a number of seconds")
    return int(text)


def is_signed_by(
    message: Message,
    claim: Claim,
    *,
    consumer: Consumer | None,
    token_secrets: Sequence[str],
    json_body: bool,
) -> bool:
    """Whether the signature is the consumer's with one of these token secrets.

    All are tried, whoever it is and however early one fits: the time tells nothing.
    """
    url = base_url(message.scheme, message.host, path=message.path)
    consumer_secret = consumer.secret if consumer else NOBODYS_SECRET
    readings = [claim.signed + claim.form]
    if json_body and claim.form:
        readings.insert(0, claim.signed)
    given = claim.fields["oauth_signature"]
    bases = [base_string(message.method, url, parameters=reading) for reading in readings]
    verdicts = [
        signatures_match(sign(base, consumer_secret, token_secret=token_secret), given)
        for base in bases
        for token_secret in token_secrets
    ]
    return any(verdicts)


def read_nonce(claim: Claim) -> Nonce:
    """What is remembered of a request, so that it is served once."""
    key, token, nonce = (
        claim.fields["oauth_consumer_key"],
        claim.fields.get("oauth_token", ""),
        claim.fields["oauth_nonce"],
    )
    text = f"{len(key)}:{len(token)}:{key}{token}{nonce}"
    return Nonce(claim.timestamp, hashlib.blake2b(text.encode(), digest_size=16).digest())
