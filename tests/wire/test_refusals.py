"""With `log_refusals`, every refused call has one log line that says what to change."""

import json
import time

import pytest
from requests.auth import HTTPBasicAuth

from support.calls import Bearer, question, sign_as_app, sign_as_user
from support.flows import CALLBACK, add_consumer
from support.signing import as_header, protocol_parameters, signature_with, signed_header
from support.waiting import wait_for

TOTALS = "/insights/engagement/totals"
REQUEST_TOKEN = "/oauth/request_token"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def server(servers):
    return servers(log_refusals="true")


def has_line(log):
    return "call_refused" in log and log.endswith("\n")


@pytest.fixture
def refused(server):
    """Sends a request that is refused; returns the answer and its log line."""

    def refused(method, path, **options):
        before = server.log_bytes
        answer = server.client.send(method, path, **options)
        wait_for(lambda: has_line(server.log(since=before)), pause_s=0.01)
        lines = [json.loads(text) for text in server.log(since=before).splitlines()]
        (line,) = [each for each in lines if each["event"] == "call_refused"]
        assert (line["status"], line["code"]) == (answer.status, answer.code)
        assert line["request_id"] == answer.headers["x-request-id"]
        assert line["path"] == path.partition("?")[0]
        assert line["method"] == method
        for secret in server.secrets:
            assert secret not in json.dumps(line)
        return line

    return refused


def test_a_nonce_that_is_the_second(server, refused):
    """As J7mbo/twitter-api-php: the same call twice in one second."""
    second = str(int(time.time()))
    auth = sign_as_user(server.world.main, nonce=second, timestamp=second)
    assert server.client.ask("totals", question("111"), auth).status == 200
    assert server.client.ask("28hr", question("111"), auth).status == 200
    line = refused("POST", TOTALS, body=question("111"), auth=auth)
    assert line["reason"].endswith("Nonce already used")
    assert "uses the current second as its nonce" in line["remedy"]
    assert "OPENENGAGEMENT_REPLAY_PROTECTION=oauth" in line["remedy"]


def test_a_request_sent_twice(server, refused):
    header = {"Authorization": signed_header("POST", server.url + TOTALS, server.world.main)}
    assert server.client.send("POST", TOTALS, body=question("111"), headers=header).status == 200
    line = refused("POST", TOTALS, body=question("111"), headers=header)
    assert line["remedy"].startswith("Sign every request anew")


def test_too_many_groupings(server, refused):
    body = question("111") | {"groupings": {str(n): {"group_by": ["tweet.id"]} for n in range(5)}}
    line = refused("POST", TOTALS, body=body, auth=sign_as_user(server.world.main))
    assert "holds 5 groupings, at most 3" in line["reason"]
    assert "OPENENGAGEMENT_GROUPINGS_MAX" in line["remedy"]


@pytest.mark.parametrize("path", [TOTALS, REQUEST_TOKEN])
def test_a_port_that_is_missing_from_the_base_string(server, refused, path):
    """As abraham/twitteroauth."""
    app = server.world.main
    header = signed_header("POST", f"http://127.0.0.1{path}", app)
    line = refused("POST", path, body=question("111"), headers={"Authorization": header})
    assert line["code"] == "invalid_signature"
    assert "leaves the port out" in line["remedy"]
    assert "--intercept" in line["remedy"]


def test_a_callback_that_is_not_registered(server, refused):
    """Also with a query, which Twitter's text of 2018 accepted."""
    app = add_consumer(server, "Refused callbacks", "--callback", CALLBACK)
    keys = type(server.world.main)(app.app_id, app.key, app.secret, "", "")
    for callback in ("https://elsewhere.example/", f"{CALLBACK}?state=1", f"{CALLBACK}/"):
        line = refused("POST", REQUEST_TOKEN, auth=sign_as_app(keys, callback_uri=callback))
        assert line["code"] == "callback_not_approved"
        assert f"Registered, letter for letter: {CALLBACK}." in line["remedy"]
        assert "/portal" in line["remedy"]


def test_no_callback_at_all(server, refused):
    app = add_consumer(server, "Refused desktop")
    keys = type(server.world.main)(app.app_id, app.key, app.secret, "", "")
    line = refused("POST", REQUEST_TOKEN, auth=sign_as_app(keys, callback_uri=CALLBACK))
    assert "Register a callback URL for the app in /portal" in line["remedy"]


def test_a_form_under_another_content_type(server, refused):
    app = server.world.main
    more = [("oauth_callback", "oob")]
    parameters = protocol_parameters(app, user=False)
    url = server.url + REQUEST_TOKEN
    signature = signature_with("POST", url, [*parameters, *more], app, user=False)
    header = as_header([*parameters, ("oauth_signature", signature)])
    headers = {"Authorization": header, "Content-Type": "text/plain"}
    line = refused("POST", REQUEST_TOKEN, body="oauth_callback=oob", headers=headers)
    assert f"send Content-Type: {FORM['Content-Type']}" in line["remedy"]


def test_a_form_where_json_is_expected(server, refused):
    """As clients do by default that know Twitter's API 1.1, such as twitter-api-v2."""
    body = "tweet_ids=111&engagement_types=favorites"
    line = refused("POST", TOTALS, body=body, headers=FORM, auth=server.bearer(server.world.main))
    assert line["code"] == "malformed_body"
    assert "Content-Type: application/json" in line["remedy"]


def test_a_grant_type_that_is_not_in_a_form(server, refused):
    app = server.world.main
    basic = HTTPBasicAuth(app.consumer_key, app.consumer_secret)
    line = refused("POST", "/oauth2/token", body={"grant_type": "client_credentials"}, auth=basic)
    assert FORM["Content-Type"] in line["remedy"]


def test_a_content_type_that_no_batch_has(server, refused):
    key = server.command("platform-key", "issue", "refusals")["platform_key"]
    server.secrets.append(key)
    headers = {"Content-Type": "text/html"}
    line = refused("POST", "/platform/v1/events", body="x", headers=headers, auth=Bearer(key))
    assert (line["status"], line["code"]) == (415, "unsupported_body")
    assert "application/x-ndjson" in line["reason"]
    assert "Content-Type" in line["remedy"]


@pytest.mark.parametrize("content_type", ["text/csv", *FORM.values()])
def test_a_batch_in_no_format(server, refused, content_type):
    """Also under the content type of a form, which `curl -d` sends by default."""
    key = server.command("platform-key", "issue", "refusals")["platform_key"]
    server.secrets.append(key)
    headers = {"Content-Type": content_type}
    body = "tweet_id;type\n" if content_type == "text/csv" else "[1] 2"
    line = refused("POST", "/platform/v1/events", body=body, headers=headers, auth=Bearer(key))
    assert line["code"] == "malformed_body"
    assert "To the platform API, send a format of section 6.2" in line["remedy"]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "/insights/engagement/nothing", "not_found"),
        ("GET", TOTALS, "method_not_allowed"),
        ("GET", "/1.1/statuses/show.json?id=1", "not_found"),
        ("POST", TOTALS, "unknown_authorization_type"),
        ("POST", REQUEST_TOKEN, "unknown_authorization_type"),
        ("POST", "/platform/v1/events", "unknown_authorization_type"),
    ],
)
def test_other_refusals(refused, method, path, code):
    assert refused(method, path)["code"] == code


def test_answers_that_are_no_refusal_write_no_line(server):
    before = server.log_bytes
    assert (
        server.client.ask("totals", question("111"), sign_as_user(server.world.main)).status == 200
    )
    assert server.is_healthy()
    assert "call_refused" not in server.log(since=before)


def test_without_the_setting_there_is_no_line(servers):
    server = servers()
    before = server.log_bytes
    assert server.client.ask("totals", question("111"), None).status == 401
    assert "call_refused" not in server.log(since=before)
