"""Everything works by keyboard, and pressing a key too often gives no consent."""

import re

import pytest
from playwright.sync_api import expect

from support.flows import PASSWORD

FOCUSED = """() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const spoken = element.cloneNode(true);
  spoken.querySelectorAll("[aria-hidden]").forEach((each) => each.remove());
  return {
    name: (spoken.textContent || element.name || element.tagName).trim().replace(/\\s+/g, " "),
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    inside: element.getBoundingClientRect().top >= 0,
  };
}"""


@pytest.fixture
def session(new_session):
    """No motion: what slides in is where it belongs at once."""
    made = new_session(reduced_motion="reduce")
    yield made
    assert made.monitor.errors == []


def press_tab(page, times):
    """Press Tab repeatedly; yield the name of the focused element, whose focus must be visible."""
    names = []
    for _ in range(times):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        assert focused["ring"], focused
        assert focused["inside"], focused
        names.append(focused["name"])
    return names


def test_the_whole_flow_by_keyboard(session, web_app, site):
    page = session.open(web_app.begin())
    expect(page.get_by_label("Screen name")).to_be_focused()
    page.keyboard.type("alice")
    assert press_tab(page, 1) == ["password"]
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    session.expect_heading("Authorize Tide Tables to use your account?")
    assert press_tab(page, 8) == [
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
    assert press_tab(page, 1) == ["Skip to the content"]
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    assert press_tab(page, 1) == ["tides.example (opens in a new tab)"]


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
    assert press_tab(page, 1) == ["Revoke access of Tide Tables"]
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
