"""A form that arrived too late is kept for one account, one page and a quarter of an hour."""

import os
from base64 import b85encode, urlsafe_b64encode
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.responses import HTMLResponse

import openengagement
from openengagement.auth.keyring import Keyring
from openengagement.portal.form_origins import FormOrigins, page_of
from openengagement.portal.kept_forms import LIFETIME_S, SECRET_FIELDS, KeptForms
from openengagement.portal.page_request import PageRequest
from support.cases import cases

TEMPLATES = Path(openengagement.__file__).parent / "portal" / "templates"
NOW_S = 1_795_342_500
# The names of tests hold proofs: with random keys, each process would collect other names.
OLD, NEW = urlsafe_b64encode(b"o" * 32), urlsafe_b64encode(b"n" * 32)
ALICE, BOB = SimpleNamespace(account_id=101), SimpleNamespace(account_id=202)
OWN = {"sec-fetch-site": "same-origin", "origin": "null"}
PAGE = '<main><form method="post" action="/portal/new"><input name="name" value=""></form></main>'


class Clock:
    now_s = NOW_S + 0.5

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def kept_forms(clock):
    return open_with(clock, OLD)


def open_with(clock, *keys, header_max_bytes=32_768):
    return KeptForms(
        Keyring(keys),
        render_note=lambda context: f"<p>{sorted(context.items())}</p>",
        header_max_bytes=header_max_bytes,
        now_s=clock,
    )


def request(path="/portal/new", *, session=None, fields=None, cookie="", **more):
    return PageRequest(
        path=path,
        params={},
        query={},
        fields=fields or {},
        cookies={"oe_kept": cookie} if cookie else {},
        headers=more.get("headers", OWN),
        host="127.0.0.1:8000",
        secure=False,
        address="127.0.0.1",
        query_pairs=more.get("query_pairs", ()),
        session=session,
    )


def proof(page="/portal/new", *, session=ALICE, key=OLD, **more):
    return "x." + FormOrigins(Keyring([key])).prove(request(page, session=session, **more))


def late(fields=None, *, token=None, session=None, **more):
    given = {"name": "Tides", "csrf_token": proof() if token is None else token} | (fields or {})
    return request(session=session, fields=given, **more)


def keep(kept_forms, asked):
    """Keep a form and return its cookie; empty if it was refused."""
    page = kept_forms.keep(asked)
    assert (page is None) == ("kept" not in asked.set_cookies)
    return asked.set_cookies["kept"][0] if page else ""


def restore(kept_forms, cookie, *, session=ALICE, status=200, **more):
    asked = request(session=session, cookie=cookie, **more)
    response = HTMLResponse(PAGE, status)
    kept_forms.restore(asked, response)
    assert response.headers["content-length"] == str(len(response.body))
    return bytes(response.body).decode(), asked.set_cookies


def test_a_form_comes_back_once(kept_forms):
    asked = late()
    assert kept_forms.keep(asked) == "/portal/new"
    cookie, seconds = asked.set_cookies["kept"]
    assert seconds == LIFETIME_S
    html, set_cookies = restore(kept_forms, cookie)
    assert '<input name="name" value="Tides">' in html
    assert "('has_form', True), ('too_long', False)" in html
    assert set_cookies == {"kept": ("", 0)}


def test_the_cookie_is_encrypted(kept_forms):
    cookie = keep(kept_forms, late({"name": "TidesAndCurrents" * 3}))
    assert cookie.isascii()
    assert not set(cookie) & set('";, =\\')
    assert "TidesAndCurrents" not in cookie


@cases(
    "token",
    [
        *("", "x", "x.y", "x.y.z", "..", "x..", "a.b.c.d", "x.=.=", "x.é.é", "\x00.\x00.\x00"),
        proof(key=NEW),
        proof(session=None),
        proof()[:-1],
        proof() + "A",
        proof()[2:],
    ],
)
def test_a_form_without_a_valid_proof_is_not_kept(kept_forms, token):
    assert keep(kept_forms, late(token=token)) == ""


def test_changing_any_character_of_the_proof_makes_it_invalid(kept_forms):
    token = proof()
    for at in range(2, len(token) - 1):  # the last character may hold unused bits
        bad = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert keep(kept_forms, late(token=bad)) == "", at


@cases(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1"},
        {"origin": "https://127.0.0.1:8000"},
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:8000.evil.example"},
        *(
            {"sec-fetch-site": site, "origin": "http://127.0.0.1:8000"}
            for site in ("cross-site", "same-site", "none", "", "Same-Origin")
        ),
        {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
    ],
)
def test_a_form_that_may_come_from_elsewhere_is_not_kept(kept_forms, headers):
    """Otherwise another site could fill in a form of this one."""
    assert keep(kept_forms, late(headers=headers)) == ""


def test_a_browser_without_fetch_metadata_proves_the_origin(kept_forms):
    assert keep(kept_forms, late(headers={"origin": "http://127.0.0.1:8000"}))


def test_the_form_of_another_account_is_not_kept(kept_forms):
    assert keep(kept_forms, late(session=BOB)) == ""
    assert keep(kept_forms, late(session=ALICE))


def test_another_account_does_not_get_the_form(kept_forms):
    cookie = keep(kept_forms, late())
    assert restore(kept_forms, cookie, session=BOB) == (PAGE, {"kept": ("", 0)})
    assert kept_forms.find_waiting(request(session=BOB, cookie=cookie), "/portal/new") is None


def test_nobody_gets_the_form_before_the_sign_in(kept_forms):
    cookie = keep(kept_forms, late())
    assert restore(kept_forms, cookie, session=None) == (PAGE, {})


@pytest.mark.parametrize(
    "more",
    [
        {"path": "/portal"},
        {"path": "/portal/new/"},
        {"query_pairs": [("a", "b")]},
        {"status": 404},
        {"status": 303},
    ],
)
def test_the_form_waits_for_its_own_page(kept_forms, more):
    assert restore(kept_forms, keep(kept_forms, late()), **more) == (PAGE, {})


def test_the_query_of_the_page_is_kept(kept_forms):
    pairs = [("q", "a b&c"), ("page", "2"), ("q", "ü")]
    asked = late(token=proof(query_pairs=pairs))
    assert kept_forms.keep(asked) == "/portal/new?q=a+b%26c&page=2&q=%C3%BC"
    html, _ = restore(kept_forms, asked.set_cookies["kept"][0], query_pairs=pairs)
    assert "Tides" in html


def test_a_form_expires(kept_forms, clock):
    cookie = keep(kept_forms, late())
    clock.now_s = NOW_S + LIFETIME_S
    assert "Tides" in restore(kept_forms, cookie)[0]
    for now_s in (NOW_S + LIFETIME_S + 1, NOW_S + 86_400, NOW_S - 1):
        clock.now_s = now_s
        assert restore(kept_forms, cookie) == (PAGE, {"kept": ("", 0)})
        assert kept_forms.find_waiting(request(cookie=cookie), "/portal/new") is None


@cases("bad", ["x", "=", "A" * 100, "\xff", "é", "\x00", "A" * 10_000])
def test_an_invalid_cookie_yields_nothing_and_is_deleted(kept_forms, bad):
    assert restore(kept_forms, bad) == (PAGE, {"kept": ("", 0)})
    assert kept_forms.find_waiting(request(cookie=bad), "/portal/new") is None


def test_changing_the_cookie_makes_it_invalid(kept_forms):
    cookie = keep(kept_forms, late())
    for at in range(len(cookie) - 2):
        bad = cookie[:at] + ("A" if cookie[at] != "A" else "B") + cookie[at + 1 :]
        assert restore(kept_forms, bad)[0] == PAGE, at


def test_a_value_sealed_for_another_purpose_is_refused(kept_forms):
    sealed = '{"type":"once","session_id":"s1","subject":"7","secrets":{},"at_s":1795342500}'
    cookie = Keyring([OLD]).encrypt(sealed).decode().rstrip("=")
    assert restore(kept_forms, cookie)[0] == PAGE


def test_a_form_survives_a_rotation_of_the_server_key(kept_forms, clock):
    rotated = open_with(clock, NEW, OLD)
    assert "Tides" in restore(rotated, keep(kept_forms, late()))[0]
    assert keep(rotated, late()), "the proof is of the old key"
    assert keep(open_with(clock, NEW), late()) == ""


SECRETS = (
    *("password", "new_password", "password_again", "client_secret", "access_token", "code"),
    *("totp_code", "otp", "recovery_code", "csrf_token", "credential", "key", "pin"),
)


@cases("name", SECRETS)
def test_secrets_are_not_kept(kept_forms, name):
    page = PAGE.replace("<input", f'<input name="{name}" value=""><input')
    token = {} if name == "csrf_token" else {name: "a secret"}
    asked = request(session=ALICE, cookie=keep(kept_forms, late(token)))
    waiting = kept_forms.find_waiting(asked, "/portal/new")
    assert waiting.fields == {"name": "Tides"}
    response = HTMLResponse(page)
    kept_forms.restore(asked, response)
    assert b"a secret" not in response.body


def test_no_page_has_a_field_for_a_secret_that_would_be_kept():
    for path in TEMPLATES.glob("*.html"):
        for tag in path.read_text(encoding="utf-8").split("<input")[1:]:
            tag = tag.partition(">")[0]  # noqa: PLW2901
            if 'type="password"' in tag or "one-time-code" in tag:
                name = tag.partition(' name="')[2].partition('"')[0]
                assert SECRET_FIELDS.search(name), f"{path.name}: {name}"


def test_a_form_that_is_too_long_says_so(kept_forms):
    long = b85encode(os.urandom(8000)).decode()  # no compression shortens it
    cookie = keep(kept_forms, late({"name": long}))
    assert len(cookie) < 1000
    assert kept_forms.find_waiting(request(cookie=cookie), "/portal/new").fields is None
    html, _ = restore(kept_forms, cookie)
    assert "('too_long', True)" in html
    assert 'value=""' in html


def test_ordinary_long_text_fits(kept_forms):
    text = "\n".join(f"https://client.example/oauth/return?provider={n}" for n in range(100))
    html, _ = restore(kept_forms, keep(kept_forms, late({"name": text})))
    assert "provider=99" in html


def test_the_cookie_leaves_room_for_other_headers(clock):
    """Otherwise the browser could not send any request until the cookie expires."""
    small = open_with(clock, OLD, header_max_bytes=4096)
    text = b85encode(os.urandom(1600)).decode()
    assert len(keep(small, late({"name": text}))) <= 2048


@pytest.mark.parametrize("path", ["//evil.example/", "///evil.example", "/\\evil.example"])
def test_a_page_is_always_on_this_server(kept_forms, path):
    page = page_of(request(path))
    assert page.startswith("/")
    assert not page.startswith(("//", "/\\"))
    assert kept_forms.keep(late(token=proof(path))) == page


def test_the_query_of_a_long_address_is_dropped():
    assert page_of(request(query_pairs=[("q", "x" * 5000)])) == "/portal/new"
