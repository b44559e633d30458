"""Forms are accepted only from our own pages, in the same browser, by the same person."""

import pytest

from support.cases import cases
from support.flows import CALLBACK, PASSWORD
from support.oauth_server import FORM
from support.signing import as_form

ACTIONS = (
    "/oauth/authorize",
    "/sign-in",
    "/sign-out",
    "/settings/apps/revoke",
    "/settings/sessions/revoke",
)
SAME = {**FORM, "Origin": "null", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def asking(oauth):
    return oauth.request_token(oauth.web, CALLBACK)


@pytest.fixture
def fields(oauth, alice, asking):
    """The fields that each action needs."""
    oauth.access_token_of(alice, oauth.other)
    mine = next(
        value
        for form in alice.open("/settings/apps").forms
        for name, value in form.fields
        if name == "session_id"
    )
    return {
        "/oauth/authorize": [("oauth_token", asking.access_token), ("decision", "authorize")],
        "/sign-in": [("screen_name", "bob"), ("password", PASSWORD)],
        "/sign-out": [],
        "/settings/apps/revoke": [("app_id", oauth.other.app_id)],
        "/settings/sessions/revoke": [("session_id", mine)],
    }


@pytest.fixture(scope="module", autouse=True)
def _second_session(oauth):
    """A second session of alice, which another session can end."""
    with oauth.person() as person:
        person.sign_in()
        yield


@pytest.fixture
def unchanged(oauth, alice, asking):
    """Check that alice has the same sessions and apps, and that nothing was authorized."""

    def check():
        assert "@alice" in alice.open("/settings/apps").html
        count = "select count(*) from {} where account_id = 101"
        assert oauth.sql(count.format("sessions")) == [(sessions,)]
        assert oauth.sql(app_ids) == apps
        token = asking.access_token
        found = oauth.sql("select account_id from request_tokens where token = ?", token)
        assert found == [(None,)]

    [(sessions,)] = oauth.sql("select count(*) from sessions where account_id = 101")
    assert sessions >= 2
    app_ids = "select app_id from access_tokens where account_id = 101 order by app_id"
    apps = oauth.sql(app_ids)
    return check


def csrf_of(person):
    return next(
        value
        for form in person.open("/sign-in").forms
        for name, value in form.fields
        if name == "csrf_token"
    )


def post(person, action, fields, headers=SAME):
    return person.http.post(
        person.origin + action, content=as_form(fields), headers={**FORM, **headers}
    )


def assert_refused(answer):
    assert answer.status_code == 403, answer
    assert "The form was not accepted" in answer.text
    assert "location" not in answer.headers
    assert "oe_session" not in answer.headers.get("set-cookie", "")


@cases("action", ACTIONS)
@cases("token", [None, "", "x", "A" * 43, "\x00", "é", "a" * 5000])
def test_a_form_without_its_token_is_refused(alice, fields, unchanged, action, token):
    given = [] if token is None else [("csrf_token", token)]
    assert_refused(post(alice, action, fields[action] + given))
    unchanged()


@pytest.fixture(scope="module")
def tokens_of_bob(oauth):
    """Form tokens of another browser, before and after its sign-in."""
    with oauth.person("bob") as bob:
        visitors = csrf_of(bob)
        bob.sign_in()
        return visitors, csrf_of(bob)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_token_of_another_browser_is_refused(alice, fields, tokens_of_bob, unchanged, action):
    """An attacker can get any number of tokens, but only for their own browser."""
    for token in tokens_of_bob:
        assert_refused(post(alice, action, [*fields[action], ("csrf_token", token)]))
    unchanged()


@cases("action", ACTIONS)
def test_a_form_of_another_origin_is_refused(alice, fields, unchanged, action):
    """The browser's own headers about the origin of the form."""
    sent = [*fields[action], ("csrf_token", csrf_of(alice))]
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "elsewhere"},
        {"Origin": "https://evil.example"},
        {"Origin": f"{alice.origin}.evil.example"},
        {"Origin": f"http://evil.example/{alice.origin}"},
        {"Origin": alice.origin.replace("127.0.0.1", "127.0.0.1@evil.example")},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://["},
        {"Origin": "http://[::1]]:80"},
        {"Origin": ""},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    ):
        assert_refused(post(alice, action, sent, headers))
    unchanged()


@cases("action", ACTIONS)
def test_a_repeated_or_misplaced_token_is_refused(alice, fields, unchanged, action):
    token = csrf_of(alice)
    twice = [*fields[action], ("csrf_token", token), ("csrf_token", token)]
    assert_refused(post(alice, action, twice))
    assert_refused(post(alice, f"{action}?csrf_token={token}", fields[action]))
    headers = {**SAME, "X-CSRF-Token": token}
    assert_refused(post(alice, action, fields[action], headers))
    unchanged()


@cases("action", ACTIONS)
@cases("kind", ["text/plain", "application/json", "multipart/form-data", ""])
def test_a_form_with_another_content_type_is_refused(alice, fields, unchanged, action, kind):
    """Content types that another site can send without a preflight request."""
    sent = [*fields[action], ("csrf_token", csrf_of(alice))]
    assert_refused(post(alice, action, sent, {**SAME, "Content-Type": kind}))
    unchanged()


@cases("action", ACTIONS)
def test_a_get_request_does_nothing(alice, fields, unchanged, action):
    """A link or an image sends a GET request."""
    sent = as_form([*fields[action], ("csrf_token", csrf_of(alice))])
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = alice.http.request(method, f"{alice.origin}{action}?{sent}")
        assert answer.status_code in {200, 403, 405}
        assert "location" not in answer.headers
    unchanged()


def test_nobody_can_be_signed_in_as_the_attacker(oauth):
    """Otherwise the victim would act in the attacker's account without noticing."""
    with oauth.person("bob") as attacker, oauth.person() as victim:
        token = csrf_of(attacker)
        victim.open("/sign-in")
        sent = [("screen_name", "bob"), ("password", PASSWORD), ("csrf_token", token)]
        assert_refused(post(victim, "/sign-in", sent))
        assert victim.open("/settings/apps").url.endswith("/sign-in?return_to=%2Fsettings%2Fapps")


def test_a_visitors_token_is_invalid_after_the_sign_in(oauth):
    """A token from before the sign-in, or of the previous session, must become invalid."""
    with oauth.person() as person:
        before = csrf_of(person)
        visitor = person.http.cookies["oe_visitor"]
        person.sign_in()
        person.http.cookies.set("oe_visitor", visitor, domain="127.0.0.1", path="/")
        first = csrf_of(person)
        assert before != first
        assert_refused(post(person, "/sign-out", [("csrf_token", before)]))
        page = person.sign_in(person.open("/sign-in"))  # once more, as a person who has to sign in
        second = csrf_of(person)
        assert page.status == 200
        assert_refused(post(person, "/sign-out", [("csrf_token", first)]))
        assert post(person, "/sign-out", [("csrf_token", second)]).status_code == 303


def test_a_token_belongs_to_one_session(oauth, alice):
    with oauth.person() as elsewhere:
        elsewhere.sign_in()
        assert_refused(post(alice, "/sign-out", [("csrf_token", csrf_of(elsewhere))]))


@cases(
    "app_id",
    ["", "x", "-1", "1e3", "0x1", "٣", "9223372036854775808", "9" * 19, "9" * 400, "1 or 1=1"],
)
def test_invalid_ids_are_ignored(oauth, alice, fields, unchanged, app_id):
    token = ("csrf_token", csrf_of(alice))
    for action, name in (
        ("/settings/apps/revoke", "app_id"),
        ("/settings/sessions/revoke", "session_id"),
    ):
        assert post(alice, action, [(name, app_id), token]).status_code == 303
    unchanged()


def test_nobody_revokes_for_another_person(oauth, alice, fields, unchanged):
    with oauth.person("bob") as bob:
        bob.sign_in()
        token = ("csrf_token", csrf_of(bob))
        for action in ("/settings/apps/revoke", "/settings/sessions/revoke"):
            assert post(bob, action, [*fields[action], token]).status_code == 303
    unchanged()


def test_a_decision_needs_a_session(oauth, asking, unchanged):
    with oauth.person() as stranger:
        token = ("csrf_token", csrf_of(stranger))
        sent = [("oauth_token", asking.access_token), ("decision", "authorize"), token]
        answer = post(stranger, "/oauth/authorize", sent)
        assert answer.status_code == 403
        assert "location" not in answer.headers
    unchanged()


@pytest.mark.parametrize("decision", ["", "Authorize", "yes", "authorize ", "cancel"])
def test_only_the_exact_value_gives_consent(oauth, alice, asking, decision):
    sent = [("oauth_token", asking.access_token), ("csrf_token", csrf_of(alice))]
    answer = post(alice, "/oauth/authorize", [*sent, ("decision", decision)])
    assert answer.status_code == 200
    assert "location" not in answer.headers
    assert oauth.exchange(asking, "").status == 401
