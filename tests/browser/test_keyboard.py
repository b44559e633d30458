"""Everything works by keyboard, and pressing a key too often gives no consent."""

import re

import pytest
from playwright.sync_api import expect

from browser.tabbing import press_tab, tab_to
from support.flows import PASSWORD


@pytest.fixture
def session(new_session):
    """No motion: what slides in is where it belongs at once."""
    made = new_session(reduced_motion="reduce")
    yield made
    assert made.monitor.errors == []


def names_of_stops(page, times):
    """Press Tab repeatedly; return the names of what gets the focus."""
    return [press_tab(page)[0] for _ in range(times)]


def test_the_whole_flow_by_keyboard(session, web_app, site):
    page = session.open(web_app.begin())
    expect(page.get_by_label("Screen name")).to_be_focused()
    page.keyboard.type("alice")
    assert names_of_stops(page, 1) == ["password"]
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    session.expect_heading("Authorize Tide Tables to use your account?")
    assert names_of_stops(page, 8) == [
        "Skip to the content",
        "Open Engagement",
        "Apps and sessions of @alice",
        "Sign out",
        "tides.example (opens in a new tab)",
        "Not you? Use another account",
        "Authorize",
        "Cancel",
    ]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Welcome")).to_be_visible()
    web_app.finish_at(site.url + site.asked[-1])
    web_app.assert_acts_for_alice()


def test_skip_link(session, web_app):
    page = session.follow(web_app.begin())
    session.expect_heading("Authorize Tide Tables to use your account?")
    assert names_of_stops(page, 1) == ["Skip to the content"]
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    assert names_of_stops(page, 1) == ["tides.example (opens in a new tab)"]


def test_pressing_enter_too_often_gives_no_consent(session, web_app, site):
    """Who presses Enter twice to sign in has not authorized anything, nor sent anything."""
    page = session.open(web_app.begin())
    page.get_by_label("Screen name").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    session.expect_heading("Authorize Tide Tables to use your account?")
    sent = len(session.monitor.requests)
    for key in ("Enter", "Space", "Enter"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert session.monitor.requests[sent:] == []
    assert site.url not in session.monitor.origins
    session.expect_heading("Authorize Tide Tables to use your account?")


def test_revocation(session, web_app, site):
    page = session.follow(web_app.begin())
    page.get_by_role("button", name="Authorize").press("Enter")
    expect(page.get_by_text("Welcome")).to_be_visible()
    web_app.finish_at(site.url + site.asked[-1])
    session.open("/settings/apps")
    row = page.get_by_role("listitem").filter(
        has=page.locator(f'input[name=app_id][value="{web_app.consumer.app_id}"]')
    )
    row.locator("summary").focus()
    page.keyboard.press("Enter")
    assert names_of_stops(page, 1) == ["Revoke access of Tide Tables"]
    assert web_app.status() == 200
    page.keyboard.press("Enter")
    expect(row).to_have_count(0)
    assert web_app.status() == 401


def test_after_a_wrong_password_its_field_has_the_focus(session):
    page = session.open("/sign-in")
    expect(page.get_by_label("Screen name")).to_be_focused()
    page.keyboard.type("alice")
    page.keyboard.press("Tab")
    page.keyboard.type("not that")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/overview$"))


def test_an_author_shares_by_keyboard(session):
    session.open("/settings/sharing")
    page = session.sign_in("bob")
    tab_to(page, "screen_name")
    page.keyboard.type("carol")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("@carol can see your figures now")
    tab_to(page, "Stop sharing: @carol")
    page.keyboard.press("Space")
    tab_to(page, "Stop sharing: @carol")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Only you can see your figures")).to_be_visible()


def test_the_overview_by_keyboard(session, greta):
    session.open("/overview")
    page = session.sign_in(greta)
    tab_to(page, "7 days")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("period=7d"))
    tab_to(page, "Likes")
    page.keyboard.press("Enter")
    expect(page.locator("#headline")).to_have_text("Likes")
    tab_to(page, "by")
    page.keyboard.type("By re")
    tab_to(page, "Sort")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("by=re"))
    expect(page.locator("#headline")).to_have_text("Likes")


def test_a_manager_by_keyboard(session, console, server):
    session.open("/manage")
    page = session.sign_in("mira")
    tab_to(page, "Platform keys")
    page.keyboard.press("Enter")
    session.expect_heading("Platform keys")
    tab_to(page, "name")
    page.keyboard.type("recorder by keyboard")
    tab_to(page, "days")
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    expect(page.locator("#platform-key")).to_be_visible()
    key = page.locator("li.row").filter(has_text="recorder by keyboard")
    key_id = key.locator("code").first.inner_text()
    tab_to(page, f"Revoke recorder by keyboard {key_id}")
    page.keyboard.press("Enter")
    tab_to(page, "Revoke now")
    page.keyboard.press("Enter")
    expect(key).to_have_count(0)
    tab_to(page, "Accounts")
    page.keyboard.press("Enter")
    session.expect_heading("Accounts")
    tab_to(page, "q")
    page.keyboard.type("carol")
    page.keyboard.press("Enter")
    expect(page.locator("#total")).to_have_text("1 account")
    for role in ("manager", "member"):
        tab_to(page, f"Make a {role} of @carol")
        page.keyboard.press("Enter")
        tab_to(page, f"Make @carol a {role}")
        page.keyboard.press("Enter")
        expect(page.locator("#notice")).to_contain_text(f"@carol is a {role} now.")
    tab_to(page, "Audit log")
    page.keyboard.press("Enter")
    session.expect_heading("Audit log")
    tab_to(page, "q")
    page.keyboard.type("carol")
    page.keyboard.press("Enter")
    expect(page.get_by_role("listitem").filter(has_text="@mira made @carol a")).to_have_count(2)
