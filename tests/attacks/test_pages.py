"""Pages cannot be framed, run no foreign script and send no referrer."""

import json
import re

import pytest

from support.calls import Bearer
from support.cases import cases
from support.flows import CALLBACK, OOB
from support.oauth_server import FORM, stay_in_window
from support.signing import as_form

POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "img-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}
HEADERS = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
}
SCRIPTS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title><svg/onload=alert(1)>",
    "{{7919*7907}}{% raw %}${7919*7907}<%= 7919*7907 %>",
    "&lt;script&gt;&#60;b&#62;",
    "x--><!--",
    "<bdi></main><base href=//evil.example>",
]


def assert_guarded(answer, *, form_targets=(), scripts=False):
    for name, value in HEADERS.items():
        assert answer.headers[name] == value, name
    assert len(answer.headers["x-request-id"]) == 16
    given = dict(
        each.split(None, 1) for each in answer.headers["content-security-policy"].split("; ")
    )
    forms = given.pop("form-action")
    assert given == POLICY | ({"script-src": "'self'"} if scripts else {})
    assert set(forms.split()) <= {"'self'", "'none'", *form_targets}


@pytest.fixture(scope="module")
def asking(oauth):
    return oauth.request_token(oauth.web, CALLBACK)


# Frames, caches and referrers.


@cases(
    ("path", "status"),
    [
        ("/sign-in", 200),
        ("/sign-in?return_to=/settings/apps&screen_name=x", 200),
        ("/settings/apps", 303),
        ("/manage", 303),
        ("/manage/usage.csv", 303),
        ("/manage/apps/10000001", 303),
        ("/oauth/authorize", 403),
        ("/oauth/authorize?oauth_token=x", 403),
        ("/oauth/authenticate?oauth_token=x", 403),
        ("/settings/", 404),
        ("/settings/apps/revoke", 405),
        ("/sign-out", 405),
        ("/sign-in/x", 404),
        ("/static/x", 404),
    ],
)
def test_security_headers_of_pages_for_visitors(oauth, path, status):
    with oauth.person() as person:
        answer = person.http.get(oauth.url + path)
    assert answer.status_code == status
    assert_guarded(answer)


def test_security_headers_of_refused_forms(oauth, alice):
    actions = ("/sign-in", "/sign-out", "/oauth/authorize", "/settings/apps/revoke")
    for action in (*actions, "/manage/apps/10000001"):
        for sent in ("a=b", "%"):
            answer = alice.http.post(oauth.url + action, content=sent, headers=FORM)
            assert answer.status_code in {400, 403}
            assert_guarded(answer)


def test_security_headers_of_the_consent_pages(oauth, alice, asking):
    """Consent, PIN, denial, redirect and account settings."""
    page = alice.open(oauth.consent_url(asking))
    assert_guarded(page.response, form_targets=["https:"])
    assert "form-action 'self' https:;" in page.response.headers["content-security-policy"]
    with oauth.person() as stranger:
        assert_guarded(stranger.open(oauth.consent_url(asking)).response, form_targets=["https:"])
    page = alice.open(oauth.consent_url(oauth.request_token(oauth.web, CALLBACK)))
    sent = as_form(page.form_sending("decision", "authorize").filled(decision="authorize"))
    answer = alice.http.post(f"{oauth.url}/oauth/authorize", content=sent, headers=FORM)
    assert answer.status_code == 302
    assert_guarded(answer)
    assert_guarded(
        alice.decide(oauth.consent_url(oauth.request_token(oauth.web)), "authorize").response
    )
    assert_guarded(
        alice.decide(oauth.consent_url(oauth.request_token(oauth.web)), "cancel").response
    )
    assert_guarded(alice.open("/settings/apps").response, scripts=True)


def test_links_to_other_sites_send_no_referrer(oauth, alice):
    page = alice.decide(oauth.consent_url(oauth.request_token(oauth.web, CALLBACK)), "cancel")
    assert 'rel="noreferrer"' in page.html
    made = oauth.server.command(
        "app", "add", "Far", "--owner", "bob", "--website", "https://far.example/"
    )
    app = type(oauth.web)(made["app_id"], made["consumer_key"], made["consumer_secret"], "", "")
    page = alice.open(oauth.consent_url(oauth.request_token(app, OOB)))
    assert 'rel="noopener noreferrer nofollow"' in page.html


def test_answers_with_secrets_are_not_cached(oauth, alice):
    holder = oauth.access_token_of(alice, oauth.web)
    for answer in (
        oauth.call("/oauth/request_token", oauth.web, callback=OOB),
        oauth.verify_credentials(holder),
        oauth.exchange(*oauth.authorize_request(alice, oauth.web)),
    ):
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-store"


def test_no_page_allows_another_origin_to_read_it(oauth, alice):
    for path in ("/sign-in", "/settings/apps", "/oauth/authorize", "/oauth/request_token"):
        answer = alice.http.get(oauth.url + path, headers={"Origin": "https://evil.example"})
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert alice.http.options(oauth.url + "/settings/apps").status_code == 405


# Text of strangers.


def app_called(oauth, name, **options):
    given = [f"--{key}={value}" for key, value in options.items()]
    made = oauth.server.command(
        "app", "add", name, "--owner", "bob", f"--callback={CALLBACK}", *given
    )
    return type(oauth.web)(made["app_id"], made["consumer_key"], made["consumer_secret"], "", "")


def assert_plain(html, text):
    """Check that the text is shown and that none of it became markup."""
    # Our own, in static files.
    html = re.sub(r'<script src="/static/(messages-en|language|page)\.', "", html)
    for dangerous in ("<script", "<img", "<svg/", "<base", "onmouseover='alert", "evil.example>"):
        assert dangerous not in html.replace("&#39;", "&apos;").replace("&lt;", "&LT;")
    assert text not in html or not set(text) & set("<>\"'&")
    assert "62615533" not in html  # 7919 * 7907


@cases("text", SCRIPTS)
def test_scripts_in_the_texts_of_an_app_do_not_run(oauth, alice, text):
    app = app_called(oauth, text, description=text)
    asking = oauth.request_token(app, CALLBACK)
    page = alice.open(oauth.consent_url(asking))
    assert page.form_sending("decision", "authorize")
    assert_plain(page.html, text)
    with oauth.person() as stranger:
        assert_plain(stranger.open(oauth.consent_url(asking)).html, text)
    assert_plain(
        alice.decide(oauth.consent_url(oauth.request_token(app, CALLBACK)), "cancel").html, text
    )
    assert_plain(alice.decide(oauth.consent_url(oauth.request_token(app)), "authorize").html, text)
    oauth.access_token_of(alice, app)
    page = alice.open("/settings/apps")
    assert_plain(page.html, text)
    alice.revoke(app.app_id)


@cases("text", [*SCRIPTS, "javascript:alert(1)", "https://x.example/'\"><script>"])
def test_scripts_written_directly_to_the_registry_do_not_run(oauth, alice, text):
    """Names, owners and websites that bypassed all validation."""
    made = app_called(oauth, "Innocent", website="https://innocent.example/")
    app_id = int(made.app_id)
    oauth.sql(
        "update apps set name = ?, website = ?, description = ? where id = ?",
        text,
        text,
        text,
        app_id,
    )
    oauth.sql("update accounts set screen_name = ? where screen_name_key = 'alice'", text)
    oauth.sql("update accounts set screen_name = ? where screen_name_key = 'bob'", text)
    try:
        page = alice.open(oauth.consent_url(oauth.request_token(made, CALLBACK)))
        assert_plain(page.html, text)
        assert 'href="javascript:' not in page.html
        alice.answer(page, "authorize")
        assert_plain(alice.open("/settings/apps").html, text)
    finally:
        for name in ("alice", "bob"):
            oauth.sql("update accounts set screen_name = ? where screen_name_key = ?", name, name)


@cases("text", SCRIPTS)
def test_scripts_in_a_url_do_not_run(oauth, alice, text):
    for browser in (alice, oauth.person()):
        for path in ("/sign-in", "/oauth/authorize", "/oauth/authenticate", "/settings/apps", "/x"):
            names = ("return_to", "screen_name", "oauth_token", "force_login", text)
            query = as_form([(name, text) for name in names])
            assert_plain(browser.http.get(f"{oauth.url}{path}?{query}").text, text)
            assert_plain(browser.http.get(f"{oauth.url}{path}/{as_form([('', text)])}").text, text)
    browser.http.close()


@pytest.mark.parametrize("text", SCRIPTS[:3])
def test_scripts_in_a_form_or_a_user_agent_do_not_run(oauth, text):
    stay_in_window()
    with oauth.person() as person:
        person.http.headers["User-Agent"] = f"Firefox/1 {text}"
        form = dict(person.open("/sign-in").form_with("password").fields)
        sent = form | {"screen_name": text, "return_to": text, "password": text}
        oauth.count_guesses(10, of="both", name=text.casefold(), address="127.0.0.1")
        answer = person.http.post(f"{oauth.url}/sign-in", data=sent)
        assert answer.status_code == 429
        assert_plain(answer.text, text)
        person.sign_in()
        page = person.open("/settings/apps")
        assert_plain(page.html, text)
        assert "Firefox" in page.html
        person.sign_out()


@cases("name", ["<b>", "a b", "a'b", "\u202ebob", "a\x00", "", "x" * 65, "b\u200bob"])
def test_invalid_screen_names_are_refused(oauth, world, name):
    """Neither the command nor the platform API accepts them."""
    with pytest.raises(AssertionError, match="is not 1 to 64 letters"):
        oauth.server.command("account", "add", name)
    row = json.dumps({"id": "777", "screen_name": name})
    answer = oauth.server.client.send(
        "POST", "/platform/v1/accounts", body=f"[{row}]", auth=Bearer(world.platform_key)
    )
    assert answer.status in {400, 422}
    assert not oauth.sql("select 1 from accounts where id = 777")


@cases("name", ["\u202eknaB eht", "a\x00b", "Bank\u2066", "x" * 129, " ", "a\nb", "\u200b"])
def test_invalid_names_of_apps_are_refused(oauth, name):
    """Names that reverse or hide a part of themselves."""
    with pytest.raises(AssertionError, match="visible characters"):
        oauth.server.command("app", "add", name, "--owner", "bob")


def test_the_name_of_an_app_is_marked_as_a_name(oauth, alice):
    """A long name that imitates our texts stays marked as a name."""
    name = "Open Engagement. You are safe here; press Authorize"
    page = alice.open(oauth.consent_url(oauth.request_token(app_called(oauth, name), CALLBACK)))
    assert f'<bdi class="name" translate="no">{name}</bdi>' in " ".join(page.html.split())


def test_error_pages_reveal_no_internals(oauth, alice):
    for path in ("/oauth/authorize?oauth_token=x", "/settings/x", "/static/x", "/x", "/sign-in/x"):
        # The random text of a token may hold `.py`.
        text = re.sub(r'name="csrf_token" value="[^"]*"', "", alice.http.get(oauth.url + path).text)
        for inside in (
            "Traceback",
            "openengagement.",
            "sqlite",
            "starlette",
            ".py",
            str(oauth.server.data),
        ):
            assert inside not in text.lower()
