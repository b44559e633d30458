"""Python signers against the running server: oauthlib and requests-oauthlib."""

import json

import pytest
import requests
from oauthlib.oauth1 import (
    SIGNATURE_TYPE_AUTH_HEADER,
    SIGNATURE_TYPE_BODY,
    SIGNATURE_TYPE_QUERY,
    Client,
)
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth1, OAuth1Session

from support.calls import question

PATH = "/insights/engagement/totals"
GOOD = {"g": {"111": {"favorites": "4"}}}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PLACES = {
    "header": SIGNATURE_TYPE_AUTH_HEADER,
    "query": SIGNATURE_TYPE_QUERY,
    "body": SIGNATURE_TYPE_BODY,
}
QUERIES = {
    "none": "",
    "plain": "?a=1&b=two",
    "repeated": "?a=2&a=1&A=3",
    "encoded": "?name=caf%C3%A9%20au%20lait&%26=%3D",
    "unicode": "?snowman=%E2%98%83&bird=%F0%9F%90%A6",
    "reserved": "?x=%21%2A%27%28%29",
}
SECOND_TOKEN_TYPES = ("impressions", "engagements")


@pytest.fixture
def http():
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def main(world):
    return world.main


def signer(app, place, *, user=True, **options):
    token = (app.access_token, app.access_token_secret) if user else (None, None)
    return Client(
        app.consumer_key,
        client_secret=app.consumer_secret,
        resource_owner_key=token[0],
        resource_owner_secret=token[1],
        signature_type=PLACES[place],
        **options,
    )


# oauthlib.


@pytest.mark.parametrize("user", [True, False], ids=["user", "app alone"])
@pytest.mark.parametrize("place", ["header", "query"])
@pytest.mark.parametrize("query", QUERIES)
def test_oauthlib_on_the_data_api(server, http, main, place, query, user):
    url = server.url + PATH + QUERIES[query]
    uri, headers, _ = signer(main, place, user=user).sign(url, "POST")
    answer = http.post(uri, json=question("111"), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json() == GOOD


def test_oauthlib_with_a_realm(server, http, main):
    uri, headers, _ = signer(main, "header").sign(server.url + PATH, "POST", realm="Engagement")
    assert "realm=" in headers["Authorization"]
    assert http.post(uri, json=question("111"), headers=headers).json() == GOOD


def test_oauthlib_hashes_a_body_it_cannot_sign(server, http, main):
    """`oauth_body_hash`, as Ruby's gem adds it to every JSON body."""
    body = json.dumps(question("111"))
    headers = {"Content-Type": "application/json"}
    uri, headers, sent = signer(main, "header").sign(
        server.url + PATH, "POST", body=body, headers=headers
    )
    assert "oauth_body_hash" in headers["Authorization"]
    assert http.post(uri, data=sent, headers=headers).json() == GOOD


@pytest.mark.parametrize("method", ["HMAC-SHA256", "PLAINTEXT"])
def test_oauthlib_with_another_signature_method(server, http, main, method):
    client = signer(main, "header", signature_method=method)
    uri, headers, _ = client.sign(server.url + PATH, "POST")
    answer = http.post(uri, json=question("111"), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["x-error-code"] == "unsupported_signature_method"


@pytest.mark.parametrize("place", PLACES)
def test_oauthlib_invalidates_a_bearer_token(server, http, world, place):
    """The form is signed. The `oauth_*` parameters may be in form, query or header."""
    app = world.bobs
    token = http.post(
        f"{server.url}/oauth2/token",
        data={"grant_type": "client_credentials"},
        auth=HTTPBasicAuth(app.consumer_key, app.consumer_secret),
    ).json()["access_token"]
    url = f"{server.url}/oauth2/invalidate_token"
    uri, headers, body = signer(app, place).sign(
        url, "POST", body={"access_token": token}, headers=FORM
    )
    answer = http.post(uri, data=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"access_token": token}
    dead = {"Authorization": f"Bearer {token}"}
    answer = http.post(server.url + PATH, json=question("211"), headers=dead)
    assert answer.headers["x-error-code"] == "bearer_token_not_found"


# requests-oauthlib.


def test_requests_oauthlib_as_a_user(server, http, main):
    auth = OAuth1(
        main.consumer_key, main.consumer_secret, main.access_token, main.access_token_secret
    )
    body = question("111", types=SECOND_TOKEN_TYPES)
    answer = http.post(server.url + PATH, json=body, auth=auth)
    assert answer.json() == {"g": {"111": {"impressions": "40", "engagements": "27"}}}
    for endpoint in ("28hr", "historical"):
        url = f"{server.url}/insights/engagement/{endpoint}"
        answer = http.post(url, json=question("111"), auth=auth)
        assert answer.json()["g"] == {"111": {"favorites": "0"}}


@pytest.mark.parametrize(
    "owner",
    [{}, {"resource_owner_key": ""}, {"resource_owner_key": "", "resource_owner_secret": ""}],
    ids=["no token", "an empty token", "an empty pair"],
)
def test_requests_oauthlib_as_an_app_alone(server, http, main, owner):
    auth = OAuth1(main.consumer_key, main.consumer_secret, **owner)
    answer = http.post(server.url + PATH, json=question("111", "211"), auth=auth)
    assert answer.json() == {"g": {"111": {"favorites": "4"}, "211": {"favorites": "6"}}}
    answer = http.post(server.url + PATH, json=question("111", types=("impressions",)), auth=auth)
    assert answer.status_code == 403


@pytest.mark.parametrize("place", ["AUTH_HEADER", "QUERY"])
def test_requests_oauthlib_with_parameters_in_the_query(server, http, main, place):
    auth = OAuth1(
        main.consumer_key,
        main.consumer_secret,
        main.access_token,
        main.access_token_secret,
        signature_type=place,
    )
    parameters = {"q": "Ladies + Gentlemen", "é": "\u2603", "list": ["b", "a"]}
    answer = http.post(server.url + PATH, params=parameters, json=question("111"), auth=auth)
    assert answer.json() == GOOD


def test_a_session_of_requests_oauthlib(server, main):
    with OAuth1Session(
        main.consumer_key, main.consumer_secret, main.access_token, main.access_token_secret
    ) as session:
        session.trust_env = False
        for _ in range(3):
            answer = session.post(server.url + PATH, json=question("111"))
            assert answer.json() == GOOD
            assert answer.headers["Content-Encoding"] == "gzip"


def test_requests_oauthlib_with_wrong_secrets(server, http, main):
    auth = OAuth1(main.consumer_key, "x", main.access_token, main.access_token_secret)
    answer = http.post(server.url + PATH, json=question("111"), auth=auth)
    assert answer.status_code == 401
    assert answer.json() == {
        "errors": ["Your account could not be authenticated. Reason: Invalid signature"]
    }
