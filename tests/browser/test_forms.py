"""Forms in a browser: nothing typed is lost, errors get the focus, ticks survive every button."""

import re

import pytest
from playwright.sync_api import expect

from support.world import RECENT

SCRIPTS = pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])


def end_session(session):
    """Forget the session, as the browser does when it expires."""
    session.context.clear_cookies(name=re.compile("oe_session$"))


def enter(session, path):
    session.open(path)
    return session.sign_in()


@SCRIPTS
def test_a_late_form_comes_back_filled(new_session, server, script):
    session = new_session(java_script_enabled=script)
    page = enter(session, "/portal/new")
    page.get_by_label("Name").fill('Late "Tides" & <b>')
    page.get_by_label("Description").fill("Tells when to post.")
    page.get_by_label("Callback URLs").fill("https://one.example/\nhttps://two.example/")
    page.get_by_label("Read and write").check()
    page.get_by_label("Let people sign in").check()
    page.get_by_label("Also create a bearer token").uncheck()
    end_session(session)
    page.get_by_role("button", name="Create the app").click()
    session.expect_heading("Sign in to Open Engagement")
    expect(page.locator("#kept")).to_contain_text("your form was not sent")
    session.sign_in()
    session.expect_heading("Create an app")
    expect(page).to_have_url(f"{server.url}/portal/new")
    expect(page.locator("#kept-form")).to_be_focused()
    expect(page.get_by_label("Name")).to_have_value('Late "Tides" & <b>')
    expect(page.get_by_label("Callback URLs")).to_have_value(
        "https://one.example/\nhttps://two.example/"
    )
    expect(page.get_by_label("Read and write")).to_be_checked()
    expect(page.get_by_label("Let people sign in")).to_be_checked()
    expect(page.get_by_label("Also create a bearer token")).not_to_be_checked()
    page.get_by_role("button", name="Create the app").click()
    session.expect_heading('Late "Tides" & <b>')
    page.goto(f"{server.url}/portal/new")
    expect(page.get_by_label("Name")).to_have_value("")
    assert session.monitor.errors == []


@SCRIPTS
def test_a_form_of_another_window_comes_back(new_session, server, script):
    """The person signed in again in a second window."""
    session = new_session(java_script_enabled=script)
    page = enter(session, "/portal/new")
    page.get_by_label("Name").fill("Two windows")
    second = session.context.new_page()
    end_session(session)
    second.goto(f"{server.url}/portal")
    session.page = second
    session.sign_in()
    expect(second.locator("h1")).to_have_text("Your apps")
    page.get_by_role("button", name="Create the app").click()
    expect(page.locator("#kept-form")).to_contain_text("It is filled in as you left it")
    expect(page.get_by_label("Name")).to_have_value("Two windows")
    page.get_by_role("button", name="Create the app").click()
    expect(page.locator("h1")).to_have_text("Two windows")


def test_another_site_fills_in_nothing(new_session, server, site):
    """It has a proof of this person, and the person's browser, but not the origin."""
    session = new_session()
    page = enter(session, "/portal/new")
    token = page.locator('form[action="/portal/new"] [name=csrf_token]').input_value()
    site.pages["/prize"] = (
        f'<!doctype html><title>Prize</title><form method="post" action="{server.url}/portal/new">'
        f'<input name="csrf_token" value="{token}"><input name="name" value="Planted">'
        "<button>Win</button></form>"
    )
    end_session(session)
    session.open(f"{site.url}/prize")
    page.get_by_role("button", name="Win").click()
    session.expect_heading("The form was not accepted")
    enter(session, "/portal/new")
    expect(page.get_by_label("Name")).to_have_value("")


@SCRIPTS
def test_errors_get_the_focus_and_lead_to_their_fields(new_session, server, script):
    session = new_session(java_script_enabled=script, reduced_motion="reduce")
    page = enter(session, "/portal/new")
    page.get_by_label("Name").fill("\u200b")
    page.get_by_label("Callback URLs").fill("tides.example")
    page.get_by_role("button", name="Create the app").click()
    expect(page.locator("#faults")).to_be_focused()
    expect(page.locator("#faults li")).to_have_count(2)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#callbacks$"))
    expect(page.get_by_label("Callback URLs")).to_be_focused()
    described = page.get_by_label("Callback URLs").get_attribute("aria-describedby")
    assert described.split()[0] == "callbacks-fault"
    expect(page.locator("#callbacks-fault")).to_contain_text("no scheme such as https")
    expect(page.get_by_label("Name")).to_have_attribute("aria-invalid", "true")


def test_show_chart_is_disabled_and_says_why(session):
    page = enter(session, "/explore")
    button = page.get_by_role("button", name="Show chart")
    expect(button).to_be_disabled()
    expect(button).to_have_accessible_description(re.compile("Pick up to 25 Tweets"))
    page.get_by_label(RECENT).check()
    expect(button).to_be_enabled()
    page.get_by_label(RECENT).uncheck()
    expect(button).to_be_disabled()


def test_without_scripts_show_chart_answers_why(new_session, server):
    page = enter(new_session(java_script_enabled=False), "/explore")
    page.get_by_role("button", name="Show chart").click()
    expect(page.get_by_role("alert")).to_contain_text("Pick at least one row")


@SCRIPTS
def test_ticks_survive_sorting_and_searching(new_session, server, script):
    page = enter(new_session(java_script_enabled=script), "/explore")
    for tweet_id in (RECENT, "111"):
        page.get_by_label(tweet_id).check()
    page.get_by_role("button", name="Likes").click()
    expect(page.locator("[aria-sort=descending]")).to_contain_text("Likes")
    for tweet_id in (RECENT, "111"):
        expect(page.get_by_label(tweet_id)).to_be_checked()
    page.get_by_label("112").check()
    search = page.get_by_label("Words, a date such as")
    search.fill("111")
    search.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("input[name=tweet_ids]:checked")).to_have_count(3)
    expect(page.locator("[aria-sort=descending]")).to_contain_text("Likes")


def test_a_missing_page_leads_on(session):
    page = session.open("/nowhere")
    session.expect_heading("There is no such page")
    page.get_by_role("link", name="Home page").click()
    session.expect_heading("See how your Tweets do on Open Engagement")


# What was typed in the other forms of a page.


@pytest.fixture
def queue(new_session, console, server):
    """The queue of the manager, and the limits of two waiting apps in it."""
    apps = [
        server.command("app", "add", name, "--owner", "bob")["app_id"] for name in ("One", "Two")
    ]
    session = new_session()
    session.open("/manage")
    page = session.sign_in("mira")
    yield session, [page.locator(f"#limit-{each}") for each in apps]
    assert session.monitor.errors == []
    for each in apps:
        server.command("app", "enable", each)


def enable(limit):
    limit.locator("xpath=ancestor::form").get_by_role("button", name="Enable").click()


def test_limits_in_other_rows_stay(queue):
    session, (one, two) = queue
    page = session.page
    one.fill("lots")
    two.fill("22")
    enable(one)
    expect(page.get_by_role("alert")).to_be_visible()
    expect(one).to_have_value("lots")
    expect(two).to_have_value("22")
    one.fill("11")
    enable(one)
    expect(page.locator("#notice")).to_contain_text("One is enabled")
    expect(two).to_have_value("22")
    page.get_by_role("button", name="Deutsch").click()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(two).to_have_value("22")
    page.get_by_role("link", name="Plattformschl\u00fcssel").click()
    page.get_by_role("link", name="Apps", exact=True).click()
    expect(two).to_have_value("22")


def test_other_pages_do_not_keep_it_for_longer(queue):
    session, (one, _two) = queue
    page = session.page
    one.fill("11")
    ends = []
    for name in ("Platform keys", "Audit log"):
        page.get_by_role("link", name=name).click()
        session.expect_heading(name)
        ends.append(page.evaluate("JSON.parse(sessionStorage.typed).until"))
    assert ends[0] == ends[1]


def test_nothing_typed_is_shown_to_another_person(queue, console):
    session, (one, _two) = queue
    page = session.page
    one.fill("11")
    page.get_by_role("button", name="Sign out").click()
    session.expect_heading("Sign in to Open Engagement")
    assert page.evaluate("sessionStorage.length") == 0
    session.sign_in("mira")
    session.open("/manage")
    expect(one).to_have_value("")
    one.fill("12")
    end_session(session)
    session.open("/manage")
    session.sign_in("mira")
    expect(one).to_have_value("12")
    session.open("/settings/nowhere")  # a page without scripts
    page.evaluate("sessionStorage.typed = sessionStorage.typed.replace('@mira', '@somebody')")
    session.open("/manage")
    expect(one).to_have_value("")


def test_passwords_and_codes_are_not_kept(session):
    page = enter(session, "/settings/security")
    page.get_by_label("Present password").fill("a secret of mine")
    page.get_by_label("New password").fill("another secret")
    page.get_by_role("link", name="Turn on the second factor").click()
    session.expect_heading("Turn on the second factor")
    page.get_by_label("Code").fill("123456")
    page.get_by_role("link", name="Back, without a change").click()
    session.expect_heading("Password and sign-in")
    assert page.get_by_label("Present password").input_value() == ""
    kept = page.evaluate("sessionStorage.getItem('typed')") or ""
    assert "secret" not in kept
    assert "123456" not in kept


def test_ticks_and_choices_stay_when_another_form_is_sent(session, console, server):
    session.open("/manage/keys")
    page = session.sign_in("mira")
    page.get_by_label("Name").fill("left alone")
    page.get_by_label("Days until it expires").fill("9")
    page.get_by_label("Read the usage of apps").uncheck()
    page.get_by_role("button", name="Deutsch").click()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("#name")).to_have_value("left alone")
    expect(page.locator("#days")).to_have_value("9")
    expect(page.locator("[name=scope_usage]")).not_to_be_checked()
    expect(page.locator("[name=scope_events]")).to_be_checked()


def test_a_form_that_met_an_error_of_the_server_is_there_again_on_the_way_back(session):
    page = enter(session, "/portal/new")
    page.get_by_label("Name").fill("Sent too early")
    page.get_by_label("Read and write").first.check()
    page.route("**/portal/new", lambda sent: sent.fulfill(status=503, body="Wait a few seconds."))
    page.get_by_role("button", name="Create the app").click()
    expect(page.get_by_text("Wait a few seconds.")).to_be_visible()
    page.unroute("**/portal/new")
    page.go_back()
    expect(page.get_by_label("Name")).to_have_value("Sent too early")
    expect(page.get_by_label("Read and write").first).to_be_checked()
    page.reload()
    session.monitor.errors.clear()  # the browser reports the 503
