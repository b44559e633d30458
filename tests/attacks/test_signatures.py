"""A signature is valid for one method, host, path, query, form, app and token."""

import uuid
from dataclasses import replace
from urllib.parse import parse_qs

import pytest
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA256, SIGNATURE_HMAC_SHA512, SIGNATURE_PLAINTEXT
from requests_oauthlib import OAuth1

from support.cases import cases
from support.flows import CALLBACK
from support.oauth_server import (
    ACCESS_TOKEN,
    FORM,
    INVALIDATE_TOKEN,
    REQUEST_TOKEN,
    SECOND_CALLBACK,
    TOTALS,
    VERIFY_CREDENTIALS,
    sign,
)
from support.signing import as_form, as_header, protocol_parameters, signature_with
from support.sockets import exchange, request_bytes

NOT_AUTHENTICATED = {"errors": [{"code": 32, "message": "Could not authenticate you."}]}


def kept_callback(oauth, answer):
    """Return the callback of the request token in this answer."""
    assert answer.status == 200, answer
    token = parse_qs(answer.body.decode())["oauth_token"][0]
    [(kept,)] = oauth.sql("select callback from request_tokens where token = ?", token)
    return kept


def assert_not_authenticated(answer):
    assert answer.status == 401, answer
    assert answer.json() == NOT_AUTHENTICATED
    assert answer.headers["www-authenticate"].startswith("OAuth realm=")


@pytest.fixture(scope="module")
def holder(oauth, alice):
    """The web app, holding alice's access token."""
    return oauth.access_token_of(alice, oauth.web)


@pytest.fixture(scope="module")
def bobs(oauth):
    """The web app, holding bob's access token."""
    with oauth.person("bob") as bob:
        return oauth.access_token_of(bob, oauth.web)


# Changed in transit.


def test_method(oauth):
    header = as_header(sign(oauth.web, "GET", oauth.url + REQUEST_TOKEN, callback="oob"))
    assert_not_authenticated(oauth.send("POST", REQUEST_TOKEN, header))


@cases("path", [REQUEST_TOKEN, INVALIDATE_TOKEN])
@cases(
    "host", ["api.twitter.com", "127.0.0.1", "127.0.0.1:80", "localhost", "127.0.0.1:1@evil", ""]
)
def test_host(oauth, holder, host, path):
    header = as_header(sign(holder, "POST", oauth.url + path))
    request = request_bytes("POST", path, [("Authorization", header)], host=host)
    assert exchange(oauth.server.port, request).status in {400, 401}
    assert oauth.verify_credentials(holder).status == 200


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"])
def test_a_stranger_cannot_set_the_host_with_a_header(oauth, header):
    foreign = "https://api.twitter.com"
    value = {"X-Forwarded-Proto": "https", "Forwarded": "host=api.twitter.com;proto=https"}
    signed = as_header(sign(oauth.web, "POST", foreign + REQUEST_TOKEN, callback="oob"))
    headers = {"Authorization": signed, header: value.get(header, "api.twitter.com")}
    answer = oauth.server.client.send("POST", REQUEST_TOKEN, headers=headers)
    assert_not_authenticated(answer)


def test_path(oauth, holder):
    """A call that reads must not become the call that revokes."""
    header = as_header(sign(holder, "POST", oauth.url + REQUEST_TOKEN))
    assert_not_authenticated(oauth.send("POST", INVALIDATE_TOKEN, header))
    header = as_header(sign(holder, "POST", oauth.url + INVALIDATE_TOKEN.removesuffix(".json")))
    assert_not_authenticated(oauth.send("POST", INVALIDATE_TOKEN, header))
    assert oauth.verify_credentials(holder).status == 200


@cases(
    "path",
    [
        "//oauth/request_token",
        "/oauth/request_token/",
        "/oauth/./request_token",
        "/oauth%2Frequest_token",
        "/OAUTH/REQUEST_TOKEN",
        "/x/../oauth/request_token",
        "/oauth/request_token;a=b",
        "/oauth/request_token%00",
    ],
)
def test_another_spelling_of_the_path_is_refused(oauth, path):
    header = as_header(sign(oauth.web, "POST", oauth.url + REQUEST_TOKEN, callback="oob"))
    request = request_bytes("POST", path, [("Authorization", header)])
    assert exchange(oauth.server.port, request).status in {400, 401, 404}


@pytest.mark.parametrize(
    "query", ["skip_status=f", "", "skip_status=t&a=1", "skip_status=t&=", "a"]
)
def test_query(oauth, holder, query):
    more = [("skip_status", "t")]
    url = oauth.url + VERIFY_CREDENTIALS
    header = as_header(sign(holder, "GET", url, more=more))
    assert_not_authenticated(oauth.send("GET", f"{VERIFY_CREDENTIALS}?{query}", header))
    assert oauth.send("GET", VERIFY_CREDENTIALS, header, more=more).status == 200


@pytest.mark.parametrize("added", ["oauth_callback=oob", "x_auth_access_type=write", "a=1"])
def test_form(oauth, added):
    signed = sign(oauth.web, "POST", oauth.url + REQUEST_TOKEN)
    headers = {"Authorization": as_header(signed), **FORM}
    answer = oauth.server.client.send("POST", REQUEST_TOKEN, headers=headers, body=added)
    assert_not_authenticated(answer)


def test_a_form_under_another_content_type_is_not_read(oauth):
    """Otherwise an attacker could change the content type to add parameters that are not signed."""
    signed = as_header(sign(oauth.web, "POST", oauth.url + REQUEST_TOKEN, callback=CALLBACK))
    headers = {"Authorization": signed, "Content-Type": "text/plain"}
    body = "oauth_callback=https%3A%2F%2Fevil.example"
    answer = oauth.server.client.send("POST", REQUEST_TOKEN, headers=headers, body=body)
    assert kept_callback(oauth, answer) == CALLBACK


@cases(
    ("name", "value"),
    [
        ("oauth_callback", "https://evil.example/"),
        ("oauth_nonce", "another"),
        ("oauth_timestamp", "+1"),
        ("oauth_version", None),
        ("x_auth_access_type", "write"),
    ],
)
def test_protocol_parameters(oauth, name, value):
    signed = dict(sign(oauth.web, "POST", oauth.url + REQUEST_TOKEN, callback="oob"))
    signed[name] = str(int(signed[name]) + 1) if value == "+1" else value
    header = as_header([(key, text) for key, text in signed.items() if text is not None])
    assert_not_authenticated(oauth.send("POST", REQUEST_TOKEN, header))


# Signed with other secrets.


def test_another_apps_secret(oauth):
    forged = replace(oauth.web, consumer_secret=oauth.other.consumer_secret)
    assert_not_authenticated(oauth.call(REQUEST_TOKEN, forged, callback="oob"))


@pytest.mark.parametrize("secret", ["", "another", "\x00", "x" * 5000])
def test_a_guessed_secret(oauth, secret):
    forged = replace(oauth.web, consumer_secret=secret)
    assert_not_authenticated(oauth.call(REQUEST_TOKEN, forged, callback="oob"))


def test_the_stand_in_secret_proves_nothing(oauth):
    """The secret used for unknown keys is in the source code, which everybody can read."""
    from openengagement.auth.oauth1 import STAND_IN_SECRET

    unknown = replace(oauth.web, consumer_key="nobody", consumer_secret=STAND_IN_SECRET)
    assert_not_authenticated(oauth.call(REQUEST_TOKEN, unknown, callback="oob"))
    token = replace(oauth.web, access_token="101-nobody", access_token_secret=STAND_IN_SECRET)
    for path, method in ((VERIFY_CREDENTIALS, "GET"), (ACCESS_TOKEN, "POST")):
        answer = oauth.call(path, token, method=method, verifier="1")
        assert answer.status == 401, answer


def test_another_users_token(oauth, holder, bobs):
    """A token and another token's secret do not authenticate."""
    mixed = replace(holder, access_token_secret=bobs.access_token_secret)
    assert_not_authenticated(oauth.verify_credentials(mixed))
    assert_not_authenticated(oauth.call(INVALIDATE_TOKEN, mixed))
    assert oauth.verify_credentials(holder).json()["screen_name"] == "alice"
    assert oauth.verify_credentials(bobs).json()["screen_name"] == "bob"


def test_a_token_is_refused_for_another_app(oauth, holder):
    stolen = replace(
        oauth.other,
        access_token=holder.access_token,
        access_token_secret=holder.access_token_secret,
    )
    answer = oauth.verify_credentials(stolen)
    assert answer.status == 401
    assert answer.json()["errors"][0]["code"] == 89
    assert oauth.call(INVALIDATE_TOKEN, stolen).status == 401
    assert oauth.call(REQUEST_TOKEN, stolen, callback="oob").status == 401
    assert oauth.verify_credentials(holder).status == 200


def test_a_token_removed_or_added(oauth, holder):
    """A call signed by the app alone does not become a user's call by naming a token."""
    for path, method in ((VERIFY_CREDENTIALS, "GET"), (INVALIDATE_TOKEN, "POST")):
        alone = replace(holder, access_token="", access_token_secret="")
        parameters = dict(sign(alone, method, oauth.url + path))
        answer = oauth.send(method, path, as_header(list(parameters.items())))
        assert (answer.status, answer.json()["errors"][0]["code"]) == (400, 215)
        parameters["oauth_token"] = holder.access_token
        answer = oauth.send(method, path, as_header(list(parameters.items())))
        assert_not_authenticated(answer)


def test_a_request_token_is_not_accepted_as_an_access_token(oauth, alice):
    asking, _ = oauth.authorize_request(alice, oauth.web)
    assert oauth.verify_credentials(asking).json()["errors"][0]["code"] == 89
    assert oauth.call(INVALIDATE_TOKEN, asking).status == 401
    assert oauth.call(TOTALS, asking).status == 401


def test_an_access_token_is_not_accepted_as_a_request_token(oauth, holder):
    assert oauth.exchange(holder, "1").status == 401
    page = f"/oauth/authorize?oauth_token={holder.access_token}"
    assert oauth.server.client.send("GET", page).status == 403
    assert oauth.verify_credentials(holder).status == 200


def test_a_bearer_token_has_no_user(oauth, world):
    bearer = oauth.server.bearer(world.main)
    for path, method in ((VERIFY_CREDENTIALS, "GET"), (INVALIDATE_TOKEN, "POST")):
        answer = oauth.server.client.send(method, path, auth=bearer)
        assert answer.status == 403
        assert answer.json()["errors"][0]["code"] == 220
    assert oauth.server.client.send("POST", REQUEST_TOKEN, auth=bearer).status == 400


# Other signature methods.


@cases("path", [REQUEST_TOKEN, ACCESS_TOKEN, VERIFY_CREDENTIALS, INVALIDATE_TOKEN])
@cases("method", [SIGNATURE_PLAINTEXT, SIGNATURE_HMAC_SHA256, SIGNATURE_HMAC_SHA512])
def test_a_valid_signature_of_another_signature_method(oauth, holder, path, method):
    auth = OAuth1(
        holder.consumer_key,
        holder.consumer_secret,
        holder.access_token,
        holder.access_token_secret,
        signature_method=method,
    )
    verb = "GET" if path == VERIFY_CREDENTIALS else "POST"
    assert_not_authenticated(oauth.server.client.send(verb, path, auth=auth))


@cases(
    "method",
    ["RSA-SHA1", "RSA-SHA256", "hmac-sha1", "HMAC-SHA1 ", "HMAC-MD5", "none", "", None, "\x00"],
)
def test_a_valid_digest_under_another_method_name(oauth, method):
    """The method name is signed too, and no name turns the check off."""
    answer = oauth.call(REQUEST_TOKEN, oauth.web, callback="oob", signature_method=method)
    assert_not_authenticated(answer)


def test_plaintext_is_refused(oauth):
    secrets = f"{oauth.web.consumer_secret}&"
    for method in ("PLAINTEXT", "HMAC-SHA1"):
        parameters = protocol_parameters(oauth.web, user=False, signature_method=method)
        header = as_header([*parameters, ("oauth_signature", secrets)])
        assert_not_authenticated(oauth.send("POST", REQUEST_TOKEN, header))


def test_no_signature_at_all(oauth):
    parameters = protocol_parameters(oauth.web, user=False, callback="oob")
    for path in (REQUEST_TOKEN, ACCESS_TOKEN):
        assert_not_authenticated(oauth.send("POST", path, as_header(parameters)))
        answer = oauth.send("POST", path, more=parameters)
        assert (answer.status, answer.json()["errors"][0]["code"]) == (400, 215)


# Parameters in two places, or twice.


@pytest.mark.parametrize("places", ["header+query", "header+form", "query+form"])
def test_signed_in_two_places(oauth, places):
    """A request with two signatures is refused; the server does not pick one."""
    url = oauth.url + REQUEST_TOKEN
    both = [sign(oauth.web, "POST", url, callback="oob") for _ in places.split("+")]
    path, headers, body = REQUEST_TOKEN, {}, None
    for place, signed in zip(places.split("+"), both, strict=True):
        if place == "header":
            headers["Authorization"] = as_header(signed)
        elif place == "query":
            path = f"{path}?{as_form(signed)}"
        else:
            headers |= FORM
            body = as_form(signed)
    answer = oauth.server.client.send("POST", path, headers=headers, body=body)
    assert_not_authenticated(answer)


@cases("name", ["oauth_consumer_key", "oauth_nonce", "oauth_timestamp"])
@cases("place", ["header", "query", "form"])
def test_a_protocol_parameter_twice(oauth, name, place):
    """Only the app itself can sign such a request, and it is refused all the same."""
    url = oauth.url + REQUEST_TOKEN
    parameters = protocol_parameters(oauth.web, user=False, callback="oob")
    parameters.append((name, dict(parameters)[name]))
    signature = signature_with("POST", url, parameters, oauth.web, user=False)
    signed = [*parameters, ("oauth_signature", signature)]
    if place == "header":
        answer = oauth.send("POST", REQUEST_TOKEN, as_header(signed))
    elif place == "query":
        answer = oauth.send("POST", f"{REQUEST_TOKEN}?{as_form(signed)}")
    else:
        answer = oauth.send("POST", REQUEST_TOKEN, more=signed)
    assert_not_authenticated(answer)


@cases("place", ["query", "form"])
@cases("times", ["once", "as often as sent"])
@cases("names", ["oauth_token", "oauth_verifier", "oauth_token oauth_verifier"])
def test_a_parameter_repeated_with_the_same_value(oauth, alice, names, place, times):
    """twitter-api-v2, twitter-lite and Twitter's own Explorer send such calls."""
    asking, verifier = oauth.authorize_request(alice, oauth.web)
    values = {"oauth_token": asking.access_token, "oauth_verifier": verifier}
    repeated = [(name, values[name]) for name in names.split()]
    signed = sign(
        asking,
        "POST",
        oauth.url + ACCESS_TOKEN,
        more=repeated if times == "as often as sent" else (),
        verifier=verifier,
    )
    answer = send_repeated(oauth, ACCESS_TOKEN, signed, repeated=repeated, place=place)
    assert answer.status == 200, answer
    assert b"screen_name=alice" in answer.body


@cases("place", ["query", "form"])
@cases("callback", [CALLBACK, SECOND_CALLBACK, "oob"])
def test_a_repeated_callback_is_the_callback(oauth, place, callback):
    repeated = [("oauth_callback", callback)]
    signed = sign(oauth.web, "POST", oauth.url + REQUEST_TOKEN, callback=callback)
    answer = send_repeated(oauth, REQUEST_TOKEN, signed, repeated=repeated, place=place)
    assert kept_callback(oauth, answer) == callback


@pytest.mark.parametrize("place", ["query", "form"])
def test_all_parameters_repeated(oauth, place):
    signed = sign(oauth.web, "POST", oauth.url + REQUEST_TOKEN, callback="oob")
    answer = send_repeated(oauth, REQUEST_TOKEN, signed, repeated=signed, place=place)
    assert answer.status == 200, answer


@cases("place", ["query", "form"])
@cases("name", ["oauth_callback", "oauth_consumer_key", "oauth_signature"])
@cases("value", ["", "another", "\x00"])
def test_a_parameter_repeated_with_another_value(oauth, name, place, value):
    """The app itself signed both values."""
    more = [(name, value)]
    signed = sign(oauth.web, "POST", oauth.url + REQUEST_TOKEN, more=more, callback=CALLBACK)
    answer = send_repeated(oauth, REQUEST_TOKEN, signed, repeated=more, place=place)
    assert_not_authenticated(answer)
    assert answer.code == "malformed_authorization"
    answer = send_repeated(oauth, TOTALS, signed, repeated=more, place=place)
    reason = f"Malformed authorization: {name} is given twice with different values"
    assert answer.json()["errors"] == [f"Your account could not be authenticated. Reason: {reason}"]


@pytest.mark.parametrize("place", ["query", "form"])
def test_only_oauth_parameters_may_be_repeated_unsigned(oauth, place):
    """`x_auth_access_type` limits the grant: an attacker must not add or move it."""
    more = [("x_auth_access_type", "read")]
    url = oauth.url + REQUEST_TOKEN
    signed = [*sign(oauth.web, "POST", url, more=more, callback="oob"), *more]
    answer = send_repeated(oauth, REQUEST_TOKEN, signed, repeated=more, place=place)
    assert_not_authenticated(answer)


@cases("added", [("oauth_callback", "oob"), ("oauth_token", "x"), ("a", "1")])
@cases("place", ["query", "form"])
def test_a_parameter_that_is_no_repeat_must_be_signed(oauth, added, place):
    signed = sign(oauth.web, "POST", oauth.url + REQUEST_TOKEN)
    answer = send_repeated(oauth, REQUEST_TOKEN, signed, repeated=[added], place=place)
    unknown_token = added[0] == "oauth_token"
    expected = "access_token_not_found" if unknown_token else "invalid_signature"
    assert (answer.status, answer.code) == (401, expected)


def send_repeated(oauth, path, signed, *, repeated, place):
    """Send a signed header, and some of its parameters again in the query or the form."""
    if place == "form":
        return oauth.send("POST", path, as_header(signed), more=repeated)
    return oauth.send("POST", f"{path}?{as_form(repeated)}", as_header(signed))


def test_two_authorization_headers(oauth):
    url = oauth.url + REQUEST_TOKEN
    both = [as_header(sign(oauth.web, "POST", url, callback="oob")) for _ in range(2)]
    pairs = [("Authorization", header) for header in both]
    host = f"127.0.0.1:{oauth.server.port}"
    answer = exchange(oauth.server.port, request_bytes("POST", REQUEST_TOKEN, pairs, host=host))
    assert answer.status in {400, 401}
    answer = exchange(oauth.server.port, request_bytes("POST", REQUEST_TOKEN, pairs[:1], host=host))
    assert answer.status == 200


def test_apps_do_not_share_nonces(oauth):
    """An app cannot use up another app's nonces."""
    nonce = uuid.uuid4().hex
    for app in (oauth.web, oauth.other):
        assert oauth.call(REQUEST_TOKEN, app, callback=CALLBACK, nonce=nonce).status == 200
