"""The manager's console in a browser: decisions take effect on the next API answer."""

import re

import pytest
from playwright.sync_api import expect

from browser.tabbing import tab_to
from support.calls import question, sign_as_user
from support.chromium import PHONE
from support.world import App


@pytest.fixture
def asking(server):
    """A waiting app of bob, with his access token."""
    made = server.command("app", "add", "Lantern Weekly", "--owner", "bob")
    app = App(**made, **server.command("token", "issue", made["app_id"]))
    server.secrets += [app.consumer_secret, app.access_token_secret]
    return app


@pytest.fixture
def outcome(server, asking):
    """Return the API's present answer to the app."""

    def ask():
        answer = server.client.ask("totals", question("211"), sign_as_user(asking))
        return answer.code or answer.headers["x-per-minute-limit"]

    return ask


def enter(session, path="/manage"):
    """Sign in as the manager on the way to a page."""
    session.open(path)
    return session.sign_in("mira")


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_an_app_from_waiting_to_suspended(new_session, console, asking, outcome, server, script):
    session = new_session(java_script_enabled=script)
    page = enter(session)
    row = page.get_by_role("listitem").filter(has_text=asking.app_id)
    assert outcome() == "app_not_enabled"
    row.get_by_label("Requests a minute").fill("88")
    row.get_by_role("button", name="Enable").click()
    expect(page.locator("#notice")).to_contain_text("Lantern Weekly is enabled")
    expect(page.get_by_role("listitem").filter(has_text=asking.app_id)).to_have_count(0)
    assert outcome() == "88"

    page.get_by_label("Name, App ID or owner").fill(asking.app_id)
    page.get_by_role("button", name="Search").click()
    table = page.get_by_role("table")
    expect(table.get_by_role("row")).to_have_count(2)
    expect(table).to_contain_text("Enabled")
    table.get_by_role("link", name="Lantern Weekly").click()
    session.expect_heading("Lantern Weekly")

    page.get_by_label("Requests a minute").fill("")
    page.get_by_label("Contracted handles a month").fill("25")
    page.get_by_role("button", name="Save limits").click()
    expect(page.locator("#notice")).to_contain_text("has new limits")
    expect(page.get_by_label("Contracted handles a month")).to_have_value("25")
    assert outcome() == "6000"

    danger = page.get_by_role("button", name="Suspend Lantern Weekly")
    expect(danger).to_be_hidden()
    page.locator("summary", has_text="Suspend").click()
    assert outcome() == "6000", "opening the confirmation has no effect"
    danger.click()
    expect(page.locator("#notice")).to_contain_text("is suspended")
    assert outcome() == "app_suspended"
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#notice")).to_contain_text("no longer suspended")
    assert outcome() == "6000"

    page.get_by_role("link", name="Audit log").click()
    session.expect_heading("Audit log")
    newest = page.get_by_role("listitem").first
    expect(newest).to_contain_text("Lantern Weekly: @mira resumed the app.")
    assert session.monitor.errors == []
    assert session.monitor.origins == {server.url}


def test_a_limit_typed_before_somebody_elses_does_not_overwrite_it(
    new_session, console, server, asking
):
    session = new_session()
    server.command("app", "enable", asking.app_id, "--per-minute", "300")
    page = enter(session, f"/manage/apps/{asking.app_id}")
    limit = page.get_by_label("Requests a minute")
    limit.fill("500")
    page.get_by_role("link", name="Audit log").click()
    session.expect_heading("Audit log")
    server.command("app", "enable", asking.app_id, "--per-minute", "1000")
    session.open(f"/manage/apps/{asking.app_id}")
    expect(limit).to_have_value("500")
    page.get_by_role("button", name="Save limits").click()
    expect(page.locator("#faults")).to_contain_text("Somebody else changed these limits")
    expect(limit).to_have_value("1000")


def test_the_console_works_by_keyboard(new_session, console, asking, outcome):
    session = new_session(reduced_motion="reduce")
    page = enter(session, f"/manage/apps/{asking.app_id}")
    session.expect_heading("Lantern Weekly")

    tab_to(page, "Enable Lantern Weekly")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("is enabled")
    tab_to(page, "per_minute")
    page.keyboard.type("33")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("Requests a minute: 33")
    assert outcome() == "33"
    tab_to(page, "Disable")
    page.keyboard.press("Enter")
    tab_to(page, "Disable Lantern Weekly")
    assert outcome() == "33"
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("is disabled")
    assert outcome() == "app_not_enabled"


def test_the_usage_of_a_month_and_its_csv(new_session, console):
    session = new_session()
    page = enter(session, "/manage/usage")
    row = page.get_by_role("row").filter(has_text=console.used)
    for told in ("42,124", "2.2%", "911 rate_limited", "3 of 2", "1 over"):
        expect(row).to_contain_text(told)
    with page.expect_download() as taken:
        page.get_by_role("link", name="Download as CSV").click()
    assert re.fullmatch(r"usage-\d{4}-\d\d\.csv", taken.value.suggested_filename)
    lines = taken.value.path().read_text(encoding="utf-8").splitlines()
    assert any(console.used in line and ',"42124",' in line for line in lines)
    page.get_by_role("navigation", name="Months").get_by_role("link").first.click()
    expect(page).to_have_url(re.compile(r"month=\d{4}-\d\d$"))
    page.wait_for_load_state()
    page.get_by_role("navigation", name="Months").get_by_role("link").last.click()
    expect(row).to_be_visible()


def test_on_a_phone_every_figure_has_a_label(new_session, console):
    session = new_session(viewport=PHONE)
    page = enter(session, "/manage/usage")
    row = page.get_by_role("row").filter(has_text=console.used)
    expect(row).to_be_visible()
    labels = row.get_by_role("cell").evaluate_all(
        "cells => cells.map(each => getComputedStyle(each, '::before').content)"
    )
    assert labels == ['"Requests"', '"Refused"', '"Reasons"', '"Handles"']
    assert page.evaluate("document.scrollingElement.scrollWidth") == PHONE["width"]


def test_console_times_are_local(new_session, console):
    session = new_session(timezone_id="Asia/Tokyo", locale="en-GB")
    page = enter(session, "/manage/audit")
    expect(page.locator("time").first).to_contain_text("GMT+9")


def test_a_member_cannot_open_the_console(new_session, console):
    session = new_session()
    session.open("/manage")
    page = session.sign_in("alice")
    session.expect_heading("This page is for the platform's managers")
    expect(page.get_by_role("link", name="Manager's console")).to_have_count(0)
