"""Plain HTTP and trusted proxies (api.md 0, 4.1).

A local client counts as secure. Forwarded headers of a trusted proxy simulate a remote client.
"""

import json

import pytest

from support.calls import question
from support.cases import cases
from support.signing import signed_header

PATH = "/insights/engagement/totals"
BODY = json.dumps(question("111"))
AWAY = {"X-Forwarded-For": "203.0.113.9"}
PROXIES = {"trusted_proxies": "127.0.0.1/32"}
# The same settings as in test_order.py and goldens/partial_ownership.json, to reuse their servers.
STRICT = PROXIES | {"require_gzip": "true", "body_max_bytes": "4096", "header_max_bytes": "8192"}
OPEN = PROXIES | {
    "allow_plain_http": "true",
    "faithful": "true",
    "partial_ownership": "true",
    "replay_protection": "off",
}


@pytest.fixture
def ask(servers):
    def send(settings, headers, *, signed_for=None, path=PATH):
        server = servers(**settings)
        signed = signed_header("POST", signed_for or server.url + PATH, server.world.main)
        all_headers = {"Content-Type": "application/json", "Authorization": signed, **headers}
        return server.client.send("POST", path, body=BODY, headers=all_headers)

    return send


def test_local_clients_are_secure(ask):
    assert ask(STRICT, {}).status == 200


def test_remote_plain_http_is_refused(ask):
    answer = ask(STRICT, AWAY)
    assert (answer.status, answer.code) == (403, "ssl_required")
    assert answer.json() == {"errors": ["SSL is required"]}


def test_remote_plain_http_is_refused_on_oauth_calls(ask):
    answer = ask(STRICT, AWAY, path="/oauth2/token")
    assert answer.status == 403
    assert answer.json() == {"errors": [{"code": 92, "message": "SSL is required"}]}


def test_remote_plain_http_is_refused_on_the_platform_api(ask):
    answer = ask(STRICT, AWAY, path="/platform/v1/events")
    assert (answer.status, answer.code) == (403, "ssl_required")


def test_tls_at_the_trusted_proxy_counts(ask):
    forwarded = {
        **AWAY,
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "data-api.example",
    }
    answer = ask(STRICT, forwarded, signed_for=f"https://data-api.example{PATH}")
    assert answer.status == 200, answer


@cases(
    ("forwarded", "signed_for"),
    [
        ({"X-Forwarded-Proto": "HTTPS", "X-Forwarded-Host": "API.example"}, "https://api.example"),
        ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.b:443"}, "https://a.b"),
        ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.b:8443"}, "https://a.b:8443"),
        ({"X-Forwarded-Proto": "https", "Host": "a.b"}, "https://a.b"),
        ({"X-Forwarded-Proto": "http, https", "X-Forwarded-Host": "x.y, a.b"}, "https://a.b"),
    ],
    ids=str,
)
def test_forms_of_forwarded_addresses(ask, forwarded, signed_for):
    answer = ask(STRICT, {**AWAY, **forwarded}, signed_for=signed_for + PATH)
    assert answer.status == 200, answer


def test_forwarded_headers_from_the_client_do_not_count(ask):
    """The proxy appends to a list whose start the client may have sent."""
    claimed = {"X-Forwarded-For": "127.0.0.1, 203.0.113.9"}
    assert ask(STRICT, claimed).code == "ssl_required"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.8.9.1"])
def test_a_forwarded_local_client_is_secure(ask, address):
    assert ask(STRICT, {"X-Forwarded-For": address}).status == 200


@cases("address", ["nonsense", "unknown", "203.0.113.9:1234", "0.0.0.0", "10.0.0.1"])
def test_other_forwarded_clients_are_not_secure(ask, address):
    assert ask(STRICT, {"X-Forwarded-For": address}).code == "ssl_required"


@pytest.mark.parametrize("proto", ["gopher", "https; secure", "httpss", ""])
def test_unknown_forwarded_schemes_are_not_tls(ask, proto):
    answer = ask(STRICT, {**AWAY, "X-Forwarded-Proto": proto})
    assert answer.code == "ssl_required"


def test_without_a_trusted_proxy_forwarded_headers_are_ignored(ask):
    for forwarded in (AWAY, {"X-Forwarded-Proto": "https"}, {"X-Forwarded-Host": "a.b"}):
        assert ask({}, forwarded).status == 200


def test_allow_plain_http(ask):
    assert ask(OPEN, AWAY).status == 200


def test_faithful_turns_on_require_gzip(ask):
    answer = ask(OPEN, {**AWAY, "Accept-Encoding": "identity"})
    assert (answer.status, answer.code) == (406, "gzip_required")
    assert not answer.is_gzip
