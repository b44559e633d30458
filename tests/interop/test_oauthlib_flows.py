"""The three-legged flow through oauthlib's client, with parameters in header, query or form."""

import itertools
from urllib.parse import parse_qs

import pytest
import requests
from oauthlib.oauth1 import (
    SIGNATURE_TYPE_AUTH_HEADER,
    SIGNATURE_TYPE_BODY,
    SIGNATURE_TYPE_QUERY,
    Client,
)

from support.flows import (
    CALLBACK,
    OOB,
    OWNERS_FIGURES,
    OWNERS_QUESTION,
    RECENT_QUESTION,
    assert_is_28_hours,
    assert_is_alice,
)
from support.person import query_of

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PLACES = {
    "header": SIGNATURE_TYPE_AUTH_HEADER,
    "query": SIGNATURE_TYPE_QUERY,
    "body": SIGNATURE_TYPE_BODY,
}
# A form needs POST. Header and query work with both methods.
WAYS = [("body", "POST"), *itertools.product(("header", "query"), ("GET", "POST"))]


class Signer:
    """oauthlib's client with its parameters in header, query or form, sent by requests."""

    def __init__(self, http, consumer, place):
        self.http = http
        self.place = place
        self.fixed = {"client_secret": consumer.secret, "signature_type": PLACES[place]}
        self.key = consumer.key
        self.token = {}

    def send(self, method, url, *, json=None, **options):
        client = Client(self.key, **self.fixed, **self.token, **options)
        form = [{}, FORM] if method == "POST" and json is None else []
        uri, headers, body = client.sign(url, method, *form)
        return self.http.request(method, uri, headers=headers, data=body or None, json=json)

    def take(self, answer):
        """Parse a token and its secret, and sign later requests with them."""
        assert answer.status_code == 200, answer.text
        fields = {name: value for name, [value] in parse_qs(answer.text).items()}
        self.token = {
            "resource_owner_key": fields["oauth_token"],
            "resource_owner_secret": fields["oauth_token_secret"],
        }
        return fields


@pytest.fixture
def http():
    with requests.Session() as session:
        session.trust_env = False
        yield session


def assert_acts_for_alice(signer, at):
    answer = signer.send("GET", at.verify_credentials)
    assert answer.status_code == 200, answer.text
    assert_is_alice(answer.json())
    answer = signer.send("POST", at.totals, json=OWNERS_QUESTION)
    assert (answer.status_code, answer.json()) == (200, OWNERS_FIGURES)
    answer = signer.send("POST", at.last_28_hours, json=RECENT_QUESTION)
    assert answer.status_code == 200, answer.text
    assert_is_28_hours(answer.json())


def ask_for_token(signer, at, method, callback):
    """Get a request token; return the URL to send the person to."""
    fields = signer.take(signer.send(method, at.request_token, callback_uri=callback))
    assert fields["oauth_callback_confirmed"] == "true"
    return f"{at.authorize}?oauth_token={fields['oauth_token']}"


def assert_ends(signer, at):
    """Invalidate the token with its own signature. It must be invalid at once."""
    token = signer.token["resource_owner_key"]
    answer = signer.send("POST", at.invalidate_token)
    assert (answer.status_code, answer.json()) == (200, {"access_token": token})
    answer = signer.send("POST", at.invalidate_token)
    assert answer.status_code == 401
    assert answer.json() == {"errors": [{"code": 89, "message": "Invalid or expired token."}]}


@pytest.mark.parametrize(("place", "method"), WAYS)
def test_callback(http, at, web_app, alice, place, method):
    signer = Signer(http, web_app, place)
    returned = query_of(alice.authorize(ask_for_token(signer, at, method, CALLBACK)))
    assert returned["oauth_token"] == signer.token["resource_owner_key"]
    verifier = returned["oauth_verifier"]
    fields = signer.take(signer.send(method, at.access_token, verifier=verifier))
    assert (fields["user_id"], fields["screen_name"]) == ("101", "alice")
    if place != "body":  # the parameters use the body
        assert_acts_for_alice(signer, at)
    assert_ends(signer, at)


@pytest.mark.parametrize(("place", "method"), WAYS)
def test_pin(http, at, desktop_app, alice, place, method):
    signer = Signer(http, desktop_app, place)
    pin = alice.authorize_pin(ask_for_token(signer, at, method, OOB))
    fields = signer.take(signer.send(method, at.access_token, verifier=pin))
    assert (fields["user_id"], fields["screen_name"]) == ("101", "alice")
    by_header = Signer(http, desktop_app, "header" if place == "body" else place)
    by_header.token = signer.token
    assert_acts_for_alice(by_header, at)
