"""A person in a browser authorizes apps, denies them and revokes them."""

import re

import pytest
from playwright.sync_api import expect

from support.waiting import wait_for

# These pages have no script, so they must work without scripts.
WITH_AND_WITHOUT_SCRIPT = pytest.mark.parametrize(
    "script", [True, False], ids=["script", "no-script"]
)


def callback_of(site):
    """Return the URL of the callback that the app's site just received."""
    path = site.asked[-1]
    assert path.startswith("/return?from=engagement&")
    assert "Referer" not in site.headers[-1]
    return site.url + path


@WITH_AND_WITHOUT_SCRIPT
def test_sign_in_consent_callback_and_figures(new_session, web_app, server, site, script):
    session = new_session(java_script_enabled=script)
    page = session.open(web_app.begin())
    expect(page).to_have_title("Sign in · Open Engagement")
    expect(page.get_by_role("main")).to_contain_text("Tide Tables asks to use your account")
    session.sign_in()
    session.expect_heading("Authorize Tide Tables to use your account?")
    main = page.get_by_role("main")
    for text in ("by @bob", "tides.example", "Tells when to post.", "Signed in as @alice"):
        expect(main).to_contain_text(text)
    page.get_by_role("button", name="Authorize").click()
    expect(page.get_by_text("Welcome")).to_be_visible()
    web_app.finish_at(callback_of(site))
    web_app.assert_acts_for_alice()
    assert session.monitor.errors == []
    assert session.monitor.origins == {server.url, site.url}


@WITH_AND_WITHOUT_SCRIPT
def test_pin(new_session, desktop_app, server, script):
    session = new_session(java_script_enabled=script)
    page = session.follow(desktop_app.begin())
    expect(page.get_by_role("main")).to_contain_text("Authorizing shows you a PIN")
    page.get_by_role("button", name="Authorize").click()
    session.expect_heading("Type this PIN into Log Book")
    pin = page.locator("#pin").inner_text()
    assert re.fullmatch(r"\d{7}", pin)
    desktop_app.finish(pin)
    desktop_app.assert_acts_for_alice()
    assert session.monitor.errors == []
    assert session.monitor.origins == {server.url}


def test_denial_returns_to_the_app(session, web_app, site):
    page = session.follow(web_app.begin())
    page.get_by_role("button", name="Cancel").click()
    session.expect_heading("You did not authorize Tide Tables")
    page.locator("#denied-link").click()
    expect(page.get_by_text("Welcome")).to_be_visible()
    path = callback_of(site).removeprefix(site.url)
    assert path == f"/return?from=engagement&denied={web_app.token['oauth_token']}"
    session.open(web_app.at.authorize + f"?oauth_token={web_app.token['oauth_token']}")
    session.expect_heading("This request has ended")


def test_denial_without_a_callback_has_no_link(session, desktop_app):
    page = session.follow(desktop_app.begin())
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("main")).to_contain_text("You can close this page.")
    expect(page.locator("#denied-link")).to_have_count(0)


@WITH_AND_WITHOUT_SCRIPT
def test_revocation_needs_two_steps_and_takes_effect_at_once(new_session, web_app, site, script):
    session = new_session(java_script_enabled=script)
    page = session.follow(web_app.begin())
    page.get_by_role("button", name="Authorize").click()
    page.wait_for_url(f"{site.url}/**")
    web_app.finish_at(callback_of(site))
    assert web_app.status() == 200
    session.open("/settings/apps")
    session.expect_heading("Apps and sessions")
    row = page.get_by_role("listitem").filter(
        has=page.locator(f'input[name=app_id][value="{web_app.consumer.app_id}"]')
    )
    expect(row).to_contain_text("Read only")
    expect(row.get_by_role("button", name="Revoke access")).not_to_be_visible()
    row.locator("summary").click()
    assert web_app.status() == 200
    row.get_by_role("button", name="Revoke access").click()
    expect(row).to_have_count(0)
    assert web_app.status() == 401
    session.expect_heading("Apps and sessions")
    assert session.monitor.errors == []


def test_last_use_is_shown(session, web_app, site):
    page = session.follow(web_app.begin())
    page.get_by_role("button", name="Authorize").click()
    page.wait_for_url(f"{site.url}/**")
    web_app.finish_at(callback_of(site))
    session.open("/settings/apps")
    row = page.get_by_role("listitem").filter(
        has=page.locator(f'input[name=app_id][value="{web_app.consumer.app_id}"]')
    )
    expect(row).to_contain_text("never")
    web_app.assert_acts_for_alice()

    def used():
        page.reload()
        return "never" not in row.inner_text()

    wait_for(used, pause_s=0.2, reason="used")


def test_ending_another_session(new_session):
    here, there = new_session(java_script_enabled=False), new_session()
    for session in (there, here):
        session.open("/sign-in")
        session.sign_in("bob")
        expect(session.page).to_have_url(re.compile("/overview$"))
        session.open("/settings/apps")
    sessions = here.page.get_by_role("region", name="Where you are signed in")
    expect(sessions.get_by_text("This session")).to_have_count(1)
    expect(sessions).to_contain_text("Chrome on Linux")
    ends = sessions.get_by_role("button", name=re.compile("^End session"))
    for left in reversed(range(ends.count())):
        ends.first.click()
        expect(ends).to_have_count(left)
    expect(sessions.get_by_role("listitem")).to_have_count(1)
    there.page.reload()
    there.expect_heading("Sign in to Open Engagement")
    here.page.reload()
    here.expect_heading("Apps and sessions")


def test_sign_out(session, server):
    page = session.open("/sign-in")
    session.sign_in()
    expect(page).to_have_url(f"{server.url}/overview")
    kept = session.context.cookies()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{server.url}/sign-in")
    session.open("/settings/apps")
    session.expect_heading("Sign in to Open Engagement")
    session.context.add_cookies(kept)
    session.open("/settings/apps")
    session.expect_heading("Sign in to Open Engagement")


def test_wrong_password(session):
    page = session.open("/sign-in")
    session.sign_in(password="not that")
    expect(page.get_by_role("alert")).to_contain_text("do not match")
    expect(page.get_by_label("Screen name")).to_have_value("alice")
    expect(page.get_by_label("Password")).to_be_focused()
    expect(page).to_have_title("Error: Sign in · Open Engagement")


def test_switching_the_account_returns_to_the_same_consent(session, web_app, site):
    """Who is signed in as somebody else can say so, and goes on to the same consent."""
    page = session.open(web_app.begin())
    session.sign_in("bob")
    expect(page.get_by_role("main")).to_contain_text("Signed in as @bob")
    page.get_by_role("link", name="Not you?").click()
    session.expect_heading("Sign in to Open Engagement")
    expect(page.get_by_role("main")).to_contain_text("You are signed in as @bob")
    session.sign_in("alice")
    expect(page.get_by_role("main")).to_contain_text("Signed in as @alice")
    page.get_by_role("button", name="Authorize").click()
    page.wait_for_url(f"{site.url}/**")
    web_app.finish_at(callback_of(site))
    web_app.assert_acts_for_alice()
