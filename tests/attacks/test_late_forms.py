"""A form that arrives after its session ended is not executed, and comes back filled."""

from urllib.parse import parse_qs, urlsplit

import pytest

from support.developer import NEW, PORTAL
from support.flows import CALLBACK, add_manager
from support.oauth_server import FORM, start_oauth_server
from support.signing import as_form

SAME = {**FORM, "Origin": "null", "Sec-Fetch-Site": "same-origin"}
ACCOUNTS = "/manage/accounts"


@pytest.fixture(scope="module")
def site(world):
    """Two workers, and the manager mira."""
    with start_oauth_server(world, workers=2) as made:
        add_manager(made.server, "mira")
        yield made


@pytest.fixture(scope="module")
def apps(site):
    """The paths of two new apps of alice."""
    made = [
        site.server.command("app", "add", name, "--owner", "alice")["app_id"]
        for name in ("Tides", "Moorings")
    ]
    return [f"/portal/apps/{app_id}" for app_id in made]


@pytest.fixture
def people(site):
    """A person who is signed in, by name; closed after the test."""
    opened = []

    def sign_in(name="alice"):
        person = site.person(name)
        opened.append(person)
        person.sign_in()
        return person

    yield sign_in
    for person in opened:
        person.http.close()


def end_session(person):
    """Forget the session, as a browser does when it expires."""
    person.http.cookies.delete("oe_session", domain="127.0.0.1", path="/")


def end_on_server(site, account_id):
    """End every session of an account, as an operator does."""
    site.sql("delete from sessions where account_id = ?", account_id)


def is_sign_in(page):
    return urlsplit(page.url).path == "/sign-in"


TABLES = ("accounts", "apps", "callbacks", "access_tokens", "platform_keys", "audit_log")


def state_of(site):
    return {name: site.sql(f"select * from {name}") for name in TABLES}


NEW_APP = {
    "name": 'Harbour "Charts" & <b>',
    "description": "Tells when to post.",
    "website": "https://harbour.example/?a=1&b=2",
    "callbacks": "https://harbour.example/return\nhttps://harbour.example/other",
    "access_level": "read-write",
}


def of_new(page):
    return page.form_with("name", "callbacks", action=NEW)


@pytest.mark.parametrize("how", ["expired", "ended"])
def test_a_new_app_comes_back_filled_and_is_not_created(site, people, how):
    alice = people()
    page = alice.open(NEW)
    before = state_of(site)
    end_session(alice) if how == "expired" else end_on_server(site, 101)
    asked = alice.submit(page, of_new(page), **NEW_APP)
    assert is_sign_in(asked)
    assert "your form was not sent" in asked.text("kept")
    assert state_of(site) == before
    back = alice.sign_in(asked)
    assert urlsplit(back.url).path == NEW
    assert state_of(site) == before, "signing in sends nothing"
    assert "It is filled in as you left it" in back.text("kept-form")
    found = dict(of_new(back).fields)
    assert {name: found[name] for name in NEW_APP} == NEW_APP
    assert found["csrf_token"] != dict(of_new(page).fields)["csrf_token"]
    again = alice.open(NEW)
    assert "kept-form" not in again.texts
    assert dict(of_new(again).fields)["name"] == ""
    made = alice.submit(back, of_new(back), name=f"Harbour, {how}")
    assert made.status == 200
    assert site.sql("select count(*) from apps where name = ?", f"Harbour, {how}") == [(1,)]


def test_the_settings_of_an_app_come_back(site, people, apps):
    alice = people()
    page = alice.open(apps[0])
    before = state_of(site)
    end_session(alice)
    form = page.form_with("name", "callbacks", action=apps[0])
    back = alice.sign_in(alice.submit(page, form, name="Ebb", description="one\ntwo"))
    assert urlsplit(back.url).path == apps[0]
    found = dict(back.form_with("name", "callbacks", action=apps[0]).fields)
    assert (found["name"], found["description"]) == ("Ebb", "one\ntwo")
    assert state_of(site) == before


@pytest.mark.parametrize("tab", ["console", "callback"])
def test_the_tools_of_developers_come_back(site, people, apps, tab):
    alice, path = people(), f"{apps[0]}/{tab}"
    page = alice.open(path)
    end_session(alice)
    typed = (
        {"body": '{"tweet_ids": ["1"],\n "x": 2}', "endpoint": "28hr"}
        if tab == "console"
        else {"callback": "https://nowhere.example/<b>"}
    )
    form = page.form_with(*typed, action=path)
    back = alice.sign_in(alice.submit(page, form, **typed))
    found = dict(back.form_with(*typed, action=path).fields)
    assert {name: found[name] for name in typed} == typed
    assert "outcome-title" not in back.texts, "nothing was sent"


def test_limits_come_back_and_a_change_in_between_is_noticed(site, people, apps):
    mira = people("mira")
    path = apps[1].replace("/portal", "/manage")
    page = mira.open(path)
    end_session(mira)
    sent = {"per_minute": "700", "handles_contracted": "many", "decision": "limits"}
    back = mira.sign_in(mira.submit(page, page.form_with("per_minute", action=path), **sent))
    form = back.form_with("per_minute", action=path)
    found = dict(form.fields)
    assert (found["per_minute"], found["handles_contracted"]) == ("700", "many")
    site.server.command("app", "enable", path.rpartition("/")[2], "--per-minute", "9")
    refused = mira.submit(back, form, handles_contracted="", decision="limits")
    assert refused.status == 409
    assert "Somebody else changed these limits" in refused.text("faults")


def test_the_queue_comes_back_with_its_search(site, people, apps):
    mira = people("mira")
    page = mira.open("/manage?q=Tides&state=waiting")
    action = apps[0].replace("/portal", "/manage")
    end_session(mira)
    form = page.form_with("per_minute", action=action)
    back = mira.sign_in(mira.submit(page, form, per_minute="42", decision="enable"))
    parts = urlsplit(back.url)
    assert (parts.path, parse_qs(parts.query)) == (
        "/manage",
        {"q": ["Tides"], "state": ["waiting"]},
    )
    assert dict(back.form_with("per_minute", action=action).fields)["per_minute"] == "42"
    [(enabled,)] = site.sql("select enabled from apps where id = ?", int(action.rpartition("/")[2]))
    assert not enabled


def test_a_platform_key_is_not_issued(site, people):
    mira = people("mira")
    page = mira.open("/manage/keys")
    end_session(mira)
    form = page.form_with("name", "days")
    sent = {**dict(form.fields), "name": "recorder", "days": "30"}
    del sent["scope_usage"]
    answer = mira.http.post(
        f"{mira.origin}/manage/keys", content=as_form([*sent.items()]), headers=SAME
    )
    back = mira.sign_in(mira.open(answer.headers["location"]))
    found = dict(back.form_with("name", "days").fields)
    assert (found["name"], found["days"]) == ("recorder", "30")
    assert {name for name in found if name.startswith("scope_")} == {
        "scope_events",
        "scope_accounts",
    }
    assert site.sql("select count(*) from platform_keys where name = 'recorder'") == [(0,)]


def test_a_confirmation_comes_back_open_and_is_not_executed(site, people, apps):
    alice = people()
    page = alice.open(apps[1])
    before = state_of(site)
    end_session(alice)
    back = alice.sign_in(alice.submit(page, page.form_sending("action", "delete"), action="delete"))
    assert '<details class="confirm" open>' in back.html
    assert state_of(site) == before


def test_the_right_one_of_many_forms_comes_back(people):
    mira = people("mira")
    page = mira.open(ACCOUNTS)
    form = next(
        form for form in page.forms if form.can_send("account", "202") and "role" in form.names
    )
    end_session(mira)
    back = mira.sign_in(mira.submit(page, form, role="manager"))
    assert back.html.count("<details") > 1
    opened = back.html.partition('name="role" open>')[2]
    assert opened.partition('name="account" value="')[2].startswith("202")


def test_consent_is_asked_again(site, people):
    alice = people()
    asking = site.request_token(site.web, CALLBACK)
    page = alice.open(site.consent_url(asking))
    end_session(alice)
    form = page.form_sending("decision", "authorize")
    asked = alice.submit(page, form, decision="authorize")
    assert is_sign_in(asked)
    back = alice.sign_in(asked)
    assert back.url == site.consent_url(asking)
    token = asking.access_token
    assert site.sql("select account_id from request_tokens where token = ?", token) == [(None,)]


def test_a_form_of_an_earlier_session_comes_back_without_a_sign_in(site, people):
    """The person has signed in again in another window."""
    alice = people()
    page = alice.open(NEW)
    before = state_of(site)
    alice.sign_in(alice.open("/sign-in"))
    back = alice.submit(page, of_new(page), **NEW_APP)
    assert urlsplit(back.url).path == NEW
    assert "kept-form" in back.texts
    assert dict(of_new(back).fields)["name"] == NEW_APP["name"]
    assert state_of(site) == before


def test_another_account_gets_nothing_of_the_form(site, people):
    alice = people()
    page = alice.open(NEW)
    end_session(alice)
    asked = alice.submit(page, of_new(page), **NEW_APP)
    assert "Harbour" not in asked.html
    alice.screen_name = "bob"
    back = alice.sign_in(asked)
    assert urlsplit(back.url).path == NEW
    assert "Harbour" not in back.html
    assert "kept-form" not in back.texts
    alice.screen_name = "alice"
    assert "kept-form" not in alice.sign_in(alice.open("/sign-in?return_to=/portal/new")).texts


def test_a_form_of_another_account_is_refused(people):
    """Its person signed out, and another one signed in, in the same browser."""
    alice, bob = people(), people("bob")
    page = alice.open(NEW)
    sent = [*of_new(page).filled(**NEW_APP)]
    answer = bob.http.post(f"{bob.origin}{NEW}", content=as_form(sent), headers=SAME)
    assert answer.status_code == 403
    assert "another account since" in answer.text
    assert "oe_kept" not in answer.headers.get("set-cookie", "")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
    ],
)
def test_another_site_cannot_fill_in_a_form(people, headers):
    """Not even with a proof that an attacker took from a page of this person."""
    alice = people()
    page = alice.open(NEW)
    sent = as_form(of_new(page).filled(**NEW_APP))
    end_session(alice)
    answer = alice.http.post(f"{alice.origin}{NEW}", content=sent, headers={**FORM, **headers})
    assert answer.status_code == 403
    assert "oe_kept" not in answer.headers.get("set-cookie", "")
    back = alice.sign_in(alice.open("/sign-in?return_to=/portal/new"))
    assert "Harbour" not in back.html


@pytest.mark.parametrize("token", ["", "x", "x.y.z", "A" * 43])
def test_a_form_without_a_proof_is_refused(people, token):
    alice = people()
    end_session(alice)
    sent = as_form([*NEW_APP.items(), ("csrf_token", token)])
    answer = alice.http.post(f"{alice.origin}{NEW}", content=sent, headers=SAME)
    assert answer.status_code == 403
    assert "oe_kept" not in answer.headers.get("set-cookie", "")


def test_a_proof_of_the_attacker_fills_in_nothing_for_the_victim(people):
    alice, bob = people(), people("bob")
    token = dict(of_new(bob.open(NEW)).fields)["csrf_token"]
    end_session(alice)
    sent = as_form([*NEW_APP.items(), ("csrf_token", token)])
    answer = alice.http.post(f"{alice.origin}{NEW}", content=sent, headers=SAME)
    assert answer.status_code == 303
    back = alice.sign_in(alice.open(answer.headers["location"]))
    assert "Harbour" not in back.html


def test_the_cookie_is_for_this_server_only_and_short_lived(people):
    alice = people()
    page = alice.open(NEW)
    end_session(alice)
    sent = as_form(of_new(page).filled(**NEW_APP))
    answer = alice.http.post(f"{alice.origin}{NEW}", content=sent, headers=SAME)
    cookie = next(each for each in answer.headers.get_list("set-cookie") if "oe_kept=" in each)
    for part in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=900"):
        assert part in cookie
    assert "Harbour" not in cookie
    assert answer.headers["location"] == "/sign-in?return_to=%2Fportal%2Fnew"


def test_signing_out_twice_leads_to_the_sign_in(people):
    alice = people()
    page = alice.open(PORTAL)
    end_session(alice)
    assert is_sign_in(alice.submit(page, page.form_with(action="/sign-out")))


def test_a_sign_in_page_that_was_open_for_too_long_is_shown_again(site):
    with site.person() as person:
        page = person.open("/sign-in?return_to=/portal")
        person.http.cookies.delete("oe_visitor", domain="127.0.0.1", path="/")
        refused = person.sign_in(page)
        assert refused.status == 403
        assert "open for too long" in refused.text("sign-in-error")
        form = refused.form_with("password")
        assert dict(form.fields)["screen_name"] == "alice"
        assert dict(form.fields)["password"] == ""
        assert "oe_session" not in person.http.cookies
        done = person.submit(refused, form, password=person.password)
        assert urlsplit(done.url).path == "/portal"
