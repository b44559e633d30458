"""The home page and the overview in a browser, on a desk and on a phone."""

import re
from datetime import datetime, timedelta, timezone

import pytest
from playwright.sync_api import expect

from browser.clipping import cut_numbers
from browser.test_every_page import POCKET, SCHEMES, ask_axe, measure
from support.chromium import DESKTOP
from support.flows import PASSWORD


def arrive(session, path, name="greta"):
    session.open(path)
    session.sign_in(name, PASSWORD)
    expect(session.page.locator("h1")).not_to_have_text(re.compile("Sign in"))
    return session.page


def test_from_the_door_to_the_overview(session, greta):
    page = session.open("/")
    session.expect_heading("See how your Tweets do on Open Engagement")
    page.get_by_role("link", name="Sign in").click()
    session.sign_in(greta, PASSWORD)
    session.expect_heading("Overview")
    expect(page.locator("#total")).to_be_visible()
    page.get_by_role("link", name="Tweets", exact=True).click()
    session.expect_heading("My Tweets")
    page.get_by_role("link", name="Open Engagement").click()
    session.expect_heading("Overview")


def test_periods_and_metrics_are_one_click_away(session, greta):
    page = arrive(session, "/overview")
    page.get_by_role("link", name="7 days").click()
    expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    page.get_by_role("link", name="Likes", exact=True).click()
    expect(page.locator("#headline")).to_have_text("Likes")
    expect(page).to_have_url(re.compile("period=7d.*metric=favorites"))
    page.get_by_label("Sort by").select_option("url_clicks")
    page.get_by_role("button", name="Sort").click()
    expect(page.locator("#headline")).to_have_text("Likes")
    expect(page.get_by_label("Sort by")).to_have_value("url_clicks")
    expect(page.locator(".best li")).to_have_count(5)
    page.get_by_text("Other days").click()
    page.get_by_label("First day").fill("2024-05-01")
    page.get_by_label("Last day").fill("2024-05-03")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_text("1\u20133 May 2024")).to_be_visible()
    expect(page.locator("#headline")).to_have_text("Likes")


def test_a_fault_stands_beside_its_field(session, greta):
    page = arrive(session, "/overview?period=custom&first=2026-05-03&last=2026-05-01")
    expect(page.get_by_label("Last day")).to_be_visible()
    expect(page.get_by_label("Last day")).to_have_accessible_description(
        "Choose the first day or a later one. Days are those of UTC. Up to 366 days."
    )
    expect(page.locator("#faults")).to_be_focused()


def test_values_snap_to_the_bar_under_the_pointer(session, greta):
    page = arrive(session, "/overview")
    box = page.locator(".bars").bounding_box()
    rows = page.locator("#figures tbody tr")
    first, last = rows.first, rows.last
    for x, row in ((2, first), (box["width"] - 2, last)):
        page.mouse.move(box["x"] + x, box["y"] + 60)
        tip = page.locator("#plot .tip")
        expect(tip).to_be_visible()
        expect(tip).to_contain_text(row.locator("td").first.text_content())
        inside = tip.bounding_box()
        assert inside["x"] >= box["x"] - 1
        assert inside["x"] + inside["width"] <= box["x"] + box["width"] + 1
    page.mouse.move(5, 5)
    expect(page.locator("#plot .tip")).to_be_hidden()


def test_the_chart_is_read_by_keyboard(session, greta):
    page = arrive(session, "/overview")
    page.locator(".area").focus()
    texts = page.locator("#figures tbody tr").evaluate_all(
        "rows => rows.map(row => row.cells[0].textContent.replace(/\\\\s+/g, ' ').trim())"
    )
    tip = page.locator("#plot .tip")
    for key, expected in (
        ("ArrowLeft", texts[-1]),
        ("ArrowLeft", texts[-2]),
        ("Home", texts[0]),
        ("ArrowLeft", texts[0]),
        ("ArrowRight", texts[1]),
        ("End", texts[-1]),
    ):
        page.keyboard.press(key)
        expect(tip.locator("b")).to_have_text(expected)
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


def test_the_overview_works_without_scripts(new_session, server, greta):
    session = new_session(java_script_enabled=False)
    page = arrive(session, "/overview")
    expect(page.locator(".bars .bar").first).to_be_visible()
    page.get_by_text("Show as table").click()
    expect(page.locator("#figures tbody tr")).to_have_count(28)
    page.get_by_text("Other days").click()
    expect(page.get_by_label("First day")).to_be_visible()
    assert session.monitor.errors == []
    assert session.monitor.origins == {server.url}


PATHS = (
    "/overview",
    "/overview?period=28h&metric=engagement_rate",
    "/overview?period=7d",
    "/overview?period=90d&by=engagement_rate",
    "/explore",
    "/explore/compare?tweet_ids=90000,90001,90002,90003,90009",
)


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_no_number_is_cut_off(new_session, greta, width):
    session = new_session(viewport={"width": width, "height": 800}, reduced_motion="reduce")
    page, wrong = arrive(session, "/overview"), []
    for path in PATHS:
        session.open(path)
        wrong += [f"{path}: {each}" for each in cut_numbers(page)]
    assert wrong == [], "\n".join(wrong)


def test_a_cut_number_is_found(session, greta):
    page = arrive(session, "/overview")
    page.evaluate(
        "document.querySelector('.ledger .v').style.cssText ="
        " 'display: block; width: 3ch; overflow: hidden'"
    )
    assert any("in v" in each for each in cut_numbers(page))


def test_a_phone_shows_the_chart_on_its_first_screen(new_session, greta):
    session = new_session(**POCKET)
    page = arrive(session, "/overview")
    box = page.locator(".bars").bounding_box()
    assert box["y"] + box["height"] < page.viewport_size["height"]


@pytest.mark.parametrize("options", [{"viewport": DESKTOP}, POCKET], ids=["desk", "phone"])
def test_every_state_of_the_overview_passes_axe(new_session, server, greta, options):
    session = new_session(**{"reduced_motion": "reduce", **options})
    page, wrong = session.open("/"), []

    def look(name):
        found = list(ask_axe(page, *SCHEMES))
        if options is POCKET:
            found += measure(page)
        page.emulate_media(color_scheme="light")
        wrong.extend(f"{name}: {each}" for each in found)

    look("signed out")
    arrive(session, "/overview")
    for path in (*PATHS, "/overview?period=custom&first=x&last=y"):
        session.open(path)
        look(path)
    page.get_by_text("Show as table").click()
    page.locator(".area").focus()
    page.keyboard.press("Home")
    look("table and tooltip open")
    assert wrong == [], "\n".join(wrong)
    assert session.monitor.errors == []
    assert session.monitor.origins == {server.url}


@pytest.mark.parametrize("path", ["/overview", "/explore"])
def test_times_are_local_and_utc_on_demand(new_session, greta, path):
    session = new_session(timezone_id="Asia/Kolkata", locale="en-GB")
    page = arrive(session, path)
    session.expect_zone("Kolkata|Calcutta")
    time_of = page.locator("time").first
    at = datetime.fromisoformat(time_of.get_attribute("datetime"))
    there = at.astimezone(timezone(timedelta(hours=5, minutes=30)))
    expect(time_of).to_have_text(f"{there.day} {there:%b %Y, %H:%M}")
    assert time_of.get_attribute("title") == f"{at.day} {at:%b %Y, %H:%M} UTC"
    session.open(f"{path}?period=7d&zone=UTC")
    at = datetime.fromisoformat(time_of.get_attribute("datetime"))
    expect(time_of).to_have_text(f"{at.day} {at:%b %Y, %H:%M}")
