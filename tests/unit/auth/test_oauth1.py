"""Verify requests that oauthlib signed, against credentials of the test."""

import re
import time

import pytest
from msgspec.structs import replace
from oauthlib.oauth1 import SIGNATURE_TYPE_BODY, SIGNATURE_TYPE_QUERY, Client

from openengagement.auth import oauth1
from openengagement.auth.lookup import Consumer, UserToken
from openengagement.auth.oauth1 import SignatureVerifier
from openengagement.auth.signature import parse_header
from openengagement.errors import (
    AccessTokenNotFound,
    ConsumerKeyNotFound,
    InvalidSignature,
    MalformedAuthorization,
    TimestampOutOfBounds,
    UnsupportedSignature,
)
from openengagement.http.forms import parse_form
from openengagement.http.message import Message
from openengagement.registry.apps import App
from openengagement.registry.grants import AccessToken
from openengagement_client.signature import base_string, encode, sign
from support.cases import cases

NOW_S = 1_795_342_500
PATH = "/insights/engagement/totals"
URL = f"https://data-api.example{PATH}"
FORM = "application/x-www-form-urlencoded"


def make_app(app_id, key):
    return App(
        id=app_id,
        name="app",
        owner_id=1,
        consumer_key=key,
        consumer_secret=b"encrypted",
        enabled=True,
        per_minute=None,
        bearer_generation=0,
        bearer_hash=None,
        created_at_s=0,
    )


class FakeLookup:
    """Two apps, each with one token of its owner."""

    def __init__(self):
        self.consumers = {
            "ours": Consumer(make_app(1, "ours"), "our secret"),
            "theirs": Consumer(make_app(2, "theirs"), "their secret"),
        }
        self.tokens = {
            "our token": UserToken(AccessToken("our token", 1, 11, b""), "our token's secret"),
            "their token": UserToken(
                AccessToken("their token", 2, 22, b""), "their token's secret"
            ),
        }

    def find_signing_pair(self, consumer_key, token):
        consumer, user = self.consumers.get(consumer_key), self.tokens.get(token)
        if user and consumer and user.token.app_id != consumer.app.id:
            user = None
        return consumer, user


def client(**changes):
    fields = {
        "client_key": "ours",
        "client_secret": "our secret",
        "resource_owner_key": "our token",
        "resource_owner_secret": "our token's secret",
        "timestamp": str(NOW_S),
    }
    return Client(**(fields | changes))


def message(signed, *, method="POST"):
    """The request that oauthlib signed, as the server sees it."""
    uri, headers, body = signed
    address, _, query = uri.partition("?")
    scheme, _, rest = address.partition("://")
    host, _, path = rest.partition("/")
    return Message(
        method=method,
        scheme=scheme,
        host=host,
        path=f"/{path}",
        query=query,
        authorization=(headers["Authorization"],) if "Authorization" in headers else (),
        content_type=headers.get("Content-Type", "application/json"),
        body=(body or "").encode(),
    )


def verify(request, *, now_s=NOW_S, json_body=True):
    verifier = SignatureVerifier(FakeLookup(), window_s=300, now_s=lambda: now_s)
    return verifier.verify(request, json_body=json_body)


def test_a_users_request():
    signed = verify(message(client().sign(URL, "POST")))
    assert (signed.consumer.app.id, signed.user.token.account_id) == (1, 11)


@pytest.mark.parametrize("token", [None, ""])
def test_an_app_alone(token):
    alone = client(resource_owner_key=token, resource_owner_secret=None)
    signed = verify(message(alone.sign(URL, "POST")))
    assert (signed.consumer.app.id, signed.user) == (1, None)


def test_in_the_query():
    placed = client(signature_type=SIGNATURE_TYPE_QUERY)
    assert verify(message(placed.sign(f"{URL}?a=1", "POST"))).user


def test_in_the_form():
    placed = client(signature_type=SIGNATURE_TYPE_BODY)
    request = message(placed.sign(URL, "POST", body="a=1", headers={"Content-Type": FORM}))
    assert verify(request, json_body=False).user


def test_a_signed_form():
    request = message(client().sign(URL, "POST", body="a=1&b=+", headers={"Content-Type": FORM}))
    assert verify(request, json_body=False).user
    with pytest.raises(InvalidSignature):
        verify(replace(request, body=b"a=2&b=+"), json_body=False)


@pytest.mark.parametrize("json_body", [True, False])
def test_a_repeat_enters_the_base_string_once_or_as_often_as_it_is_sent(json_body):
    """Twitter's own verifier signs it once; RFC 5849, 3.4.1.3.1, as often as it is sent."""
    form = {"body": "oauth_token=our+token&a=1", "headers": {"Content-Type": FORM}}
    once = message(client().sign(URL, "POST", body="a=1", headers=form["headers"]))
    once = replace(once, body=form["body"].encode())
    # oauthlib refuses to sign the second reading in a form, but signs it in a query.
    query = "oauth_token=our+token&oauth_version=1.0"
    twice = message(client().sign(URL, "POST"))
    (header,) = twice.authorization
    sent = parse_header(header.removeprefix("OAuth "))
    sent = [*(pair for pair in sent if pair[0] != "oauth_signature"), *parse_form(query)]
    base = base_string("POST", URL, parameters=sent)
    made = encode(sign(base, "our secret", token_secret="our token's secret"))
    header = re.sub('(?<=oauth_signature=")[^"]*', made, header)
    for request in (once, replace(twice, query=query, authorization=(header,))):
        verified = verify(request, json_body=json_body)
        assert (verified.user.token.token, verified.parameter("oauth_token")) == ("our token",) * 2


@cases(
    ("query", "reason"),
    [
        ("oauth_token=their+token", "oauth_token is given twice with different values"),
        ("oauth_token=", "oauth_token is given twice with different values"),
        ("oauth_nonce=n&oauth_version=1.0a", "oauth_version is given twice with different values"),
        ("oauth_x=1&oauth_x=1", "oauth_x is given twice in one place"),
        ("oauth_token=our+token&oauth_token=our+token", "oauth_token is given twice in one place"),
    ],
)
def test_repeats_that_are_refused(query, reason):
    signed = message(client(nonce="n").sign(URL, "POST"))
    with pytest.raises(MalformedAuthorization, match=reason):
        verify(replace(signed, query=query))


def test_the_signature_stands_in_one_place():
    signed = message(client(nonce="n").sign(URL, "POST"))
    (header,) = signed.authorization
    moved = header.replace('oauth_nonce="n", ', "")
    with pytest.raises(MalformedAuthorization, match="more than one place"):
        verify(replace(signed, authorization=(moved,), query="oauth_nonce=n"))
    with pytest.raises(MalformedAuthorization, match="Authorization header is given twice"):
        verify(replace(signed, authorization=(header, header)))


def test_only_a_json_body_may_be_left_out_of_the_signature():
    """A form content type does not make the body a form on the data API, whose bodies are JSON."""
    request = replace(message(client().sign(URL, "POST")), content_type=FORM, body=b"a=1")
    assert verify(request, json_body=True).user
    with pytest.raises(InvalidSignature):
        verify(request, json_body=False)


@cases(
    ("changes", "refusal"),
    [
        ({"client_key": "nobodys"}, ConsumerKeyNotFound),
        ({"resource_owner_key": "nobodys"}, AccessTokenNotFound),
        (
            {"resource_owner_key": "their token", "resource_owner_secret": "their token's secret"},
            AccessTokenNotFound,
        ),
        ({"client_key": "theirs", "client_secret": "their secret"}, AccessTokenNotFound),
        ({"client_secret": "another secret"}, InvalidSignature),
        ({"resource_owner_secret": "another secret"}, InvalidSignature),
        ({"resource_owner_secret": ""}, InvalidSignature),
        ({"timestamp": str(NOW_S - 301)}, TimestampOutOfBounds),
        ({"timestamp": str(NOW_S + 301)}, TimestampOutOfBounds),
        ({"timestamp": "soon"}, MalformedAuthorization),
        ({"timestamp": "9" * 13}, MalformedAuthorization),
        ({"signature_method": "HMAC-SHA256"}, UnsupportedSignature),
        ({"signature_method": "PLAINTEXT"}, UnsupportedSignature),
    ],
)
def test_refused(changes, refusal):
    with pytest.raises(refusal):
        verify(message(client(**changes).sign(URL, "POST")))


@pytest.mark.parametrize("away_s", [-300, 300])
def test_the_edge_of_the_window(away_s):
    assert verify(message(client().sign(URL, "POST")), now_s=NOW_S + away_s)


@cases(
    "changes",
    [
        {"method": "GET"},
        {"scheme": "http"},
        {"host": "elsewhere.example"},
        {"host": "data-api.example:8443"},
        {"path": "/insights/engagement/28hr"},
        {"query": "a=1"},
    ],
)
def test_a_request_that_differs_from_the_signed_one(changes):
    with pytest.raises(InvalidSignature):
        verify(replace(message(client().sign(URL, "POST")), **changes))


def test_an_unknown_consumer_key_is_refused_first():
    """The refusal does not reveal whether the rest of the request would have been valid."""
    for changes in ({"timestamp": "1"}, {"client_secret": "x"}, {"resource_owner_key": "nobodys"}):
        with pytest.raises(ConsumerKeyNotFound):
            verify(message(client(client_key="nobodys", **changes).sign(URL, "POST")))


@pytest.mark.parametrize(
    ("changes", "signatures"),
    [({}, 1), ({"client_key": "nobodys"}, 0), ({"resource_owner_key": "nobodys"}, 1)],
)
def test_the_signature_is_computed_for_an_unknown_token_but_not_for_an_unknown_key(
    monkeypatch, changes, signatures
):
    calls = []
    real = oauth1.sign
    monkeypatch.setattr(oauth1, "sign", lambda *a, **k: calls.append(1) or real(*a, **k))
    try:
        verify(message(client(**changes).sign(URL, "POST")))
    except (ConsumerKeyNotFound, AccessTokenNotFound):
        assert changes
    assert len(calls) == signatures


def test_an_empty_secret_does_not_fit_an_unknown_key_or_token():
    """Everybody can sign with an empty secret."""
    for changes in (
        {"client_key": "nobodys", "client_secret": ""},
        {"resource_owner_key": "nobodys", "resource_owner_secret": ""},
    ):
        with pytest.raises((ConsumerKeyNotFound, AccessTokenNotFound)):
            verify(message(client(**changes).sign(URL, "POST")))


def test_nonces_differ_by_consumer_token_nonce_and_timestamp():
    def nonce(**changes):
        return verify(message(client(**({"nonce": "n"} | changes)).sign(URL, "POST"))).nonce

    alone = {"resource_owner_key": None, "resource_owner_secret": None}
    found = [
        nonce(),
        nonce(nonce="m"),
        nonce(timestamp=str(NOW_S + 1)),
        nonce(**alone),
        nonce(**alone, client_key="theirs", client_secret="their secret"),
    ]
    assert len(set(found)) == len(found)
    assert nonce() == found[0]
    assert nonce(resource_owner_key="", resource_owner_secret=None) == found[3]


def test_nonces_differ_by_what_is_signed():
    made = client(nonce="n")
    found = [
        verify(message(made.sign(url, method), method=method)).nonce
        for method in ("POST", "GET")
        for url in (URL, f"{URL}?a=1", f"{URL}/more", URL.replace("https", "http"))
    ]
    assert len(set(found)) == len(found)
    assert {nonce.timestamp for nonce in found} == {NOW_S}


def test_a_repeat_has_the_same_nonce_however_it_is_spelled():
    request = message(client().sign(URL, "POST"))
    (header,) = request.authorization
    parameters = header.removeprefix("OAuth ").split(", ")
    spellings = [
        replace(request, authorization=(f"oauth {' , '.join(parameters[::-1])}",)),
        replace(request, authorization=(header.replace("oauth_", "%6Fauth_"),)),
        replace(request, authorization=(header.replace("OAuth ", 'OAuth realm="x", '),)),
        replace(request, authorization=(), query="&".join(parameters).replace('"', "")),
        replace(request, host="DATA-API.example:443", scheme="HTTPS", method="post"),
        replace(request, content_type=FORM, body=b"a=1"),
        replace(request, query="&".join(parameters).replace('"', "")),
        replace(request, query=parameters[0].replace('"', "")),
        replace(request, content_type=FORM, body=parameters[-1].replace('"', "").encode()),
        replace(request, authorization=(header.replace("OAuth ", "OAuth, ,"),)),
        replace(request, authorization=(header.replace('"', ""),)),
        replace(request, authorization=(header.replace('="', '="\\'),)),
    ]
    assert {verify(each).nonce for each in spellings} == {verify(request).nonce}


def test_nonce_and_token_do_not_run_into_each_other():
    """Text moved from one part of the digest to the next gives another digest."""

    def digest(**changes):
        alone = {"resource_owner_key": None, "resource_owner_secret": None}
        return verify(message(client(**alone, **changes).sign(URL, "POST"))).nonce.digest

    assert digest(nonce="1:a") != digest(nonce="a")
    assert digest(nonce="a:0:") != digest(nonce="a:")


def test_time_to_refuse_does_not_grow_with_what_is_sent():
    header = "OAuth " + ",".join(f'oauth_x{n}="1"' for n in range(3000))
    request = replace(message(client().sign(URL, "POST")), authorization=(header,))
    began = time.monotonic()
    with pytest.raises(MalformedAuthorization):
        verify(request)
    assert time.monotonic() - began < 20
