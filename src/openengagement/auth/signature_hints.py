"""Find out why a signature does not match, for developers (setting `log_refusals`).

The signature is compared with those of requests that differ from the received one as clients are
known to differ: another URL, other parameters, another secret.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final

from openengagement.auth.signature import signatures_match
from openengagement.http.forms import MalformedParameters, Parameters, parse_form
from openengagement.http.message import Message
from openengagement_client.signature import base_string, base_url, sign

_BUILT_IN_HOSTS: Final = ("data-api.twitter.com", "data-api.x.com", "api.twitter.com", "api.x.com")
_INTERCEPT: Final = "start the sandbox with --intercept, or let the server listen on port 80 or 443"
_FORM_TYPE: Final = "application/x-www-form-urlencoded"


def explain_signature(
    message: Message,
    signature: str,
    *,
    readings: Sequence[Parameters],
    secrets: tuple[str, Sequence[str]],
) -> str:
    """Return what the client does differently and what to change. It contains no secret.

    `readings` are the possible lists of signed parameters; `secrets` are the consumer's, and those
    that the token may have.
    """
    consumer_secret, token_secrets = secrets
    url = base_url(message.scheme, message.host, path=message.path)
    no_secret = (
        "The signature leaves out the token's secret: sign with it. For oauth/access_token, "
        "OPENENGAGEMENT_LENIENT_ACCESS_TOKEN_SIGNATURE=true accepts this."
    )
    variants = [
        *((other, readings, token_secrets, remedy) for other, remedy in _other_urls(message)),
        *((url, [one], token_secrets, text) for one, text in _other_parameters(message, readings)),
        (url, readings, [""], no_secret),
    ]
    for signed_url, lists, possible, remedy in variants:
        for parameters, token_secret in product(lists, possible):
            base = base_string(message.method, signed_url, parameters=parameters)
            if signatures_match(sign(base, consumer_secret, token_secret=token_secret), signature):
                return remedy
    return (
        f"Compare the client's base string with {message.method} {url} and all parameters of "
        "header, query and form, and its secrets with those of the app and of the token."
        f"{_content_type_hint(message)}"
    )


def _other_urls(message: Message) -> Iterator[tuple[str, str]]:
    host, path = message.host.lower(), message.path
    name, _, port = host.rpartition(":")
    if port.isdecimal():
        remedy = f"The client leaves the port out of the URL that it signs: {_INTERCEPT}."
        for scheme in (message.scheme, "https"):
            yield base_url(scheme, name, path=path), remedy
    for signed in (*_BUILT_IN_HOSTS, *_other_names(host)):
        remedy = (
            f"The client signs for the host {signed}, but sends the request to {host[:80]}: use "
            "one host for both, or start the sandbox with --intercept."
        )
        for scheme in ("https", "http"):
            yield base_url(scheme, signed, path=path), remedy
    other = "http" if message.scheme == "https" else "https"
    remedy = (
        f"The client signs {other}, but the request came by {message.scheme}. Behind a proxy that "
        "terminates TLS, set OPENENGAGEMENT_TRUSTED_PROXIES."
    )
    yield base_url(other, host, path=path), remedy


def _other_names(host: str) -> list[str]:
    """Return the other name of this machine, if the host is this machine."""
    pairs = (("127.0.0.1", "localhost"), ("localhost", "127.0.0.1"))
    return [host.replace(name, other) for name, other in pairs if host.startswith(name)]


def _other_parameters(
    message: Message, readings: Sequence[Parameters]
) -> Iterator[tuple[Parameters, str]]:
    try:
        query, form = parse_form(message.query), parse_form(message.body.decode())
    except (MalformedParameters, UnicodeDecodeError):
        return
    whole = readings[-1]
    if message.query:
        rest = [pair for pair in whole if pair not in query]
        yield rest, "The client leaves the query out of what it signs: sign its parameters too."
    if message.is_form:
        rest = [pair for pair in whole if pair not in form]
        yield rest, "The client leaves the form out of what it signs: sign its fields too."
    else:
        remedy = "The client signs its body as a form, but sends another content type: send"
        yield whole + form, f"{remedy} Content-Type: {_FORM_TYPE}, or do not sign the body."


def _content_type_hint(message: Message) -> str:
    if message.is_form and message.body.lstrip()[:1] in {b"{", b"["}:
        return (
            f" The body is JSON, but its content type is {_FORM_TYPE}: the client may sign it as a "
            "form. Send Content-Type: application/json."
        )
    return ""
