"""Malformed requests: always a 4xx answer, and the server keeps running."""

import gzip
import time

import pytest

from support.cases import cases
from support.oauth_server import (
    ACCESS_TOKEN,
    FORM,
    INVALIDATE_TOKEN,
    REQUEST_TOKEN,
    TOTALS,
    VERIFY_CREDENTIALS,
    sign,
)
from support.signing import as_header
from support.sockets import exchange, parse_answers, request_bytes, talk
from support.waiting import PATIENCE_S

URLENCODED = ("Content-Type", "application/x-www-form-urlencoded")
POSTED = (
    "/sign-in",
    "/sign-out",
    "/oauth/authorize",
    "/settings/apps/revoke",
    "/settings/sessions/revoke",
    REQUEST_TOKEN,
    ACCESS_TOKEN,
    INVALIDATE_TOKEN,
    "/oauth2/token",
    "/oauth2/invalidate_token",
)
BOUNDARY = "frontier"


def part(name, value, more=b""):
    disposition = f'Content-Disposition: form-data; name="{name}"'.encode("latin-1")
    return b"--frontier\r\n" + disposition + more + b"\r\n\r\n" + value + b"\r\n"


END = b"--frontier--\r\n"
BODIES = {
    "empty": b"",
    "10,000 fields": b"&".join(b"a%d=1" % each for each in range(10_000)),
    "one field 10,000 times": b"&".join([b"csrf_token=1"] * 10_000),
    "10,000 separators": b"&" * 10_000,
    "10,000 equals": b"=" * 10_000,
    "huge": b"a=" + b"x" * 1_000_000,
    "larger than allowed": b"a=" + b"x" * 1_100_000,
    "NUL": b"csrf_token=%00&screen_name=a%00b&password=\x00&oauth_token=%00\x00",
    "not UTF-8": b"csrf_token=\xff\xfe&screen_name=%ff%fe&password=%c3%28&oauth_token=%80",
    "surrogates": b"csrf_token=%ed%a0%80&screen_name=%ed%b0%80",
    "broken escapes": b"csrf_token=%&screen_name=%g&password=%1&a=%u1234",
    "UTF-16": "csrf_token=x".encode("utf-16"),
    "JSON": b'{"csrf_token": ["x"]}',
    "brackets": b"csrf_token[]=1&csrf_token[a]=2&screen_name.x=3&__proto__=4",
    "gzip": gzip.compress(b"csrf_token=x"),
}
MULTIPARTS = {
    "plain": part("csrf_token", b"x") + END,
    "10,000 parts": b"".join(part(f"a{each}", b"1") for each in range(10_000)) + END,
    "file": part("password", b"x", b'; filename="x"\r\nContent-Type: text/html') + END,
    "huge part": part("csrf_token", b"x" * 1_000_000) + END,
    "no end": part("csrf_token", b"x"),
    "no boundary": b"csrf_token=x",
    "long header": part("csrf_token", b"x", b"\r\nX: " + b"y" * 100_000) + END,
    "many headers": part("csrf_token", b"x", b"\r\nX: y" * 10_000) + END,
    "odd name": part("\xff\x00", b"x") + END,
    "surrogate": part("csrf_token", b"\\ud800") + END,
    "NUL": part("csrf_token", b"\x00") + END,
}
CHARSETS = (
    "utf-8",
    "unicode_escape",
    "undefined",
    "punycode",
    "idna",
    "utf-7",
    "utf-16",
    "zip",
    "",
)


def refused(oauth, method, path, headers=(), body=b"", *, host="localhost"):
    answer = exchange(oauth.server.port, request_bytes(method, path, headers, body, host=host))
    assert 400 <= answer.status < 500, (answer.status, answer.body[:200])
    return answer


@pytest.mark.embedded  # a balancer may lose an answer that is sent before the end of the body
@cases("path", POSTED)
def test_bodies(oauth, path):
    for body in BODIES.values():
        refused(oauth, "POST", path, [URLENCODED], body)
        refused(oauth, "POST", path, [(URLENCODED[0], f"{URLENCODED[1]}; charset=utf-16")], body)


@cases("path", POSTED)
def test_multipart_bodies(oauth, path):
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    for body in MULTIPARTS.values():
        refused(oauth, "POST", path, [("Content-Type", kind)], body)
    for charset in CHARSETS:
        for name in ("surrogate", "NUL", "odd name"):
            kind = f"multipart/form-data; boundary={BOUNDARY}; charset={charset}"
            refused(oauth, "POST", path, [("Content-Type", kind)], MULTIPARTS[name])
    for kind in (
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed",
        "\xff",
        ";",
    ):
        refused(oauth, "POST", path, [("Content-Type", kind)], b"--\r\n\r\n----\r\n")


@cases("value", ["\x00", "\xff", "\u202e", "\U0010ffff", "x" * 9_000, "%00", "[]"])
def test_strange_values_in_a_valid_form(oauth, alice, value):
    """The form passes the check of its origin."""
    page = alice.open("/settings/apps")
    token = dict(page.form_with(action="/sign-out").fields)["csrf_token"]
    names = ("oauth_token", "decision", "app_id", "session_id", "screen_name", "return_to")
    fields = {"csrf_token": token, **dict.fromkeys(names, value)}
    for path in ("/oauth/authorize", "/settings/apps/revoke", "/settings/sessions/revoke"):
        answer = alice.http.post(oauth.url + path, data=fields)
        assert answer.status_code in {303, 403}
    oauth.count_guesses(10, of="both", name=value.casefold()[:200], address="127.0.0.1")
    assert alice.http.post(f"{oauth.url}/sign-in", data=fields).status_code in {400, 403, 429}
    assert alice.open("/settings/apps").url.endswith("/settings/apps")


@cases("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity", "x"])
def test_bodies_with_a_wrong_content_encoding(oauth, coding):
    for path in POSTED:
        refused(oauth, "POST", path, [URLENCODED, ("Content-Encoding", coding)], b"not encoded")


def test_a_decompression_bomb_is_refused(oauth):
    bomb = gzip.compress(b"a=" + b"x" * 50_000_000)
    for path in POSTED:
        refused(oauth, "POST", path, [URLENCODED, ("Content-Encoding", "gzip")], bomb)


def test_parsing_a_form_takes_bounded_time(oauth):
    begun = time.monotonic()
    for path in ("/sign-in", REQUEST_TOKEN):
        for body in ("10,000 fields", "huge", "10,000 equals"):
            refused(oauth, "POST", path, [URLENCODED], BODIES[body])
    assert time.monotonic() - begun < PATIENCE_S


@cases(
    "query",
    [
        "oauth_token=%00",
        "oauth_token=%ff",
        "oauth_token=%ed%a0%80",
        "oauth_token=%",
        "oauth_token[]=x",
        "oauth_token=" + "x" * 20_000,
        "&".join(["oauth_token=x"] * 500),
        "=" * 2000,
        "oauth_token=x&force_login=%00&screen_name=%ff",
        "oauth_token=\xff",
    ],
)
def test_queries(oauth, query):
    for page in ("authorize", "authenticate"):
        refused(oauth, "GET", f"/oauth/{page}?{query}")
    for path in ("/sign-in", "/settings/apps"):
        answer = exchange(oauth.server.port, request_bytes("GET", f"{path}?{query}"))
        assert answer.status in {200, 303, 400}
    for path in (REQUEST_TOKEN, ACCESS_TOKEN, VERIFY_CREDENTIALS):
        refused(oauth, "GET", f"{path}?{query}&oauth_signature=x")


@cases("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X"])
def test_methods(oauth, method):
    """A route with an effect accepts only POST; the two GET calls of the wire must be signed."""
    for path in POSTED:
        if path == "/sign-in" and method in {"GET", "HEAD"}:
            continue
        refused(oauth, method, path)
        refused(oauth, method, path, [URLENCODED], b"csrf_token=x")


@cases("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "X"])
def test_methods_of_pages(oauth, method):
    for path in ("/sign-in", "/settings/apps", "/oauth/authenticate", "/static/x", "/settings/"):
        received = talk(oauth.server.port, request_bytes(method, path))
        assert all(400 <= answer.status < 500 for answer in parse_answers(received))


def test_head_of_a_page_has_no_body_and_changes_nothing(oauth, alice):
    asking = oauth.request_token(oauth.web, "oob")
    for path in (
        "/sign-in",
        "/settings/apps",
        f"/oauth/authorize?oauth_token={asking.access_token}",
    ):
        answer = alice.http.head(oauth.url + path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["x-frame-options"] == "DENY"
    assert oauth.exchange(asking, "").status == 401


COOKIES = [
    "",
    ";",
    "=",
    ";;;=;;",
    "oe_session",
    "oe_session=",
    "oe_session==",
    'oe_session="',
    'oe_session="\\',
    'oe_session="\\377\\400\\000"',
    "oe_session=\xff\xfe",
    "oe_session=\x01",
    "oe_session=%00",
    "oe_session=' or 1=1 --",
    "oe_session=" + "x" * 8000,
    "; ".join(["oe_session=x"] * 500),
    "; ".join(f"c{each}=x" for each in range(1000)),
    "$Version=1; oe_session=x; $Path=/",
    "oe_session=x, oe_session=y",
    "oe_visitor=\xff; oe_fresh=\xff; oe_known=\xff.\xff",
    "oe_known=.....; oe_fresh=.",
    "__Host-oe_session=x; __Secure-oe_session=y",
]


@cases("cookie", COOKIES, ids=range(len(COOKIES)))
def test_cookies(oauth, cookie):
    for path, status in (("/sign-in", 200), ("/settings/apps", 303)):
        answer = exchange(oauth.server.port, request_bytes("GET", path, [("Cookie", cookie)]))
        assert answer.status in {status, 400}
    for path in POSTED:
        refused(oauth, "POST", path, [("Cookie", cookie), URLENCODED], b"csrf_token=x")


@cases(
    "authorization",
    [
        "Basic \xe9",
        "Basic",
        "Basic =",
        "Basic ====",
        "Basic Og==",
        "Basic //8=",
        "Basic AAAA",
        "Basic " + "A" * 20_000,
        "Basic OgA= x",
        "Bearer \xff",
        "Bearer",
        "Bearer \x01",
        "OAuth \xff",
        'OAuth oauth_signature="\xff"',
        'OAuth oauth_token="%ff"',
        'OAuth oauth_token="%ed%a0%80"',
        "OAuth " + 'oauth_a="b",' * 2000,
        'OAuth realm="' + "x" * 20_000 + '"',
        "Digest x",
        "\xff",
        "",
        " ",
    ],
)
def test_authorization_headers(oauth, authorization):
    for method, path in (
        ("POST", REQUEST_TOKEN),
        ("POST", ACCESS_TOKEN),
        ("POST", INVALIDATE_TOKEN),
        ("GET", VERIFY_CREDENTIALS),
        ("POST", TOTALS),
        ("POST", "/oauth2/token"),
        ("POST", "/oauth2/invalidate_token"),
    ):
        body = b"" if method == "GET" else b"grant_type=client_credentials&access_token=%ff"
        refused(oauth, method, path, [("Authorization", authorization), URLENCODED], body)


@cases("value", ["\x00", "\ud7ff", "\U0010ffff", "x" * 9000, "\r\n", "%00", "é"])
@cases("name", ["consumer_key", "token", "nonce", "verifier", "signature", "version"])
def test_signed_values(oauth, name, value):
    """Any values, signed or not, in an access token call with an unknown request token."""
    app = oauth.web
    signed = dict(sign(app, "POST", oauth.url + ACCESS_TOKEN, token="x", verifier="x"))
    signed[f"oauth_{name}"] = value
    answer = oauth.send("POST", ACCESS_TOKEN, as_header(list(signed.items())))
    assert 400 <= answer.status < 500, answer


@cases("host", ["", "[", "[::1", "a:b:c", "\xff", "x" * 5000, "a/b", "a?b#c", "@", None])
def test_hosts(oauth, host):
    for path in ("/sign-in", "/oauth/authorize?oauth_token=x", "/settings/apps"):
        request = request_bytes("GET", path, host=host)
        assert exchange(oauth.server.port, request).status in {200, 303, 400, 403}
    refused(oauth, "POST", "/sign-in", [URLENCODED, ("Origin", "http://[")], b"a=b", host=host)


@cases(
    "path",
    [
        "/settings/",
        "/settings/../sign-in",
        "/settings/apps/",
        "/settings/apps/x",
        "/settings/%2e%2e/x",
        "/sign-in/",
        "/sign-in/x",
        "/sign-inx",
        "/sign-in%00",
        "/sign-in%ff",
        "/sign-in/oidc",
        "/sign-in/oidc/callback?code=x&state=y",
        "/oauth/authorize/",
        "/oauth/authorizex",
        "/oauth/authorize%2f",
        "/oauth%2fauthorize?oauth_token=x",
        "/static/",
        "/static/..",
        "/static/../registry.sqlite3",
        "/static/%2e%2e%2fserver.key",
        "/static/..%5c..%5cserver.key",
        "/static//etc/passwd",
        "/static/%00",
        "/static/portal.css",
        "/static/pages.py",
        "/" + "x" * 9000,
    ],
)
def test_paths(oauth, path):
    answer = refused(oauth, "GET", path)
    assert b"Traceback" not in answer.body


def test_a_form_that_never_ends_is_refused(oauth):
    head = request_bytes("POST", "/sign-in", [URLENCODED, ("Content-Length", "100")])
    talk(oauth.server.port, head, b"csrf_token=x", hang_up=True)
    assert oauth.server.client.send("GET", "/sign-in", headers=FORM).status == 200
