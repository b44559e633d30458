"""The style guide: a page of the sandbox, and of no other server."""

import pytest
from playwright.sync_api import expect

from browser.test_every_page import POCKET, SCHEMES, ask_axe, measure
from openengagement.sandbox.pytest_plugin import run_sandbox
from support.chromium import DESKTOP
from support.ports import free_port


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    options = ["--empty", "--port", str(free_port())]
    with run_sandbox(tmp_path_factory.mktemp("style-guide"), options) as running:
        yield running


@pytest.mark.parametrize("options", [{"viewport": DESKTOP}, POCKET], ids=["desk", "phone"])
def test_every_component_passes_axe(new_session, sandbox, options):
    session = new_session(sandbox.url, **{"reduced_motion": "reduce", **options})
    page = session.open("/style-guide")
    session.expect_heading("Style guide")
    found = list(ask_axe(page, *SCHEMES))
    if options is POCKET:
        found += measure(page)
    assert found == [], "\n".join(found)
    assert page.locator(".plot").count() == 4
    assert page.locator(".chart canvas").count() == 8
    drawn = {each.get_attribute("data-form") for each in page.locator(".chart").all()}
    assert drawn == {"lines", "areas", "bars"}
    assert page.locator(".heat-map").count() == 2
    page.locator("#c6-chart").focus()
    page.keyboard.press("End")
    expect(page.locator("#c6-readout")).to_contain_text("still counting")
    expect(page.locator("#c5-readout")).to_contain_text("Point at the chart")
    assert session.monitor.errors == []


def test_other_servers_do_not_have_it(session):
    session.open("/style-guide")
    session.expect_heading("There is no such page")
    expect(session.page.locator(".sample")).to_have_count(0)
