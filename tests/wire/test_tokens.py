"""Bearer tokens (api.md 4.7): an app has one, which stays the same until it is invalidated."""

from urllib.parse import quote

import pytest
from requests.auth import HTTPBasicAuth

from support.calls import Bearer, question
from support.signing import as_form, as_header, protocol_parameters, signature_with

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
GRANT = "grant_type=client_credentials"
CODE_99 = {
    "errors": [
        {
            "code": 99,
            "label": "authenticity_token_error",
            "message": "Unable to verify your credentials",
        }
    ]
}


@pytest.fixture
def app(world):
    """An app whose bearer token no other test uses."""
    return world.carols


def basic(app):
    return HTTPBasicAuth(app.consumer_key, app.consumer_secret)


@pytest.fixture
def post(server):
    def send(path, body="", auth=None, headers=None):
        return server.client.send(
            "POST", f"/oauth2/{path}", body=body, headers={**FORM, **(headers or {})}, auth=auth
        )

    return send


@pytest.fixture
def token(post, app):
    answer = post("token", GRANT, basic(app))
    assert answer.status == 200
    return answer.json()["access_token"]


def works(server, token):
    answer = server.client.ask("totals", question("111"), Bearer(token))
    if answer.status == 200:
        return True
    assert (answer.status, answer.code) == (401, "bearer_token_not_found")
    return False


def assert_code_99(answer):
    assert answer.status == 403, answer
    assert answer.json() == CODE_99


def test_the_same_token_comes_back(post, token, app):
    answer = post("token", GRANT, basic(app))
    assert answer.json() == {"token_type": "bearer", "access_token": token}
    assert answer.headers["content-type"] == "application/json;charset=utf-8"


def test_it_is_safe_in_a_url(token):
    assert quote(token, safe="") == token


def test_it_authenticates_a_request(server, token):
    assert works(server, token)


def test_another_app_has_another_token(server, token, world):
    assert server.bearer(world.main).token != token


def test_key_and_secret_may_be_percent_encoded(post, app):
    """Our keys need no encoding, so the test encodes every letter."""
    encoded = "".join(f"%{ord(each):02X}" for each in app.consumer_secret)
    assert post("token", GRANT, HTTPBasicAuth(app.consumer_key, encoded)).status == 200


def test_another_apps_secret(post, app, world):
    assert_code_99(
        post("token", GRANT, HTTPBasicAuth(app.consumer_key, world.main.consumer_secret))
    )


def test_an_app_that_is_not_enabled_has_a_token_too(server, world):
    """Only the data API requires an enabled app; it answers 403, not 401."""
    answer = server.client.ask("totals", question("111"), server.bearer(world.pending))
    assert (answer.status, answer.code) == (403, "app_not_enabled")


def test_invalidated_with_basic_it_is_refused_and_the_next_one_differs(server, post, token, app):
    answer = post("invalidate_token", f"access_token={token}", basic(app))
    assert answer.status == 200
    assert answer.json() == {"access_token": token}
    assert not works(server, token)
    fresh = post("token", GRANT, basic(app)).json()["access_token"]
    assert fresh != token
    assert works(server, fresh)
    assert not works(server, token)


def test_invalidated_in_the_query(server, post, token, app):
    answer = post(f"invalidate_token?access_token={token}", "", basic(app))
    assert answer.json() == {"access_token": token}
    assert not works(server, token)


def test_a_revoked_token_cannot_be_invalidated_again(post, token, app):
    for status in (200, 403):
        assert post("invalidate_token", f"access_token={token}", basic(app)).status == status


def test_another_app_cannot_invalidate_it(server, post, token, world):
    assert_code_99(post("invalidate_token", f"access_token={token}", basic(world.main)))
    assert works(server, token)


def signed(server, app, token, *, place, sent=None, user=True):
    """A signed call to invalidate `token`. `sent` replaces the form that was signed."""
    url = f"{server.url}/oauth2/invalidate_token"
    field = [("access_token", token)]
    parameters = protocol_parameters(app, user=user)
    proof = ("oauth_signature", signature_with("POST", url, [*parameters, *field], app, user=user))
    form = sent or field
    if place == "header":
        return "", as_form(form), {"Authorization": as_header([*parameters, proof])}
    if place == "query":
        return "?" + as_form([*parameters, proof]), as_form(form), {}
    return "", as_form([*parameters, *form, proof]), {}


@pytest.mark.parametrize("place", ["header", "query", "form"])
def test_invalidated_by_the_owners_signature(server, post, token, app, place):
    query, body, headers = signed(server, app, token, place=place)
    answer = post(f"invalidate_token{query}", body, headers=headers)
    assert answer.status == 200, answer
    assert answer.json() == {"access_token": token}
    assert not works(server, token)


@pytest.mark.parametrize("place", ["header", "query", "form"])
def test_a_form_that_was_changed_after_signing(server, post, token, app, place):
    query, body, headers = signed(
        server, app, "AAAA-another", place=place, sent=[("access_token", token)]
    )
    assert_code_99(post(f"invalidate_token{query}", body, headers=headers))
    assert works(server, token)


def test_signed_by_the_app_alone(server, post, token, app):
    _, body, headers = signed(server, app, token, place="header", user=False)
    assert_code_99(post("invalidate_token", body, headers=headers))
    assert works(server, token)


def test_signed_by_another_apps_owner(server, post, token, world):
    _, body, headers = signed(server, world.bobs, token, place="header")
    assert_code_99(post("invalidate_token", body, headers=headers))
    assert works(server, token)


def test_a_signed_call_is_served_once(server, post, token, app):
    _, body, headers = signed(server, app, token, place="header")
    assert post("invalidate_token", body, headers=headers).status == 200
    post("token", GRANT, basic(app))
    answer = post("invalidate_token", body, headers=headers)
    assert answer.status == 401
    assert answer.json() == {"errors": [{"code": 32, "message": "Could not authenticate you."}]}
    realm = 'OAuth realm="https://api.twitter.com", api_error_code=32'
    assert answer.headers["www-authenticate"] == realm


def test_the_command_line_shows_the_same_token(server, token, app):
    assert server.command("token", "bearer", app.app_id) == {"access_token": token}


def test_tokens_are_never_cached(post, app):
    assert post("token", GRANT, basic(app)).headers["cache-control"] == "no-store"
