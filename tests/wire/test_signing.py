"""OAuth 1.0a as clients send it, and every way a signature can be wrong (api.md 4.1).

The tests build requests by hand; oauthlib signs them.
"""

import hashlib
import json
import time
from base64 import b64encode

import pytest

from support.calls import question
from support.cases import cases
from support.signing import (
    as_form,
    as_header,
    protocol_parameters,
    signature_of,
    signature_with,
    signed_header,
)
from support.sockets import exchange, request_bytes
from support.stores import query_registry
from support.waiting import wait_for

PATH = "/insights/engagement/totals"
BODY = json.dumps(question("111"))
GOOD = {"g": {"111": {"favorites": "4"}}}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
REASON = "Your account could not be authenticated. Reason: "


@pytest.fixture
def main(world):
    return world.main


@pytest.fixture
def url(server):
    return server.url + PATH


@pytest.fixture
def ask(server):
    def send(authorization=None, *, path=PATH, body=BODY, headers=None):
        all_headers = {**JSON, **(headers or {})}
        if authorization is not None:
            all_headers["Authorization"] = authorization
        return server.client.send("POST", path, body=body, headers=all_headers)

    return send


@pytest.fixture
def sign(main, url):
    """Makes an Authorization header with changed parameters and a signature over them."""

    def header(*, user=True, more=(), **changes):
        parameters = protocol_parameters(main, user=user, **changes)
        signed = signature_with("POST", url, [*parameters, *more], main, user=user)
        return as_header([*parameters, ("oauth_signature", signed)])

    return header


def assert_refused(answer, code, reason):
    """The status is 401, the header has the code, and the reason is the only text."""
    assert (answer.status, answer.code) == (401, code), answer
    [text] = answer.json()["errors"]
    assert text.startswith(REASON + reason)


# Accepted.


def test_header(ask, sign):
    assert ask(sign()).json() == GOOD


def test_header_of_an_app_alone(ask, sign):
    assert ask(sign(user=False)).json() == GOOD


def test_an_empty_token_counts_as_no_token(ask, sign):
    assert ask(sign(user=False, token="")).json() == GOOD


@pytest.mark.parametrize("scheme", ["OAuth", "oauth", "OAUTH", "oAuTh"])
def test_the_scheme_may_be_written_in_any_case(ask, sign, scheme):
    assert ask(sign().replace("OAuth", scheme, 1)).json() == GOOD


@pytest.mark.parametrize("comma", [",", ", ", " , ", ",\t", ",  "])
def test_space_around_commas_does_not_matter(ask, main, url, comma):
    parameters = protocol_parameters(main)
    signed = signature_with("POST", url, parameters, main)
    header = as_header([*parameters, ("oauth_signature", signed)], comma=comma)
    assert ask(header).json() == GOOD


def test_the_realm_is_not_signed(ask, sign):
    header = sign().replace("OAuth ", 'OAuth realm="http%3A%2F%2Fanywhere%2F", ', 1)
    assert ask(header).json() == GOOD


def test_the_version_may_be_left_out(ask, sign):
    assert ask(sign(version=None)).json() == GOOD


def test_a_body_hash_is_signed_like_any_parameter(ask, sign):
    digest = b64encode(hashlib.sha1(BODY.encode()).digest()).decode()
    assert ask(sign(body_hash=digest)).json() == GOOD


def test_unknown_oauth_parameters_are_signed(ask, sign):
    assert ask(sign(something_new="a b+c&d=é")).json() == GOOD


def test_unknown_parameters_cannot_be_added_afterwards(ask, sign):
    assert_refused(ask(sign() + ', oauth_extra="1"'), "invalid_signature", "Invalid signature")


def test_a_plus_in_a_header_is_a_plus(ask, sign):
    header = sign(nonce="a+b")
    assert "a%2Bb" in header
    assert ask(header.replace("a%2Bb", "a+b")).json() == GOOD


def test_lower_case_escapes(ask, sign):
    header = sign(nonce="n/o/n/c/e")
    assert ask(header.replace("%2F", "%2f").replace("%3D", "%3d")).json() == GOOD


def test_query(ask, main, url):
    parameters = protocol_parameters(main)
    signed = signature_with("POST", url, parameters, main)
    query = as_form([*parameters, ("oauth_signature", signed)])
    assert ask(path=f"{PATH}?{query}").json() == GOOD


def test_query_of_an_app_alone(ask, main, url):
    parameters = protocol_parameters(main, user=False)
    signed = signature_with("POST", url, parameters, main, user=False)
    query = as_form([*parameters, ("oauth_signature", signed)])
    assert ask(path=f"{PATH}?{query}").json() == GOOD


@cases(
    ("query", "pairs"),
    [
        ("a=1", [("a", "1")]),
        ("b=2&a=1&a=0", [("b", "2"), ("a", "1"), ("a", "0")]),
        ("q=caf%C3%A9+au%20lait", [("q", "café au lait")]),
        ("empty=&bare", [("empty", ""), ("bare", "")]),
        ("a=%26%3D%25", [("a", "&=%")]),
        ("%61=x", [("a", "x")]),
    ],
)
def test_parameters_of_the_query_are_signed(ask, sign, query, pairs):
    assert ask(sign(more=pairs), path=f"{PATH}?{query}").json() == GOOD


def test_a_query_that_was_not_signed_is_refused(ask, sign):
    answer = ask(sign(), path=f"{PATH}?a=1")
    assert_refused(answer, "invalid_signature", "Invalid signature")


@pytest.mark.parametrize("host", ["ENGAGEMENT.Example", "data-api.twitter.com", "data-api.x.com"])
def test_any_host_is_served_and_signed_in_lower_case(ask, main, host):
    header = signed_header("POST", f"http://{host.lower()}{PATH}", main)
    assert ask(header, headers={"Host": host}).json() == GOOD


def test_the_default_port_is_not_signed(ask, main):
    header = signed_header("POST", f"http://data-api.example{PATH}", main)
    assert ask(header, headers={"Host": "data-api.example:80"}).json() == GOOD


def test_another_port_is_signed(ask, main):
    header = signed_header("POST", f"http://data-api.example:8443{PATH}", main)
    assert ask(header, headers={"Host": "data-api.example:8443"}).json() == GOOD


def test_json_with_a_form_content_type_signed_without_its_body(ask, sign):
    """curl sends JSON like this, and its user signed no body (api.md 1.4)."""
    assert ask(sign(), headers=FORM).json() == GOOD


def test_json_with_a_form_content_type_signed_with_its_body(ask, sign):
    """Read as a form, the body is one name without a value."""
    assert ask(sign(more=[(BODY, "")]), headers=FORM).json() == GOOD


def test_json_with_an_equals_sign_and_a_form_content_type(ask, sign):
    body = json.dumps(question("111", note="a=b&c=d"))
    pairs = [part.partition("=")[::2] for part in body.split("&")]
    assert ask(sign(more=pairs), body=body, headers=FORM).json() == GOOD
    assert ask(sign(), body=body, headers=FORM).json() == GOOD


@cases("seconds", [-290, -82, 0, 82, 290])
def test_a_clock_within_five_minutes(ask, sign, seconds):
    assert ask(sign(timestamp=str(int(time.time()) + seconds))).json() == GOOD


def test_a_long_nonce(ask, sign):
    assert ask(sign(nonce="n" * 500)).json() == GOOD


# Refused.


@pytest.mark.parametrize("seconds", [-86_400, -310, 310, 86_400])
def test_a_clock_beyond_five_minutes(ask, sign, seconds):
    answer = ask(sign(timestamp=str(int(time.time()) + seconds)))
    assert_refused(answer, "timestamp_out_of_bounds", "Timestamp out of bounds")


@pytest.mark.parametrize("text", ["0", "1"])
def test_a_timestamp_near_zero(ask, sign, text):
    assert_refused(ask(sign(timestamp=text)), "timestamp_out_of_bounds", "Timestamp out of bounds")


@cases("text", ["", "now", "-5", "1.5", " 5", "9" * 400, "١٢٣", "0x10", "1e9"])
def test_a_timestamp_that_is_not_a_number(ask, sign, text):
    assert_refused(ask(sign(timestamp=text)), "malformed_authorization", "Malformed authorization")


@pytest.mark.parametrize("nonce", ["é", "\u2603", "n\u00a0n", "\U0001f426"])
def test_a_nonce_that_is_not_ascii(ask, sign, nonce):
    assert_refused(ask(sign(nonce=nonce)), "malformed_authorization", "Malformed authorization")


@cases("method", ["PLAINTEXT", "RSA-SHA1", "HMAC-SHA256", "HMAC-SHA512", "hmac-sha1", "NONE"])
def test_another_signature_method(ask, sign, method):
    assert_refused(
        ask(sign(signature_method=method)),
        "unsupported_signature_method",
        "Signature method not supported",
    )


def test_plaintext_with_the_right_secrets(ask, main):
    parameters = protocol_parameters(main, signature_method="PLAINTEXT")
    secret = f"{main.consumer_secret}&{main.access_token_secret}"
    answer = ask(as_header([*parameters, ("oauth_signature", secret)]))
    assert answer.code == "unsupported_signature_method"
    assert main.consumer_secret not in answer.body.decode()


def test_another_version(ask, sign):
    assert_refused(ask(sign(version="2.0")), "malformed_authorization", "Malformed authorization")


REQUIRED = ("consumer_key", "nonce", "signature_method", "timestamp")


@pytest.mark.parametrize("name", REQUIRED)
def test_a_parameter_is_missing(ask, sign, name):
    answer = ask(sign(**{name: None}))
    assert_refused(answer, "malformed_authorization", "Malformed authorization")
    assert f"oauth_{name}" in answer.json()["errors"][0]


@pytest.mark.parametrize("name", REQUIRED)
def test_a_parameter_is_empty(ask, sign, name):
    answer = ask(sign(**{name: ""}))
    assert_refused(answer, "malformed_authorization", "Malformed authorization")


def test_the_signature_is_missing(ask, main):
    answer = ask(as_header(protocol_parameters(main)))
    assert_refused(answer, "malformed_authorization", "Malformed authorization")


@cases("name", [*REQUIRED, "signature", "token", "version"])
def test_a_parameter_stands_twice(ask, sign, name):
    header = sign()
    [part] = [each for each in header.split(", ") if f"oauth_{name}=" in each]
    answer = ask(f"{header}, {part.removeprefix('OAuth ')}")
    assert_refused(answer, "malformed_authorization", "Malformed authorization")


def test_parameters_in_header_and_query(ask, sign, main, url):
    parameters = protocol_parameters(main)
    query = as_form(
        [*parameters, ("oauth_signature", signature_with("POST", url, parameters, main))]
    )
    answer = ask(sign(), path=f"{PATH}?{query}")
    assert_refused(answer, "malformed_authorization", "Malformed authorization")


def test_parameters_split_between_header_and_query(ask, main, url):
    parameters = protocol_parameters(main)
    signed = ("oauth_signature", signature_with("POST", url, parameters, main))
    answer = ask(as_header([*parameters[:3], signed]), path=f"{PATH}?{as_form(parameters[3:])}")
    assert_refused(answer, "malformed_authorization", "Malformed authorization")


def test_parameters_in_query_and_form(ask, main, url):
    """The same ones twice are accepted, so the next check refuses a form as the body."""

    def signed():
        parameters = protocol_parameters(main)
        made = signature_with("POST", url, parameters, main)
        return as_form([*parameters, ("oauth_signature", made)])

    pairs = signed()
    answer = ask(path=f"{PATH}?{pairs}", body=pairs, headers=FORM)
    assert (answer.status, answer.code) == (400, "malformed_body")
    answer = ask(path=f"{PATH}?{signed()}", body=signed(), headers=FORM)
    assert_refused(answer, "malformed_authorization", "Malformed authorization")


def test_an_unknown_consumer_key(ask, sign):
    assert_refused(
        ask(sign(consumer_key="nobodys")), "consumer_key_not_found", "Consumer key not found"
    )


@pytest.mark.parametrize("token", ["101-nobodys", "x" * 5000, "\u2603"])
def test_an_unknown_access_token(ask, sign, token):
    assert_refused(ask(sign(token=token)), "access_token_not_found", "Access token not found")


def test_the_access_token_of_another_app(ask, world, url):
    parameters = protocol_parameters(world.main, token=world.bobs.access_token)
    secrets = (world.main.consumer_secret, world.bobs.access_token_secret)
    signed = signature_of("POST", url, parameters, secrets)
    answer = ask(as_header([*parameters, ("oauth_signature", signed)]))
    assert_refused(answer, "access_token_not_found", "Access token not found")


@pytest.mark.parametrize(
    ("method", "secrets"),
    [
        pytest.param("POST", "{0}x {1}", id="another consumer secret"),
        pytest.param("POST", "{0} {1}x", id="another token secret"),
        pytest.param("POST", "{0} ", id="no token secret"),
        pytest.param("POST", "{1} {0}", id="secrets exchanged"),
        pytest.param("GET", "{0} {1}", id="another method"),
    ],
)
def test_signed_for_another_method_or_with_other_secrets(ask, main, url, method, secrets):
    parameters = protocol_parameters(main)
    consumer, token = secrets.format(main.consumer_secret, main.access_token_secret).split(" ")
    signed = signature_of(method, url, parameters, (consumer, token))
    answer = ask(as_header([*parameters, ("oauth_signature", signed)]))
    assert_refused(answer, "invalid_signature", "Invalid signature")


@pytest.mark.parametrize(
    "signed_url",
    [
        "{server}/insights/engagement/28hr",
        "http://data-api.twitter.com/insights/engagement/totals",
        "{secure}/insights/engagement/totals",
        "{server}/insights/engagement/totals/",
        "{server}/insights/engagement/Totals",
    ],
)
def test_signed_for_another_address(ask, server, main, signed_url):
    secure = server.url.replace("http:", "https:")
    header = signed_header("POST", signed_url.format(server=server.url, secure=secure), main)
    assert_refused(ask(header), "invalid_signature", "Invalid signature")


def test_only_a_trusted_proxy_may_set_the_host(ask, main):
    header = signed_header("POST", f"https://data-api.twitter.com{PATH}", main)
    forwarded = {"X-Forwarded-Host": "data-api.twitter.com", "X-Forwarded-Proto": "https"}
    assert_refused(ask(header, headers=forwarded), "invalid_signature", "Invalid signature")


@cases("query", ["a=2", "", "a=1&b=2", "A=1", "a=1&a=1"])
def test_the_query_was_changed(ask, sign, query):
    answer = ask(sign(more=[("a", "1")]), path=f"{PATH}?{query}")
    assert_refused(answer, "invalid_signature", "Invalid signature")


@pytest.mark.parametrize("signature", ["AAAA", "x" * 5000, "%%%", "é", "=", "\x00"])
def test_no_signature_at_all(ask, main, signature):
    answer = ask(as_header([*protocol_parameters(main), ("oauth_signature", signature)]))
    assert_refused(answer, "invalid_signature", "Invalid signature")


def test_each_parameter_is_covered_by_the_signature(ask, sign):
    header = sign(body_hash="abc")
    for before, after in (('body_hash="abc"', 'body_hash="abd"'), ('version="1.0", ', "")):
        changed = header.replace(before, after)
        assert changed != header
    answer = ask(header.replace('body_hash="abc"', 'body_hash="abd"'))
    assert_refused(answer, "invalid_signature", "Invalid signature")


@cases(
    "header",
    [
        "OAuth",
        "OAuth ",
        "OAuth ,,,",
        "OAuth oauth_consumer_key",
        "OAuth oauth_consumer_key=abc",
        'OAuth oauth_consumer_key="abc',
        'OAuth oauth_consumer_key=""',
        'OAuth oauth_consumer_key="%zz"',
        'OAuth oauth_consumer_key="%C3%28"',
        'OAuth oauth_consumer_key="%"',
        'OAuth ="x"',
        "OAuth " + "," * 8000,
        "OAuth " + 'a="b",' * 3000,
    ],
)
def test_a_header_that_cannot_be_read(ask, header):
    answer = ask(header)
    assert_refused(answer, "malformed_authorization", "Malformed authorization")


@cases("query", ["a=%", "a=%z1", "%C3%28=1", "a=%C3", "%=1"])
def test_a_signed_query_that_cannot_be_read(server, sign, query):
    headers = [("Authorization", sign()), ("Accept-Encoding", "identity")]
    request = request_bytes("POST", f"{PATH}?{query}", headers, BODY.encode())
    answer = exchange(server.port, request)
    assert (answer.status, answer.headers["x-error-code"]) == (401, "malformed_authorization")


def test_a_bearer_token_and_a_signed_query(ask, server, main, url):
    parameters = protocol_parameters(main)
    signed = ("oauth_signature", signature_with("POST", url, parameters, main))
    bearer = server.bearer(main).token
    answer = ask(f"Bearer {bearer}", path=f"{PATH}?{as_form([*parameters, signed])}")
    assert_refused(answer, "malformed_authorization", "Malformed authorization")


def test_refusals_contain_no_secret(ask, main, world, url):
    parameters = protocol_parameters(main)
    right = signature_with("POST", url, parameters, main)
    answer = ask(as_header([*parameters, ("oauth_signature", "AAAA")]))
    text = answer.body.decode()
    assert right not in text
    assert not [secret for secret in world.secrets if secret in text]


# Replay.


def test_a_request_is_served_once(ask, sign):
    header = sign()
    assert ask(header).json() == GOOD
    answer = ask(header)
    assert_refused(answer, "nonce_used", "Nonce already used")


def test_a_nonce_may_be_used_again_with_another_timestamp_or_token(ask, sign, main, url):
    now = int(time.time())
    for changes in (
        {"timestamp": str(now)},
        {"timestamp": str(now + 1)},
        {"timestamp": str(now), "token": None},
    ):
        parameters = protocol_parameters(main, nonce="the same", **changes)
        user = "token" not in changes
        signed = signature_with("POST", url, parameters, main, user=user)
        assert ask(as_header([*parameters, ("oauth_signature", signed)])).json() == GOOD


def test_a_client_whose_nonce_is_the_second_calls_two_endpoints_in_it(ask, main, server):
    """As J7mbo/twitter-api-php does (api.md 4.1); a repeat of either is refused."""
    now = str(int(time.time()))
    paths = [PATH.replace("totals", endpoint) for endpoint in ("totals", "28hr", "historical")]
    headers = []
    for path in paths:
        parameters = protocol_parameters(main, nonce=now, timestamp=now)
        signed = signature_with("POST", server.url + path, parameters, main)
        headers.append(as_header([*parameters, ("oauth_signature", signed)]))
    for path, header in zip(paths, headers, strict=True):
        assert ask(header, path=path).status == 200
    for path, header in zip(paths, headers, strict=True):
        assert_refused(ask(header, path=path), "nonce_used", "Nonce already used")


def test_a_request_with_another_body_is_still_a_repeat(ask, sign):
    """No signature covers a JSON body, so the signature alone decides."""
    header = sign()
    assert ask(header).json() == GOOD
    answer = ask(header, body=BODY.replace("}", ' , "x": 1}', 1))
    assert_refused(answer, "nonce_used", "Nonce already used")


def test_a_bad_signature_does_not_use_a_nonce_up(ask, sign, main, url):
    parameters = protocol_parameters(main)
    for _ in range(2):
        answer = ask(as_header([*parameters, ("oauth_signature", "AAAA")]))
        assert_refused(answer, "invalid_signature", "Invalid signature")
    signed = signature_with("POST", url, parameters, main)
    assert ask(as_header([*parameters, ("oauth_signature", signed)])).json() == GOOD


@pytest.mark.parametrize(
    "settings",
    [
        {"forbidden_text": "authors", "always_list_unavailable": "true", "groupings_max": "10"}
        | {"replay_protection": "oauth"},
        {"partial_ownership": "true", "replay_protection": "off", "faithful": "true"}
        | {"trusted_proxies": "127.0.0.1/32", "allow_plain_http": "true"},
    ],
    ids=lambda settings: settings["replay_protection"],
)
def test_replay_protection_can_be_turned_off_for_the_data_api(servers, main, settings):
    server = servers(**settings)
    header = {"Authorization": signed_header("POST", server.url + PATH, main)}
    for _ in range(2):
        assert server.client.send("POST", PATH, body=BODY, headers=header).status == 200
    used = "SELECT last_used_s FROM access_tokens WHERE token = ?"
    wait_for(lambda: query_registry(server.data, used, main.access_token)[0][0])
