"""The comparison: bars, the running hour or day, local days, and the same width on every page."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from browser.clipping import cut_numbers
from browser.test_every_page import POCKET, SCHEMES, ask_axe, measure
from browser.test_explore import INKED, LIGHT_LINES, focus_chart
from browser.test_overview import arrive
from support.chromium import DESKTOP
from support.flows import PASSWORD

pytestmark = pytest.mark.heavy

IDS = "90000,90001,90002,90003,90009"
NOW = (0xE0, 0x53, 0x2B)  # the colour of the present
PNG = b"\x89PNG\r\n\x1a\n"


def days(ago, **given):
    """The address of a comparison of the last days, with today."""
    today = datetime.now(UTC).date()
    query = {"start": str(today - timedelta(ago)), "end": str(today), "by": "day", **given}
    more = "".join(f"&{name}={value}" for name, value in query.items())
    return f"/explore/compare?tweet_ids={IDS}&metric=favorites{more}"


@pytest.fixture
def calm(new_session, greta):
    """A browser without transitions: axe-core measures the colours of the moment."""
    made = new_session(reduced_motion="reduce")
    yield made
    assert made.monitor.errors == []


def wait_for_ink(page, colour, least):
    page.wait_for_function(f"([colour, least]) => ({INKED})(colour) > least", arg=[colour, least])


def figures_of(page, row):
    return page.locator("#figures tbody tr").nth(row).locator("td").all_text_contents()


def test_few_days_are_stacked_bars(calm, tmp_path):
    page = arrive(calm, days(6))
    page.get_by_label("Draw", exact=True).select_option("stacked")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#chart")).to_have_attribute("data-form", "bars")
    expect(page.locator("#chart")).to_have_attribute(
        "aria-label", re.compile("^Bar chart of Likes")
    )
    for colour in LIGHT_LINES:
        wait_for_ink(page, colour, 500)
    inked = page.evaluate(INKED, LIGHT_LINES[0])
    focus_chart(page)
    page.keyboard.press("Home")
    expect(page.locator("#legend output")).to_have_text(figures_of(page, 0))
    whole = sum(int(text.replace(",", "")) for text in figures_of(page, 0))
    expect(page.locator(".chart-tip span").last).to_have_text(f"Sum {whole:,}")
    expect(page.locator("#chart + p[role=status]")).to_contain_text(f", Sum {whole:,}")
    page.keyboard.press("Escape")
    box = page.locator("#chart .u-over").bounding_box()
    for x, row in ((2, 0), (box["width"] - 2, -1)):
        page.mouse.move(box["x"] + x, box["y"] + 60)
        expect(page.locator("#legend output")).to_have_text(figures_of(page, row))
        inside = page.locator(".chart-tip").bounding_box()
        assert inside["x"] >= box["x"] - 1
        assert inside["x"] + inside["width"] <= box["x"] + box["width"] + 1
    page.mouse.move(5, 5)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as PNG").click()
    saved.value.save_as(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    page.locator("#legend button").first.click()
    page.wait_for_function(
        f"([colour, most]) => ({INKED})(colour) < most", arg=[LIGHT_LINES[0], inked / 9]
    )
    assert list(ask_axe(page, *SCHEMES)) == []


def test_bars_reach_to_both_edges_and_can_be_zoomed(calm):
    page = arrive(calm, days(6, draw="stacked"))
    wait_for_ink(page, LIGHT_LINES[0], 500)
    zoom_out = page.get_by_role("button", name="Zoom out")
    expect(zoom_out).to_be_disabled()
    page.get_by_role("button", name="Zoom in").click()
    expect(zoom_out).to_be_enabled()
    page.get_by_role("button", name="Reset zoom").click()
    expect(zoom_out).to_be_disabled()
    wait_for_ink(page, LIGHT_LINES[0], 500)


def test_one_tweet_is_bars_and_many_hours_are_areas(calm):
    page = arrive(calm, days(6).replace(IDS, "90000"))
    expect(page.locator("#chart")).to_have_attribute("data-form", "bars")
    wait_for_ink(page, LIGHT_LINES[0], 500)
    calm.open(days(6, draw="stacked", by="hour"))
    expect(page.locator("#chart")).to_have_attribute("data-form", "areas")
    expect(page.locator("#chart canvas")).to_be_visible()
    calm.open(days(6, draw="stacked", cumulative="yes"))
    expect(page.locator("#chart")).to_have_attribute("data-form", "areas")
    expect(page.locator("#chart canvas")).to_be_visible()


# Midnight may come before these are opened. The page takes tomorrow as today.
TOMORROW = datetime.now(UTC).date() + timedelta(1)
RUNNING = {
    "days": days(6, end=TOMORROW),
    "stacked days": days(6, end=TOMORROW, draw="stacked"),
    "hours": f"/explore/compare?tweet_ids={IDS}&metric=favorites",
}


@pytest.mark.parametrize("path", RUNNING.values(), ids=RUNNING)
def test_the_running_hour_or_day_is_marked(calm, path):
    page = arrive(calm, path)
    expect(page.locator("#running")).to_have_text(
        re.compile(r"Incomplete, counted until \d\d:\d\d UTC")
    )
    wait_for_ink(page, NOW, 8)
    focus_chart(page)
    page.keyboard.press("End")
    expect(page.locator("#readout")).to_contain_text("(still counting)")
    expect(page.locator("#chart + p[role=status]")).to_contain_text("(still counting)")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#readout")).not_to_contain_text("still counting")


def test_a_past_period_is_not_marked(calm):
    page = arrive(calm, days(6, start="2024-05-01", end="2024-05-07"))
    expect(page.locator("#chart canvas")).to_be_visible()
    expect(page.locator("#running")).to_have_count(0)
    assert page.evaluate(INKED, NOW) == 0


def test_days_are_those_of_the_reader(new_session, greta):
    # Its days begin with hours of UTC. Half an hour off, the seventh day is empty for half an hour.
    session = new_session(timezone_id="Asia/Tokyo", locale="en-GB", reduced_motion="reduce")
    page = arrive(session, f"/explore/compare?tweet_ids={IDS}&metric=favorites")
    session.expect_zone("Tokyo")
    page.get_by_role("link", name="7 days").click()
    head = page.locator("#figures thead th").first
    expect(head).to_have_text("Day (Asia/Tokyo)")
    expect(page.locator("#figures tbody tr")).to_have_count(7)
    focus_chart(page)
    page.keyboard.press("Home")
    expect(page.locator("#readout")).to_have_text(re.compile(r"^\d+ \w+$"))
    page.get_by_role("link", name="UTC", exact=True).click()
    expect(head).to_have_text("Day (UTC)")
    focus_chart(page)
    page.keyboard.press("Home")
    expect(page.locator("#readout")).to_have_text(re.compile(r"^\d+ \w+, UTC$"))
    assert session.monitor.errors == []


def test_a_zone_that_the_browser_does_not_know_is_drawn_in_utc(calm):
    page = arrive(calm, days(6, zone="posixrules"))
    expect(page.locator("#chart canvas")).to_be_visible()


@pytest.mark.parametrize("options", [{"viewport": DESKTOP}, POCKET], ids=["desk", "phone"])
@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_every_form_passes_axe(new_session, greta, options, locale):
    session = new_session(**{"reduced_motion": "reduce", "locale": locale, **options})
    page, wrong = sign_in_any(session), []
    for path in (
        days(6),
        days(27, draw="stacked"),
        days(6, draw="stacked"),
        days(6, show="together"),
    ):
        session.open(path)
        expect(page.locator("#chart canvas")).to_be_visible()
        found = [*cut_numbers(page), *ask_axe(page, *SCHEMES)]
        if options is POCKET:
            found += measure(page)
        page.emulate_media(color_scheme="light")
        wrong += [f"{path}: {each}" for each in found]
    assert wrong == [], "\n".join(wrong)
    assert session.monitor.errors == []


def sign_in_any(session):
    """Sign in as greta, in any language."""
    page = session.open("/sign-in")
    page.locator("#screen_name").fill("greta")
    page.locator("#password").fill(PASSWORD)
    with page.expect_navigation():
        page.locator("form button.primary").first.click()
    return page


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_the_tray_has_two_rows_on_a_phone(new_session, greta, locale):
    session = new_session(**POCKET, locale=locale)
    page = sign_in_any(session)
    rows = """tray => {
      const boxOf = (each) => each.getBoundingClientRect();
      const boxes = [...tray.querySelectorAll("p, a, button")].map(boxOf);
      const middles = boxes.map((box) => Math.round((box.top + box.bottom) / 2 / 8));
      return [new Set(middles).size, tray.offsetHeight];
    }"""
    for path in ("/explore", f"/explore?tweet_ids={IDS}", "/explore?pick=all"):
        session.open(path)
        count, height = page.locator(".tray").evaluate(rows)
        assert count <= 2, (path, count)
        assert height <= 136, (path, height)
    page.locator(".pick input").first.uncheck()
    assert page.locator(".tray").evaluate(rows)[0] <= 2


@pytest.mark.parametrize("width", [360, 768, 1280, 1920])
def test_every_page_has_the_same_width(new_session, greta, width):
    session = new_session(viewport={"width": width, "height": 900}, reduced_motion="reduce")
    page = arrive(session, "/overview")
    edges = {}
    for path in (
        *("/overview", "/explore", days(6), "/portal", "/portal/new"),
        *("/settings/apps", "/settings/sharing", "/settings/security"),
    ):
        session.open(path)
        box = page.locator("main").evaluate(
            "main => { const {left, right} = main.getBoundingClientRect();"
            " const {paddingLeft, paddingRight} = getComputedStyle(main);"
            " return [left + parseFloat(paddingLeft), right - parseFloat(paddingRight)]; }"
        )
        edges.setdefault(tuple(box), []).append(path)
        wide = page.evaluate("document.scrollingElement.scrollWidth")
        assert wide <= width, (path, wide)
    assert len(edges) == 1, edges
    brand = page.locator(".bar .brand").bounding_box()
    if width >= 1100:
        assert abs(brand["x"] - next(iter(edges))[0]) <= 1, "the bar begins at the same edge"


def test_the_heat_map_is_read_by_keyboard_and_pointer(calm):
    page = arrive(calm, "/overview")
    line = page.locator(".heat-map + p[role=status]")
    expect(line).to_contain_text("Point at an hour")
    page.locator(".heat-map").focus()
    cells = page.locator(".heat tbody tr").first.locator("td")
    for key, hour in (("ArrowRight", 0), ("ArrowRight", 1), ("End", 23), ("Home", 0)):
        page.keyboard.press(key)
        value = cells.nth(hour).text_content()
        expect(line).to_have_text(f"Mon {hour:02}:00: {value} engagements")
        expect(page.locator(".heat .at")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    expect(line).to_contain_text("Tue 00:00")
    page.keyboard.press("Escape")
    expect(page.locator(".heat .at")).to_have_count(0)
    cells.nth(5).hover()
    expect(line).to_contain_text("Mon 05:00")
    assert list(ask_axe(page, *SCHEMES)) == []
