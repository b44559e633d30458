"""Attacks and faults of providers, people and strangers: no sign-in, and the reason is logged."""

import asyncio
import base64
import hmac
import json
import os
import re
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import RSAKey

from openengagement.auth.keyring import open_keyring
from support.openid_browser import Browser, alert
from support.openid_provider import CLIENT_SECRET, KEY, OTHER_KEY, public, query_of, sign_with
from support.server import Server
from support.waiting import PATIENCE_S, wait_for

ALICE = {"preferred_username": "alice"}
ENDED = "This sign-in has ended"
SILENT = "Harbour ID does not answer."
WRONG = "Harbour ID sent an answer that this server cannot trust."


def with_claims(**changes):
    """Changes claims; None removes a claim."""

    def bend(claims):
        bent = {**claims, **changes}
        return {name: value for name, value in bent.items() if value is not None}

    return bend


def b64(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def unsigned(claims):
    return f"{b64({'alg': 'none', 'kid': 'first'})}.{b64(claims)}."


def signed_for_another(claims):
    """The claims of one token with the signature of another."""
    head, _, signature = sign_with(KEY, "RS256")({**claims, "nonce": "other"}).split(".")
    return f"{head}.{b64(claims)}.{signature}"


def signed_by_hand(sign, **header):
    """Signs tokens that a library refuses to sign."""

    def make(claims):
        text = f"{b64({'kid': 'first', **header})}.{b64(claims)}"
        return f"{text}.{b64(sign(text.encode()))}"

    return make


def authenticated_with(secret):
    return signed_by_hand(lambda text: hmac.digest(secret, text, "sha256"), alg="HS256")


def rsa(text):
    return KEY.private_key.sign(text, PKCS1v15(), SHA256())


STRANGER = RSAKey.generate_key(2048, {"kid": "first"})
SIGNATURES = {
    "none": unsigned,
    "another token's": signed_for_another,
    "HS256 with the public key": authenticated_with(KEY.as_pem(private=False)),
    "HS256 with the client secret": authenticated_with(CLIENT_SECRET.encode()),
    "unknown key": sign_with(OTHER_KEY, "RS256"),
    "unknown key under a known name": sign_with(STRANGER, "RS256"),
    "its own key in the header": sign_with(STRANGER, "RS256", jwk=public(STRANGER), kid=None),
    "another algorithm than announced": sign_with(KEY, "RS384"),
    "an extension we must know": signed_by_hand(rsa, alg="RS256", crit=["x"], x=1),
    "a payload that is not encoded": signed_by_hand(rsa, alg="RS256", crit=["b64"], b64=False),
    "nothing": lambda claims: "",
    "no token": lambda claims: "a.b.c",
    "five parts": lambda claims: "a.b.c.d.e",
    "not an object": lambda claims: sign_with(KEY, "RS256")([1]),
}


def refused(page, text, status):
    """The page shows this error, and no session was opened."""
    assert page.status == status, page
    assert alert(page).startswith(text), page
    assert "oe_session" not in page.response.headers.get("set-cookie", "")
    return True


def try_to(browser, provider, **claims):
    return browser.open(provider.approve(browser.go_to_provider(), **(claims or ALICE)))


def test_a_correct_token_signed_by_hand_is_accepted(browser, provider):
    provider.sign = signed_by_hand(rsa, alg="RS256")
    try_to(browser, provider)
    assert browser.is_signed_in


@pytest.mark.parametrize("signature", SIGNATURES)
def test_an_invalid_signature_is_refused(browser, provider, signature):
    provider.sign = SIGNATURES[signature]
    refused(try_to(browser, provider), WRONG, 502)
    assert not browser.is_signed_in


NOW = int(time.time())
PROVIDER_WAITS_S = 90  # the server itself waits for five seconds
CLAIMS = {
    "another issuer": {"iss": "http://127.0.0.1:1"},
    "an issuer and a slash": {"iss": "/"},
    "issuers": {"iss": []},
    "no issuer": {"iss": None},
    "another client": {"aud": "other"},
    "other clients": {"aud": ["other", "more"]},
    "part of a name": {"aud": "engagement2"},
    "no audience": {"aud": None},
    "an empty audience": {"aud": []},
    "several, and nobody named": {"aud": ["engagement", "other"]},
    "several, and another named": {"aud": ["engagement", "other"], "azp": "other"},
    "asked for by another": {"azp": "other"},
    "another nonce": {"nonce": "x" * 43},
    "no nonce": {"nonce": None},
    "nonces": {"nonce": ["x"]},
    "expired": {"exp": NOW - 120},
    "no end": {"exp": None},
    "an end that never comes": {"exp": float("nan")},
    "an end in words": {"exp": "tomorrow"},
    "made tomorrow": {"iat": NOW + 86_400},
    "made at no time": {"iat": None},
    "not yet good": {"nbf": NOW + 86_400},
    "nobody": {"sub": None},
    "nobody in particular": {"sub": ""},
    "a number": {"sub": 101},
}


@pytest.mark.parametrize("change", CLAIMS)
def test_claims_for_another_sign_in_are_refused(browser, provider, change):
    changes = dict(CLAIMS[change])
    if changes.get("iss") == "/":
        changes["iss"] = f"{provider.issuer}/"
    provider.bend_claims = with_claims(**changes)
    refused(try_to(browser, provider), WRONG, 502)


def test_the_log_has_the_reason_and_no_secrets(site, browser, provider):
    provider.bend_claims = with_claims(aud="other")
    link = browser.go_to_provider()
    back = provider.approve(link, **ALICE)
    refused(browser.open(back), WRONG, 502)
    assert '"event": "openid_failed", "reason": "id_token invalid_claim"' in site.log()
    asked, code = query_of(link), query_of(back)["code"]
    for secret in (CLIENT_SECRET, asked["state"], asked["nonce"], code, "an-access-token"):
        assert secret not in site.log()


# --- the token endpoint and userinfo ----------------------------------------------------------

HTML = {"content-type": "text/html"}
ANSWERS = {
    "it fails": (500, {}, b"no", SILENT, 503),
    "it is being mended": (503, {}, b"{}", SILENT, 503),
    "it redirects": (302, {"location": "/keys"}, b"", WRONG, 502),
    "a page": (200, HTML, b"<h1>Welcome</h1>", WRONG, 502),
    "nothing": (200, {}, b"", WRONG, 502),
    "a list": (200, {}, b"[]", WRONG, 502),
    "no ID token": (200, {}, b'{"access_token":"x"}', WRONG, 502),
    "a number for a token": (200, {}, b'{"id_token":1}', WRONG, 502),
    "deeply nested": (200, {}, b"[" * 100_000, WRONG, 502),
    "too much": (200, {}, b" " * 2_000_000, WRONG, 502),
    "cut off": (200, {"content-length": "999"}, b"{", SILENT, 503),
    "bad gzip": (200, {"content-encoding": "gzip"}, b"x", WRONG, 502),
    "it knows no such code": (400, {}, b'{"error":"invalid_grant"}', ENDED, 403),
    "it knows no such client": (401, {}, b'{"error":"invalid_client"}', WRONG, 502),
    "an error of its own": (400, {}, b'{"error":"<script>"}', WRONG, 502),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_a_token_endpoint_that_fails(browser, provider, case):
    *answer, text, status = ANSWERS[case]
    provider.answers["/token"] = tuple(answer)
    page = try_to(browser, provider)
    refused(page, text, status)
    assert "<script>" not in page.html


@pytest.mark.parametrize(
    ("userinfo", "text", "status"),
    [
        ({"sub": "249", **ALICE}, WRONG, 502),
        (ALICE, WRONG, 502),
        ({}, "You are signed in at Harbour ID, but no account of this platform", 403),
    ],
)
def test_userinfo_about_another_person_is_refused(browser, provider, userinfo, text, status):
    provider.userinfo = userinfo
    refused(try_to(browser, provider, sub="248"), text, status)


def test_claims_of_the_id_token_override_userinfo(browser, provider):
    provider.userinfo = {"sub": "248", "preferred_username": "bob"}
    try_to(browser, provider)
    assert browser.signed_in_as == "alice"


# --- slow, unreachable, with wrong metadata -----------------------------------------------------


@pytest.fixture(scope="module")
def patient_site(world, running_provider):
    """A server that does not give up a call, so that a slow machine has time for all of them."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patient = str(Path(__file__).with_name("patient_calls"))
            patch.setenv("PYTHONPATH", patient, prepend=os.pathsep)
            server = stack.enter_context(Server(world, settings=running_provider.settings))
        yield server


def test_a_slow_provider_does_not_delay_other_requests(patient_site, provider):
    provider.waits_s["/token"] = PATIENCE_S
    provider.answers["/token"] = (503, {}, b"{}")
    done = []

    def wait():
        with Browser(patient_site.url) as browser:
            page = try_to(browser, provider)
            done.append((page.status, alert(page)))

    waiting = [threading.Thread(target=wait) for _ in range(12)]
    for each in waiting:
        each.start()
    try:
        wait_for(lambda: provider.asked.count("/token") == len(waiting))
        with Browser(patient_site.url) as other:
            assert other.open("/sign-in").status == 200
            assert other.go_to_provider()
        assert done == [], "somebody does not wait any more"
    finally:
        provider.goes_on.set()
        for each in waiting:
            each.join()
    assert set(done) == {(503, "Harbour ID does not answer. Try again in a moment.")}


def test_a_sign_in_does_not_wait_for_a_slow_provider(browser, provider):
    provider.waits_s["/token"] = PROVIDER_WAITS_S
    began = time.monotonic()
    refused(try_to(browser, provider), SILENT, 503)
    assert time.monotonic() - began < PROVIDER_WAITS_S


def test_the_number_of_waiting_sign_ins_is_limited(patient_site, provider):
    provider.waits_s["/token"] = PATIENCE_S
    provider.answers["/token"] = (503, {}, b"{}")
    with Browser(patient_site.url) as browser:
        url = provider.approve(browser.go_to_provider(), **ALICE)
        cookies = dict(browser.http.cookies)

    def all_wait_or_were_refused(asked):
        refused = sum(each.done() for each in asked)
        return provider.asked.count("/token") + refused == len(asked)

    async def crowd():
        async with httpx.AsyncClient(
            cookies=cookies, timeout=PATIENCE_S, trust_env=False
        ) as client:
            asked = [asyncio.create_task(client.get(url)) for _ in range(70)]
            await asyncio.to_thread(wait_for, lambda: all_wait_or_were_refused(asked))
            provider.goes_on.set()
            return await asyncio.gather(*asked)

    answers = asyncio.run(crowd())
    provider.behave()
    away = [answer for answer in answers if answer.headers.get("retry-after") == "2"]
    assert len(away) == 70 - 64
    assert {answer.status_code for answer in answers} == {503}
    assert all("Too many people are signing in" in answer.text for answer in away)
    with Browser(patient_site.url) as browser:
        try_to(browser, provider)
        assert browser.is_signed_in


@pytest.fixture(scope="module")
def lost(servers, running_provider):
    """A server that has not yet fetched the provider's metadata."""
    return servers(**running_provider.settings, oidc_scope="profile openid")


@pytest.fixture
def at_lost(lost):
    with Browser(lost.url) as running:
        yield running


def press(browser):
    page = browser.open("/sign-in")
    return browser.submit(page, page.form_with(action="/sign-in/oidc"))


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "http://127.0.0.1:1"},
        {"issuer": None},
        {"token_endpoint": "http://169.254.169.254/latest"},
        {"token_endpoint": "file:///etc/passwd"},
        {"userinfo_endpoint": "ftp://127.0.0.1/"},
        {"jwks_uri": "/keys"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": 'https://login.example/"><script>'},
        {"authorization_endpoint": "https://user:password@login.example/"},
        {"authorization_endpoint": "https://login.example:port/"},
        {"authorization_endpoint": None},
        {"id_token_signing_alg_values_supported": "RS256"},
    ],
)
def test_an_invalid_discovery_document_is_refused(at_lost, provider, discovery):
    provider.discovery = discovery
    refused(press(at_lost), WRONG, 502)


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys"])
@pytest.mark.parametrize(
    ("answer", "text", "status"),
    [
        ((404, {}, b"{}"), WRONG, 502),
        ((500, {}, b"{}"), SILENT, 503),
        ((302, {"location": "http://169.254.169.254/"}, b""), WRONG, 502),
        ((200, {}, b"\xff"), WRONG, 502),
        ((200, {}, b" " * 2_000_000), WRONG, 502),
    ],
)
def test_discovery_that_fails(at_lost, provider, path, answer, text, status):
    provider.answers[path] = answer
    refused(press(at_lost), text, status)


def test_concurrent_sign_ins_share_one_discovery(lost, provider):
    provider.waits_s["/.well-known/openid-configuration"] = PROVIDER_WAITS_S
    pages = []

    def wait():
        with Browser(lost.url) as browser:
            pages.append(press(browser))

    waiting = [threading.Thread(target=wait) for _ in range(6)]
    for each in waiting:
        each.start()
    for each in waiting:
        each.join()
    provider.waits_s.clear()
    assert [refused(page, SILENT, 503) for page in pages] == [True] * 6
    assert provider.asked.count("/.well-known/openid-configuration") < 3


# --- strangers -----------------------------------------------------------------------------------


def test_an_attackers_answer_in_another_browser_is_refused(browser, other_browser, provider):
    """Login CSRF: the victim's browser opens the attacker's own answer."""
    url = provider.approve(other_browser.go_to_provider(), preferred_username="bob")
    refused(browser.open(url), ENDED, 403)
    browser.go_to_provider()
    refused(browser.open(url), ENDED, 403)
    assert not browser.is_signed_in
    assert "/token" not in provider.asked


def test_an_answer_is_accepted_once(browser, provider):
    url = provider.approve(browser.go_to_provider(), **ALICE)
    browser.open(url)
    assert browser.is_signed_in
    browser.sign_out()
    refused(browser.open(url), ENDED, 403)
    assert not browser.is_signed_in


def test_a_code_is_accepted_once_even_with_a_copied_cookie(browser, other_browser, provider):
    url = provider.approve(browser.go_to_provider(), **ALICE)
    copied = dict(browser.http.cookies)
    browser.open(url)
    other_browser.http.cookies.update(copied)
    refused(other_browser.open(url), ENDED, 403)


def test_the_code_of_another_sign_in_is_refused(browser, other_browser, provider):
    """PKCE and nonce make a stolen code useless."""
    stolen = query_of(provider.approve(browser.go_to_provider(), **ALICE))["code"]
    url = provider.approve(other_browser.go_to_provider(), preferred_username="bob")
    own = query_of(url)["code"]
    refused(other_browser.open(url.replace(own, stolen)), ENDED, 403)


def test_a_newer_sign_in_ends_an_older(browser, provider):
    older = provider.approve(browser.go_to_provider(), **ALICE)
    newer = provider.approve(browser.go_to_provider(), **ALICE)
    refused(browser.open(older), ENDED, 403)
    assert browser.open(newer).status == 200
    assert browser.is_signed_in


@contextmanager
def logged(site, *reasons):
    """The log of the block has exactly these reasons."""
    before = len(site.log())
    yield
    events = [json.loads(line) for line in site.log()[before:].splitlines()]
    assert [each["reason"] for each in events if each["event"] == "openid_failed"] == list(reasons)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda url, asked: url.replace(asked["state"], "x" * 43), "state_different"),
        (lambda url, asked: url.replace(asked["state"], ""), "state_different"),
        (lambda url, asked: url.replace(asked["state"], "%FF%00"), "state_different"),
        (lambda url, asked: url.replace("state=", "other="), "state_different"),
        (lambda url, asked: url.replace("code=", "other="), "code_missing"),
        (lambda url, asked: url.partition("&iss=")[0], "issuer_different"),
        (lambda url, asked: url + "2", "issuer_different"),
        (lambda url, asked: url.partition("&iss=")[0] + "&iss=", "issuer_different"),
        (lambda url, asked: url.partition("?")[0], "state_different"),
    ],
)
def test_an_answer_with_changed_parameters_is_refused(site, browser, provider, change, reason):
    """Mix-up too: the provider announces that it sends `iss`, so `iss` is required (RFC 9207)."""
    link = browser.go_to_provider()
    url = change(provider.approve(link, **ALICE), query_of(link))
    with logged(site, reason):
        refused(browser.open(url), ENDED, 403)
    assert "/token" not in provider.asked


@pytest.mark.parametrize("cookie", ["", "x", "gAAAAA", "\u00ff", "=" * 40])
def test_a_missing_or_forged_cookie_is_refused(site, browser, provider, cookie):
    url = provider.approve(browser.go_to_provider(), **ALICE)
    with Browser(browser.origin) as other:
        sent = f"oe_openid={cookie}".encode("latin-1")
        with logged(site, "cookie_unreadable" if cookie else "cookie_missing"):
            page = other.http.get(url, headers={"Cookie": sent})
        assert page.status_code == 403
        assert ENDED in page.text


def test_a_sign_in_that_took_too_long_is_refused(site, browser, provider):
    """The log has its age."""
    url = provider.approve(browser.go_to_provider(), **ALICE)
    keyring = open_keyring(site.data / "server.key")
    cookie = browser.http.cookies["oe_openid"]
    attempt = json.loads(keyring.decrypt(f"{cookie}{'=' * (-len(cookie) % 4)}".encode()))
    attempt["started_s"] = int(time.time()) - 3600
    aged = keyring.encrypt(json.dumps(attempt)).decode().rstrip("=")
    browser.http.cookies.set("oe_openid", aged, domain="127.0.0.1", path="/")
    before = len(site.log())
    refused(browser.open(url), ENDED, 403)
    assert re.search(r'"openid_failed", "reason": "too_old 36\d\d s"', site.log()[before:])
    assert "/token" not in provider.asked


def test_a_code_that_the_provider_refuses_is_logged(site, browser, provider):
    provider.answers["/token"] = (400, {}, b'{"error":"invalid_grant"}')
    with logged(site, "code_refused"):
        refused(try_to(browser, provider), ENDED, 403)


def test_the_provider_error_text_is_not_shown(browser, provider):
    asked = query_of(browser.go_to_provider())
    query = f"error=access_denied&error_description=<b>Call+555-0199</b>&iss={provider.issuer}"
    url = f"{asked['redirect_uri']}?{query}&state={asked['state']}"
    page = browser.open(url)
    refused(page, "Harbour ID did not sign you in.", 403)
    assert "555-0199" not in page.html
    refused(browser.open(url), ENDED, 403)


@pytest.mark.parametrize(
    ("error", "logged"), [("invalid_scope", "denied invalid_scope"), ("+555-0199+", "denied other")]
)
def test_the_log_has_the_standard_error_code(site, browser, provider, error, logged):
    asked = query_of(browser.go_to_provider())
    query = f"error={error}&iss={provider.issuer}&state={asked['state']}"
    refused(browser.open(f"{asked['redirect_uri']}?{query}"), "Harbour ID did not", 403)
    assert f'"event": "openid_failed", "reason": "{logged}"' in site.log()
    assert "555-0199" not in site.log()


def test_a_forged_error_answer_does_not_end_a_sign_in(browser, provider):
    url = provider.approve(browser.go_to_provider(), **ALICE)
    browser.open(f"{browser.origin}/sign-in/oidc/callback?error=access_denied&state=x")
    assert browser.open(url).status == 200
    assert browser.is_signed_in


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({}, {}),
        ({"csrf_token": "x"}, {}),
        (None, {"Sec-Fetch-Site": "cross-site"}),
        (None, {"Origin": "https://evil.example"}),
    ],
)
def test_a_sign_in_can_only_be_started_from_our_own_page(browser, provider, fields, headers):
    form = browser.open("/sign-in").form_with(action="/sign-in/oidc")
    given = dict(form.fields) if fields is None else fields
    answer = browser.http.post(f"{browser.origin}/sign-in/oidc", data=given, headers=headers)
    assert answer.status_code == 403
    assert "location" not in answer.headers
    assert "oe_openid" not in answer.headers.get("set-cookie", "")


def test_an_earlier_session_is_replaced(browser, provider):
    """Session fixation."""
    try_to(browser, provider)
    before = browser.http.cookies["oe_session"]
    try_to(browser, provider, preferred_username="bob")
    assert browser.http.cookies["oe_session"] != before
    with Browser(browser.origin) as other:
        other.http.cookies.set("oe_session", before)
        assert not other.is_signed_in
