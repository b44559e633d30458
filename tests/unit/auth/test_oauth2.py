"""Basic credentials as RFC 6749 says and as clients send them (api.md 4.7)."""

from base64 import b64encode
from types import SimpleNamespace

import pytest

from openengagement.auth.oauth2 import verify_basic
from openengagement.http.message import Message, scheme_and_rest
from support.cases import cases

KEY = "xvz1evFS4wEEPTGEFPHBog"
SECRET = "L8qq9PZyRg6ieKGEKhZolGC0vJWLw8iEJ88DRdyOg"
# The documentation's own example.
BASIC = "eHZ6MWV2RlM0d0VFUFRHRUZQSEJvZzpMOHFxOVBaeVJnNmllS0dFS2hab2xHQzB2SldMdzhpRUo4OERSZHlPZw=="


class FakeLookup:
    def __init__(self, **consumers):
        self.consumers = consumers

    def find_consumer(self, key):
        secret = self.consumers.get(key)
        return None if secret is None else SimpleNamespace(app=key, secret=secret)


LOOKUP = FakeLookup(**{KEY: SECRET, "odd key": "50% + more", "empty": ""})


def message(*authorization):
    return Message(
        method="POST",
        scheme="https",
        host="api.example",
        path="/oauth2/token",
        query="",
        authorization=authorization,
        content_type="application/x-www-form-urlencoded",
        body=b"",
    )


def basic(text):
    return message("Basic " + b64encode(text.encode()).decode())


def test_the_documented_example():
    assert verify_basic(message(f"Basic {BASIC}"), LOOKUP) == KEY
    assert basic(f"{KEY}:{SECRET}").authorization == (f"Basic {BASIC}",)


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_the_scheme_in_any_case(scheme):
    assert verify_basic(message(f"{scheme} {BASIC}"), LOOKUP) == KEY


def test_credentials_may_be_percent_encoded_or_not():
    assert verify_basic(basic("odd key:50% + more"), LOOKUP) == "odd key"
    assert verify_basic(basic("odd%20key:50%25%20%2B%20more"), LOOKUP) == "odd key"


@cases(
    "text",
    [
        f"{KEY}:",
        f"{KEY}:{SECRET}x",
        f"{KEY}:{SECRET[:-1]}",
        f"{KEY}",
        f":{SECRET}",
        ":",
        "",
        "nobody:",
        f"nobody:{SECRET}",
        f"{KEY} :{SECRET}",
        f"{KEY}:é",
        f"{KEY}:%zz",
        f"{KEY}:%FF",
    ],
)
def test_wrong_credentials(text):
    assert verify_basic(basic(text), LOOKUP) is None


@cases(
    "header",
    ["", "Basic", "Basic ", "Basic !", "Basic /w==", f"Bearer {BASIC}", BASIC, f"Basic{BASIC}"],
)
def test_headers_that_are_not_basic(header):
    assert verify_basic(message(header), LOOKUP) is None


def test_two_headers_count_as_none():
    assert verify_basic(message(f"Basic {BASIC}", f"Basic {BASIC}"), LOOKUP) is None
    assert scheme_and_rest(message("Bearer a", "Bearer b")) == ("", "")
    assert scheme_and_rest(message()) == ("", "")
    assert scheme_and_rest(message("  Bearer   a b ")) == ("bearer", "a b")


@pytest.mark.parametrize("header", ["OAuth, a=1", "oauth,a=1", "OAUTH , a=1", " OAuth ,, a=1"])
def test_an_empty_element_may_follow_oauth(header):
    scheme, rest = scheme_and_rest(message(header))
    assert (scheme, rest.strip(" ,")) == ("oauth", "a=1")


@pytest.mark.parametrize("header", ["Bearer, a", "Basic,a", "OAuth;a", "OAuth2, a"])
def test_no_comma_follows_another_scheme(header):
    assert scheme_and_rest(message(header))[0] not in {"oauth", "bearer", "basic"}
