"""A browser gets a page for every error; programs get what the wire says."""

import json

import pytest

from support.cases import cases
from support.oauth_server import FORM

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
MISSING = (
    *("/nowhere", "/Portal", "/portal/", "/portal/nowhere", "/portalx", "/settings", "/settings/"),
    *("/manage/nowhere", "/explore/x", "/overview/x", "/sign-in/x", "/static/x.css", "/docs/x"),
    *("//evil.example/x", "/a/b/c", "/favicon.ico", "/index.html", "/%00", "/\u00e4", "/<b>"),
)
API = (
    "/insights/x",
    "/insights/engagement/totals",
    "/platform/v1/x",
    "/oauth/x",
    "/oauth2/x",
    "/1.1/x.json",
    "/health/x",
)


def get(person, path, headers=HTML):
    return person.http.get(person.origin + path, headers=headers)


@cases("path", MISSING)
def test_an_unknown_address_is_a_page_with_a_way_on(oauth, alice, path):
    with oauth.person() as visitor:
        answer = get(visitor, path)
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert "There is no such page" in answer.text
        assert 'href="/sign-in"' in answer.text
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "<b>" not in answer.text
    answer = get(alice, path)
    assert (answer.status_code, 'href="/"' in answer.text) == (404, True)
    assert "@alice" in answer.text


@cases("path", API)
def test_calls_of_the_api_keep_their_answers(oauth, path):
    with oauth.person() as visitor:
        of_browser, of_program = get(visitor, path), get(visitor, path, {"Accept": "*/*"})
        assert of_browser.status_code == of_program.status_code
        assert of_browser.content == of_program.content
        assert b"<!doctype" not in of_browser.content


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_programs_get_json_at_an_unknown_address(oauth, method):
    with oauth.person() as visitor:
        answer = visitor.http.request(method, f"{oauth.url}/nowhere", headers={"Accept": "*/*"})
        assert answer.status_code == 404
        if method != "HEAD":
            assert json.loads(answer.content)["errors"][0]["code"] == 34


@cases(
    ("method", "path", "allowed"),
    [
        ("GET", "/sign-out", "POST"),
        ("GET", "/settings/apps/revoke", "POST"),
        ("POST", "/overview", "GET"),
        ("PUT", "/portal/new", "GET, POST"),
        ("DELETE", "/portal/apps/7/keys", "GET, POST"),
    ],
)
def test_an_address_that_only_takes_forms_has_a_page(alice, method, path, allowed):
    answer = alice.http.request(method, alice.origin + path, headers=HTML)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert "This address has no page" in answer.text
    assert 'href="/"' in answer.text


def test_a_form_that_cannot_be_read_gets_a_page(alice):
    answer = alice.http.post(f"{alice.origin}/portal/new", content="a=%zz", headers=FORM)
    assert answer.status_code == 400
    assert "The form cannot be read" in answer.text
    assert 'href="/"' in answer.text


def test_a_form_that_is_too_long_gets_a_page(oauth):
    with oauth.person() as visitor:
        body = "name=" + "x" * 20_000
        answer = visitor.http.post(f"{oauth.url}/portal/new", content=body, headers=FORM)
        assert answer.status_code == 413
        assert "The form is too long" in answer.text
        assert "/static/" in answer.text
        assert answer.headers["x-request-id"] in answer.text
        assert "style-src 'self'" in answer.headers["content-security-policy"]


def test_headers_that_are_too_long_get_a_page(oauth):
    with oauth.person() as visitor:
        answer = get(visitor, "/portal", {**HTML, "X-Long": "x" * 33_000})
        assert answer.status_code == 431
        assert "The address or the cookies are too long" in answer.text
