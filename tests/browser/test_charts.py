"""Charts and lists: local time, the largest lines and the rest, stacked areas, the first screen."""

import re

import pytest
from playwright.sync_api import expect

from browser.clipping import cut_numbers
from browser.test_every_page import SCHEMES, ask_axe
from browser.test_explore import focus_chart
from browser.test_overview import arrive
from support.world import RECENT

ALICE = f"{RECENT},111,112,113,114,115,116,118"
DAYS = f"/explore/compare?tweet_ids={ALICE}&metric=impressions&start=2024-05-01&end=2024-05-03"
GRETA = "/explore/compare?tweet_ids=90000,90001,90002,90003,90009&metric=favorites"


@pytest.fixture
def calm(new_session):
    """A browser without transitions: axe-core measures the colours of the moment."""
    made = new_session(reduced_motion="reduce")
    yield made
    assert made.monitor.errors == []


def test_the_largest_lines_and_the_rest(calm):
    page = arrive(calm, DAYS, "alice")
    entries = page.locator("#legend li")
    expect(entries).to_have_count(6)
    expect(entries.last).to_contain_text("3 others")
    focus_chart(page)
    page.keyboard.press("Home")
    expect(page.locator("#chart + p[role=status]")).to_contain_text("others")
    cells = page.locator("#figures tbody tr").first.locator("td").all_text_contents()
    shown = entries.locator("output").all_text_contents()
    numbers = [int(text.replace(",", "")) for text in shown]
    assert sum(numbers) == sum(int(text.replace(",", "")) for text in cells)
    assert list(ask_axe(page, *SCHEMES)) == []
    page.get_by_role("link", name="Show every line").click()
    expect(entries).to_have_count(8)
    expect(page).to_have_url(re.compile("lines=all"))
    page.get_by_role("link", name=re.compile("Show the 5 largest")).click()
    expect(entries).to_have_count(6)


def test_rates_have_no_rest(session):
    page = arrive(session, DAYS.replace("metric=impressions", "metric=engagement_rate"), "alice")
    expect(page.locator("#legend li")).to_have_count(5)
    expect(page.get_by_label("Draw", exact=True)).to_have_count(0)


def test_areas_lie_on_each_other(calm, greta):
    page = arrive(calm, GRETA)
    expect(page.locator("#chart canvas")).to_be_visible()
    page.get_by_label("Draw", exact=True).select_option("stacked")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page).to_have_url(re.compile("draw=stacked"))
    expect(page.locator("#chart canvas")).to_be_visible()
    focus_chart(page)
    page.keyboard.press("Home")
    cells = page.locator("#figures tbody tr").first.locator("td").all_text_contents()
    expect(page.locator("#legend output")).to_have_text(cells)
    entry = page.locator("#legend button").first
    entry.click()
    expect(entry).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#chart canvas")).to_be_visible()
    assert list(ask_axe(page, *SCHEMES)) == []


@pytest.mark.parametrize("size", [(1280, 800), (360, 740)], ids=["desk", "phone"])
@pytest.mark.parametrize("path", [GRETA, f"{GRETA}&draw=stacked", "/overview"])
def test_the_chart_is_on_the_first_screen(new_session, greta, size, path):
    width, height = size
    session = new_session(viewport={"width": width, "height": height}, reduced_motion="reduce")
    page = arrive(session, path)
    box = page.locator("#chart canvas, .bars").first.bounding_box()
    assert box["y"] + box["height"] <= height
    assert box["x"] + box["width"] <= width
    assert cut_numbers(page) == []


def test_hours_of_the_axis_are_local_and_utc_by_choice(new_session, greta):
    session = new_session(timezone_id="Asia/Kolkata", locale="en-GB")
    page = arrive(session, GRETA)
    session.expect_zone("Kolkata|Calcutta")
    focus_chart(page)
    page.keyboard.press("End")
    expect(page.locator("#readout")).to_have_text(re.compile(r", \d\d:30 \(\d\d:00 UTC\)"))
    page.get_by_role("link", name="UTC", exact=True).click()
    expect(page).to_have_url(re.compile("zone=UTC"))
    focus_chart(page)
    page.keyboard.press("End")
    expect(page.locator("#readout")).to_have_text(re.compile(r", \d\d:00 UTC \("))
    page.get_by_role("link", name="Your time").click()
    expect(page).not_to_have_url(re.compile("zone=UTC"))


def test_the_overview_shows_local_days_and_hours(new_session, server, greta):
    session = new_session(timezone_id="Asia/Kolkata", locale="en-GB")
    page = arrive(session, "/overview?period=28h")
    session.expect_zone("Kolkata|Calcutta")
    expect(page.locator(".zone")).to_contain_text(re.compile("Kolkata|Calcutta"))
    first = page.locator("#figures tbody th").first
    expect(first).to_have_text(re.compile(r":30$"))
    total = page.locator("#total").text_content()
    page.get_by_role("link", name="28 days").click()
    expect(page.get_by_role("link", name="28 days")).to_have_attribute("aria-current", "true")
    expect(page.get_by_text(re.compile(r"Busiest hour: .*:30 to .*:30"))).to_be_visible()
    page.get_by_role("link", name="UTC", exact=True).click()
    expect(page).to_have_url(re.compile("zone=UTC"))
    expect(page.get_by_text(re.compile(r"Busiest hour: .*:00 to .*:00"))).to_be_visible()
    page.get_by_role("link", name="28 hours").click()
    expect(page).to_have_url(re.compile("zone=UTC"))
    expect(first).to_have_text(re.compile(r":00 UTC$"))
    total_in_utc = page.locator("#total").text_content()
    page.get_by_role("link", name="Your time").click()
    expect(first).to_have_text(re.compile(r":30$"))
    # An hour may begin between the pages.
    assert total_in_utc in {total, page.locator("#total").text_content()}
    assert session.monitor.errors == []
    assert session.monitor.origins == {server.url}


def test_the_address_holds_the_list(calm, greta):
    page = arrive(calm, "/explore")
    page.get_by_role("link", name="7 days").click()
    expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    page.get_by_role("button", name="Link clicks", exact=True).click()
    expect(page.locator("[aria-sort=descending]")).to_contain_text("Link clicks")
    page.wait_for_load_state()  # the script that notes ticks in the address
    page.locator("#pick-90001").focus()
    page.keyboard.press("Space")
    expect(page).to_have_url(re.compile("tweet_ids=90001"))
    page.reload()
    expect(page.locator("#pick-90001")).to_be_checked()
    expect(page.locator("[aria-sort=descending]")).to_contain_text("Link clicks")
    page.get_by_role("button", name="Pick all 5").click()
    expect(page.locator("#picked-all")).to_have_text("Picked all 5 Tweets.")
    expect(page.locator(".pick input:checked")).to_have_count(5)
    assert list(ask_axe(page, *SCHEMES)) == []
    page.locator("#clear").click()
    expect(page.locator(".pick input:checked")).to_have_count(0)
    expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")


@pytest.mark.parametrize("query", ["", "?period=90d&metric=engagement_rate"])
def test_the_chart_of_the_overview_is_saved_as_a_picture(calm, greta, tmp_path, query):
    page = arrive(calm, f"/overview{query}")
    with page.expect_download() as saved:
        page.get_by_role("button", name="PNG").click()
    name = "engagement-rate" if query else "impressions"
    assert saved.value.suggested_filename == f"overview-{name}.png"
    saved.value.save_as(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    plot = page.locator("#plot").bounding_box()
    width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
    assert width > 2 * plot["width"]
    assert height > 2 * plot["height"] + 200, "with a title and a key"
