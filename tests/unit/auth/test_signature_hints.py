"""The hints name the difference between the received request and the one that was signed."""

import pytest
from oauthlib.oauth1 import Client

from openengagement.auth.signature_hints import explain_signature
from openengagement.http.forms import parse_form
from openengagement.http.message import Message
from support.cases import cases

FORM = "application/x-www-form-urlencoded"
CONSUMER_SECRET, TOKEN_SECRET = "a consumer's secret", "a token's secret"


def hint(signed_url, *, signed_body=None, secret=TOKEN_SECRET, **received):
    """Sign one request with oauthlib and explain the signature for the received one."""
    client = Client("key", CONSUMER_SECRET, "token", secret, nonce="n", timestamp="1")
    headers = {"Content-Type": FORM} if signed_body is not None else {}
    _, headers, _ = client.sign(signed_url, "POST", body=signed_body, headers=headers)
    fields = {
        "method": "POST",
        "scheme": "http",
        "host": "127.0.0.1:8080",
        "path": "/insights/engagement/totals",
        "query": "",
        "authorization": (headers["Authorization"],),
        "content_type": "application/json",
        "body": b"",
    }
    message = Message(**(fields | received))
    header = headers["Authorization"].removeprefix("OAuth ").replace('"', "")
    header = dict(parse_form(header.replace(", ", "&")))
    signature = header.pop("oauth_signature")
    form = parse_form(message.body.decode()) if message.is_form else []
    readings = [[*header.items(), *parse_form(message.query), *form]]
    found = explain_signature(
        message, signature, readings=readings, secrets=(CONSUMER_SECRET, [TOKEN_SECRET])
    )
    for credential in (signature, CONSUMER_SECRET, TOKEN_SECRET):
        assert credential not in found
    return found


URL = "http://127.0.0.1:8080/insights/engagement/totals"
ASKED = "/insights/engagement/totals"


@cases(
    ("signed_url", "words"),
    [
        (f"http://127.0.0.1{ASKED}", "leaves the port out"),
        (f"https://127.0.0.1{ASKED}", "leaves the port out"),
        (f"https://data-api.twitter.com{ASKED}", "for the host data-api.twitter.com"),
        (f"https://api.x.com{ASKED}", "for the host api.x.com"),
        (f"http://api.twitter.com{ASKED}", "for the host api.twitter.com"),
        (f"http://localhost:8080{ASKED}", "for the host localhost:8080"),
        (f"https://127.0.0.1:8080{ASKED}", "The client signs https"),
        (f"http://127.0.0.1:8080{ASKED}/", "Compare the client's base string"),
        ("http://127.0.0.1:8080/elsewhere", f"Compare the client's base string with POST {URL}"),
    ],
)
def test_another_url(signed_url, words):
    assert words in hint(signed_url)


@pytest.mark.parametrize(
    ("host", "scheme", "signed"),
    [
        ("[::1]:8080", "http", "http://[::1]"),
        ("api.example:8443", "https", "https://api.example"),
        ("localhost:81", "http", "http://localhost"),
    ],
)
def test_a_port_left_out_on_other_hosts(host, scheme, signed):
    assert "leaves the port out" in hint(signed + ASKED, host=host, scheme=scheme)


def test_parameters_that_are_not_signed():
    assert "leaves the query out" in hint(URL, query="a=1&b=2")
    assert "leaves the form out" in hint(URL, content_type=FORM, body=b"a=1")


def test_a_form_under_another_content_type():
    for kind in ("", "application/json", "text/plain"):
        found = hint(URL, signed_body="a=1&b=%20", content_type=kind, body=b"a=1&b=+")
        assert f"send Content-Type: {FORM}" in found


def test_json_under_the_content_type_of_a_form():
    found = hint(URL, signed_body="a=1", content_type=FORM, body=b' {"a": "1"}')
    assert "Send Content-Type: application/json" in found


def test_another_secret():
    assert "leaves out the token's secret" in hint(URL, secret="")
    assert "its secrets with those of the app and of the token" in hint(URL, secret="another")


@pytest.mark.parametrize("body", [b"\xff\xfe", b"%zz", b"&" * 2000])
def test_any_body(body):
    assert "Compare" in hint(URL, secret="another", body=body)
