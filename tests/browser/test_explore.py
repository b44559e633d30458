"""The explorer in a browser: draw, read, zoom and save charts; and use it without scripts."""

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta

import pytest
from playwright.sync_api import expect

from browser.test_every_page import POCKET, SCHEMES, ask_axe, measure
from support.chromium import DESKTOP
from support.flows import PASSWORD
from support.world import RECENT

IDS = f"{RECENT},111,112"
DAYS = f"/explore/compare?tweet_ids={IDS}&metric=impressions&start=2024-05-01&end=2024-05-03"
HOURS = f"/explore/compare?tweet_ids={IDS}&metric=url_clicks"
PNG = b"\x89PNG\r\n\x1a\n"
# The number of pixels of the canvas with about this colour; NaN before it is drawn.
INKED = """([red, green, blue]) => {
  const canvas = document.querySelector("#chart canvas");
  if (!canvas) return NaN;
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
  copy.drawImage(canvas, 0, 0);
  const {data} = copy.getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let at = 0; at < data.length; at += 4)
    if (data[at + 3] > 200 && Math.abs(data[at] - red) + Math.abs(data[at + 1] - green)
        + Math.abs(data[at + 2] - blue) < 24) count += 1;
  return count;
}"""
LIGHT_LINES = [(0x0B, 0x60, 0x74), (0xA8, 0x40, 0x1F), (0x5B, 0x45, 0xA8)]
DARK_LINES = [(0x6F, 0xCB, 0xE0), (0xFF, 0x9D, 0x78), (0xB9, 0xA8, 0xF8)]


def arrive(session, path):
    """Sign in on the way."""
    session.open(path)
    session.sign_in("alice", PASSWORD)
    expect(session.page).to_have_url(re.compile(re.escape(session.origin + path.partition("?")[0])))
    return session.page


def chart_of(page):
    """The bounding box of the chart."""
    over = page.locator("#chart .u-over")
    expect(over).to_be_visible()
    return over.bounding_box()


def focus_chart(page):
    """Focus the chart, which its script makes possible."""
    page.locator("#chart[tabindex]").focus()


def columns_of(page):
    return page.locator("#figures tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )


def test_from_my_tweets_to_a_chart(session):
    page = arrive(session, "/explore")
    expect(page.locator("#picked")).to_contain_text("Pick up to 25 Tweets")
    for tweet_id in (RECENT, "111"):
        page.get_by_label(tweet_id).check()
    expect(page.locator("#picked")).to_have_text("2 of at most 25 picked")
    page.get_by_role("button", name="Impressions").click()
    expect(page.locator("tbody tr").first).to_contain_text("111")
    expect(page.locator("[aria-sort=descending]")).to_contain_text("Impressions")
    expect(page.locator("#picked")).to_have_text("2 of at most 25 picked")
    page.get_by_label("112").check()
    page.get_by_role("button", name="Show chart").click()
    session.expect_heading("Impressions of 3 Tweets")
    chart_of(page)
    page.get_by_role("link", name="My Tweets: choose other Tweets").click()
    expect(page.get_by_label("111")).to_be_checked()
    expect(page.locator("#picked")).to_have_text("3 of at most 25 picked")


def test_every_line_is_drawn_in_its_colour_light_and_dark(new_session, server):
    session = new_session(reduced_motion="reduce")
    page = arrive(session, DAYS)
    chart_of(page)
    for scheme, mine, others in (
        ("light", LIGHT_LINES, DARK_LINES),
        ("dark", DARK_LINES, LIGHT_LINES),
        ("light", LIGHT_LINES, DARK_LINES),
    ):
        page.emulate_media(color_scheme=scheme)
        # The chart is redrawn asynchronously; the first line is below the others.
        page.wait_for_function(f"colour => ({INKED})(colour) > 100", arg=mine[1])
        assert page.evaluate(INKED, mine[2]) > 100
        assert [page.evaluate(INKED, each) for each in others[1:]] == [0, 0]
    assert session.monitor.errors == []
    assert session.monitor.origins == {server.url}


def test_values_under_the_pointer_are_shown(session):
    page = arrive(session, DAYS)
    box = chart_of(page)
    expect(page.locator("#readout")).to_contain_text("Point at the chart")
    page.mouse.move(box["x"] + 2, box["y"] + 40)
    expect(page.locator("#readout")).to_have_text("1 May, UTC")
    expect(page.locator("#legend output")).to_have_text(["0", "23", "10"])
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 40)
    expect(page.locator("#readout")).to_have_text("3 May, UTC")
    expect(page.locator("#legend output")).to_have_text(["0", "0", "0"])
    page.mouse.move(5, 5)
    expect(page.locator("#readout")).to_contain_text("Point at the chart")


def test_a_tooltip_snaps_to_the_time_and_stays_inside(session):
    page = arrive(session, DAYS)
    box = chart_of(page)
    tip = page.locator(".chart-tip")
    expect(tip).to_be_hidden()
    for x, first in ((5, "111 23"), (box["width"] - 5, "119 0")):
        page.mouse.move(box["x"] + x, box["y"] + 40)
        expect(tip).to_be_visible()
        expect(tip.locator("span").first).to_have_text(first)
        inside = tip.bounding_box()
        assert box["x"] - 1 <= inside["x"]
        assert inside["x"] + inside["width"] <= box["x"] + box["width"] + 1
    page.mouse.move(5, 5)
    expect(tip).to_be_hidden()


def test_the_arrow_keys_read_the_chart(session):
    page = arrive(session, DAYS)
    chart_of(page)
    focus_chart(page)
    spoken = page.locator("#chart + p[role=status]")
    for key, text in (
        ("ArrowRight", "1 May, UTC: 111 23, 112 10, 119 0"),
        ("ArrowRight", "2 May, UTC: 111 17, 119 0, 112 0"),
        ("End", "3 May, UTC: 119 0, 111 0, 112 0"),
        ("Home", "1 May, UTC: 111 23, 112 10, 119 0"),
    ):
        page.keyboard.press(key)
        expect(spoken).to_have_text(text)
        expect(page.locator(".chart-tip")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".chart-tip")).to_be_hidden()


def test_nothing_is_said_in_words(session):
    page = arrive(session, DAYS.replace("metric=impressions", "metric=app_opens"))
    chart_of(page)
    expect(page.locator("#nothing")).to_have_text("Nothing in this time.")


def test_hours_are_shown_in_utc_and_local_time(new_session):
    session = new_session(timezone_id="Asia/Kolkata", locale="en-GB")
    page = arrive(session, DAYS + "&by=hour")
    session.expect_zone("Kolkata|Calcutta")
    box = chart_of(page)
    page.mouse.move(box["x"] + 1, box["y"] + 40)
    expect(page.locator("#readout")).to_have_text("1 May, 00:30 (19:00 UTC)")


@pytest.mark.parametrize("path", ["/explore", "/explore?period=28d"])
def test_times_of_a_list_are_those_of_the_zone_that_it_names(new_session, path):
    session = new_session(timezone_id="Asia/Kolkata", locale="en-GB")
    page = arrive(session, path)
    session.expect_zone("Kolkata|Calcutta")
    posted = page.locator("main time").first
    at = datetime.fromisoformat(posted.get_attribute("datetime"))
    expect(posted).to_contain_text(f"{at + timedelta(hours=5, minutes=30):%H:%M}")
    page.get_by_role("link", name="UTC", exact=True).click()
    expect(posted).to_contain_text(f"{at:%H:%M}")
    expect(page.locator(".zone")).to_contain_text("UTC")


def test_zoom_by_dragging_and_reset(session):
    page = arrive(session, DAYS + "&by=hour")
    box = chart_of(page)
    buttons = {name: page.get_by_role("button", name=name) for name in ("Zoom out", "Reset zoom")}
    for button in buttons.values():
        expect(button).to_be_disabled()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60, steps=5)
    page.mouse.up()
    expect(page.locator("#range")).to_have_text(re.compile(r"Shows 1 May, .* UTC to 2 May, .* UTC"))
    box = chart_of(page)
    page.mouse.move(box["x"] + 1, box["y"] + 50)
    expect(page.locator("#readout")).to_contain_text(re.compile(r"1 May, 1[78]:00 UTC"))
    buttons["Reset zoom"].click()
    expect(page.locator("#range")).to_have_text("")
    expect(buttons["Reset zoom"]).to_be_disabled()


def test_zoom_by_keyboard(session):
    page = arrive(session, HOURS)
    chart_of(page)
    ranges = [page.locator("#range").inner_text()]
    for name in ("Zoom in", "Zoom in", "Later", "Earlier", "Zoom out"):
        page.get_by_role("button", name=name).focus()
        page.keyboard.press("Enter")
        page.wait_for_function(
            "before => document.getElementById('range').textContent !== before", arg=ranges[-1]
        )
        ranges.append(page.locator("#range").text_content())
    assert ranges[2] == ranges[4], "there and back"
    page.get_by_role("button", name="Reset zoom").focus()
    page.keyboard.press("Space")
    expect(page.locator("#range")).to_have_text("")


def test_a_single_point_has_no_zoom(session):
    """The point would vanish: no part of the range but its middle holds it."""
    page = arrive(session, DAYS.replace("end=2024-05-03", "end=2024-05-01") + "&by=day")
    chart_of(page)
    for name in ("Zoom in", "Zoom out", "Earlier", "Later", "Reset zoom"):
        expect(page.get_by_role("button", name=name)).to_be_disabled()
    page.wait_for_function(f"colour => ({INKED})(colour) > 10", arg=LIGHT_LINES[0])


def test_lines_can_be_hidden_and_shown(session):
    page = arrive(session, DAYS)
    chart_of(page)
    button = page.get_by_role("button", name="112")
    colour = LIGHT_LINES[2]
    page.wait_for_function(f"colour => ({INKED})(colour) > 100", arg=colour)
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "false")
    page.wait_for_function(f"colour => ({INKED})(colour) === 0", arg=colour)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    page.mouse.move(5, 5)
    page.wait_for_function(f"colour => ({INKED})(colour) > 100", arg=colour)


def test_the_form_changes_the_chart(session):
    page = arrive(session, DAYS)
    page.get_by_label("Metric").select_option("Engagement rate")
    page.get_by_label("Show", exact=True).select_option("together")
    page.get_by_label("Count", exact=True).select_option("cumulative")
    page.get_by_role("button", name="Show", exact=True).click()
    session.expect_heading("Engagement rate of 3 Tweets")
    chart_of(page)
    expect(page.locator("#legend li")).to_have_text(["All 3 Tweets together"])
    page.get_by_text("The figures as a table").click()
    expect(page.locator("#figures tbody tr")).to_have_count(3)
    page.get_by_role("link", name="28 days").click()
    expect(page.locator("#figures tbody tr")).to_have_count(28)
    last = date.fromisoformat(page.get_by_label("To", exact=True).input_value())
    midnights = (datetime.now(UTC).date() - last).days  # one may come between
    assert midnights in {0, 1}
    expect(page.get_by_label("From", exact=True)).to_have_value(str(last - timedelta(27)))
    page.get_by_role("link", name="Last 28 hours").click()
    expect(page.get_by_label("From", exact=True)).to_have_value("")
    assert page.locator("#figures tbody tr").count() in {28, 29}


def test_csv_and_png_downloads(session, tmp_path):
    page = arrive(session, DAYS)
    chart_of(page)
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download CSV").click()
    assert saved.value.suggested_filename == "impressions-2024-05-01-2024-05-03.csv"
    saved.value.save_as(tmp_path / "a.csv")
    text = (tmp_path / "a.csv").read_text("utf-8-sig")
    assert list(csv.reader(io.StringIO(text)))[1:] == columns_of(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as PNG").click()
    assert saved.value.suggested_filename == "impressions-2024-05-01-2024-05-03.png"
    saved.value.save_as(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    assert content.startswith(PNG)
    canvas = page.locator("#chart canvas").evaluate("each => [each.width, each.height]")
    width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
    assert width == canvas[0]
    assert height > canvas[1], "with its name and its lines'"


def test_the_request_is_copied(new_session):
    session = new_session()
    session.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = arrive(session, DAYS)
    session.stop_clock()  # the button says "Copied" for a short time
    page.get_by_text("The API request behind this page").click()
    page.get_by_role("button", name="Copy the curl command").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#curl").text_content()
    assert f"{session.origin}/insights/engagement/historical" in copied


def test_the_explorer_works_without_scripts(new_session, server):
    session = new_session(java_script_enabled=False)
    page = arrive(session, "/explore")
    page.get_by_label("111").check()
    page.get_by_role("button", name="Show chart").click()
    session.expect_heading("Impressions of 1 Tweet")
    table = page.get_by_role("region", name="Figures").get_by_role("table")
    expect(table).to_be_visible()
    assert table.get_by_role("row").count() in {29, 30}
    for gone in ("#chart", "#tools", "#png", "#legend", "#readout"):
        expect(page.locator(gone)).to_be_hidden()
    page.get_by_label("From", exact=True).fill("2024-05-01")
    page.get_by_label("To", exact=True).fill("2024-05-02")
    page.get_by_label("By", exact=True).select_option("day")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(table.get_by_role("row")).to_have_text(
        [re.compile("Day"), re.compile("2024-05-01\\s*23"), re.compile("2024-05-02\\s*17")]
    )
    assert session.monitor.errors == []
    assert session.monitor.origins == {server.url}


def test_everything_works_by_keyboard(session):
    page = arrive(session, "/explore")
    page.get_by_label("111").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    session.expect_heading("Impressions of 1 Tweet")
    page.get_by_text("The figures as a table").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Figures")).to_be_visible()


@pytest.mark.parametrize("options", [{"viewport": DESKTOP}, POCKET], ids=["desk", "phone"])
def test_every_state_of_the_explorer_passes_axe(new_session, server, options):
    """axe-core finds nothing; on a phone nothing scrolls sideways, and a finger hits its aim."""
    session = new_session(**{"reduced_motion": "reduce", **options})
    page, wrong = arrive(session, "/explore"), []

    def look(name):
        found = list(ask_axe(page, *SCHEMES))
        if options is POCKET:
            found += measure(page)
        page.emulate_media(color_scheme="light")
        wrong.extend(f"{name}: {each}" for each in found)

    look("table")
    page.get_by_text("The API request behind").click()
    page.get_by_label("111").check()
    look("table, picked, request open")
    for path in (HOURS, DAYS, f"{DAYS}&show=together&cumulative=yes"):
        session.open(path)
        chart_of(page)
        look(path)
        page.get_by_text("The figures as a table").click()
        page.get_by_text("The API request behind").click()
        look(f"{path}, all open")
    session.open("/explore/compare?tweet_ids=111&start=2026-01-02&end=2026-01-01")
    look("refused")
    assert wrong == [], "\n".join(wrong)
    assert session.monitor.errors == []
    assert session.monitor.origins == {server.url}
