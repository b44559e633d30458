"""Access for others, passwords and second factors in a browser, on a desk and on a phone."""

import email
import email.policy
import re
from itertools import count

import pytest
from playwright.sync_api import expect

from browser.test_every_page import POCKET, SCHEMES, ask_axe, measure
from support.authenticator import code_now
from support.chromium import DESKTOP
from support.flows import PASSWORD, set_password
from support.receiver import Inbox, mail_server
from support.stores import query_registry
from support.waiting import wait_for
from support.world import RECENT

NEW = "another 40 lanterns"
_NUMBERS = count()


@pytest.fixture(params=[False, True], ids=["desk", "phone"])
def open_browser(request, new_session):
    """Open browsers of one size. At the end, none of them may have reported an error."""
    options = POCKET if request.param else {"viewport": DESKTOP, "reduced_motion": "reduce"}
    opened = []

    def open_one(*origin):
        opened.append(new_session(*origin, **options))
        return opened[-1]

    open_one.is_pocket = request.param
    yield open_one
    for session in opened:
        assert session.monitor.errors == []


def look(session, *, pocket):
    """Assert that the page is accessible, and on a phone that nothing is cut or too small."""
    wrong = [*(measure(session.page) if pocket else []), *ask_axe(session.page, *SCHEMES)]
    assert wrong == [], "\n".join(wrong)


def mails_to(inbox, address):
    """List the mails to one person. Managers also get some, about apps that wait."""
    return [each for each in inbox.mails if each.receivers == [address]]


def newcomer(server, **options):
    name = f"browser{next(_NUMBERS)}"
    more = [text for key, value in options.items() for text in (f"--{key}", value)]
    server.command("account", "add", name, *more)
    set_password(server, name)
    return name


def test_an_author_shares_and_revokes(open_browser, server):
    """An agency sees the figures, always under the author's name, until the author ends it."""
    pocket, agency_name = open_browser.is_pocket, newcomer(server)
    author, agency = open_browser(), open_browser()
    author.open("/settings/sharing")
    author.sign_in()
    page = author.page
    page.get_by_label("Screen name").fill(agency_name)
    page.get_by_role("button", name="Share your figures").click()
    expect(page.get_by_role("status")).to_contain_text(f"@{agency_name} can see")

    agency.open("/sign-in")
    page = agency.sign_in(agency_name, PASSWORD)
    agency.expect_heading("Overview of @alice")
    expect(page.locator("#total")).to_be_visible()
    chooser = page.get_by_role("navigation", name="Whose figures")
    expect(chooser.get_by_role("link", name="@alice")).to_have_attribute("aria-current", "true")
    look(agency, pocket=pocket)
    page.get_by_role("link", name="7 days").click()
    expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    agency.expect_heading("Overview of @alice")
    page.get_by_role("link", name="All Tweets").click()
    agency.expect_heading("Tweets of @alice")
    look(agency, pocket=pocket)
    page.get_by_label(RECENT).check()
    page.get_by_role("button", name="Show chart").click()
    agency.expect_heading("Impressions of 1 Tweet of @alice")
    expect(page.locator("#chart canvas")).to_be_visible()
    look(agency, pocket=pocket)
    chooser.get_by_role("link", name="you", exact=True).click()
    agency.expect_heading("My Tweets")
    page.go_back()
    agency.expect_heading("Impressions of 1 Tweet of @alice")

    page = author.page
    page.reload()
    row = page.get_by_role("listitem").filter(has_text=agency_name)
    expect(row).not_to_contain_text("never")
    row.locator("summary").click()
    row.get_by_role("button", name="Stop sharing").click()
    expect(page.get_by_role("listitem").filter(has_text=agency_name)).to_have_count(0)
    agency.page.reload()
    agency.expect_heading("These figures are not shared with you")
    look(agency, pocket=pocket)


def test_a_viewer_leaves(open_browser, server):
    owner_name, viewer_name = newcomer(server), newcomer(server)
    owner, viewer = open_browser(), open_browser()
    owner.open("/settings/sharing")
    owner.sign_in(owner_name, PASSWORD)
    owner.page.get_by_label("Screen name").fill(viewer_name)
    owner.page.get_by_role("button", name="Share your figures").click()
    expect(owner.page.get_by_role("status")).to_be_visible()
    viewer.open("/settings/sharing")
    page = viewer.sign_in(viewer_name, PASSWORD)
    row = page.get_by_role("listitem").filter(has_text=owner_name)
    row.locator("summary").click()
    look(viewer, pocket=open_browser.is_pocket)
    row.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", name="Nobody shares figures with you")).to_be_visible()


def test_a_second_factor_from_on_to_off(open_browser, server):
    """Everything by keyboard: forms send with Enter, and the code's field has the focus."""
    name, pocket = newcomer(server), open_browser.is_pocket
    session = open_browser()
    session.open("/settings/security")
    page = session.sign_in(name, PASSWORD)
    page.get_by_role("link", name="Turn on the second factor").focus()
    page.keyboard.press("Enter")
    session.expect_heading("Turn on the second factor")
    secret = page.locator("#secret").inner_text()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Code").fill(code_now(secret))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The second factor is on")
    codes = page.locator("#codes").inner_text().split("\n")
    assert len(codes) == 10
    look(session, pocket=pocket)
    page.reload()
    expect(page.locator("#codes")).to_have_count(0)

    query_registry(server.data, "UPDATE second_factors SET last_step = 0")
    other = open_browser()
    other.open("/overview")
    page = other.sign_in(name, PASSWORD)
    other.expect_heading("Enter your code")
    expect(page.get_by_label("Code")).to_be_focused()
    look(other, pocket=pocket)
    page.keyboard.type("000 00")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This code is not valid")
    look(other, pocket=pocket)
    page.get_by_label("Code").fill(codes[0])
    page.keyboard.press("Enter")
    other.expect_heading("Overview")

    page = other.open("/settings/security")
    page.get_by_role("heading", name="Turn off the second factor").click()
    page.locator("#off_password").fill(PASSWORD)
    page.get_by_label("Code").fill(codes[1])
    look(other, pocket=pocket)
    page.get_by_role("button", name="Turn it off").click()
    expect(page.get_by_role("status")).to_contain_text("The second factor is off")


def test_a_forgotten_password(open_browser, servers, server):
    """From the sign-in page to the mail, the new password, and in."""
    inbox, pocket = Inbox(), open_browser.is_pocket
    with mail_server(inbox) as port:
        mailing = servers(
            smtp_server=f"smtp://127.0.0.1:{port}",
            mail_from="engagement@example.com",
            mail_to="manager@example.com",
            public_url="https://engagement.example.com",
        )
        name = newcomer(mailing, mail="ana@example.org")
        session = open_browser(mailing.url)
        page = session.open("/sign-in")
        page.get_by_role("link", name="Forgot your password?").click()
        session.expect_heading("Forgot your password?")
        look(session, pocket=pocket)
        page.get_by_label("Screen name").fill(name)
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("a link is on its way")
        look(session, pocket=pocket)
        wait_for(lambda: mails_to(inbox, "ana@example.org"))
        content = mails_to(inbox, "ana@example.org")[0].content
        mail = email.message_from_bytes(content, policy=email.policy.default)
        (path,) = re.findall(r"example\.com(/sign-in/\S+)", mail.get_content())
        page = session.open(path)
        session.expect_heading("Set a new password")
        expect(page.get_by_label("New password")).to_be_focused()
        look(session, pocket=pocket)
        page.keyboard.type(NEW)
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("Your new password is set")
        look(session, pocket=pocket)
        session.sign_in(name, NEW)
        session.expect_heading("Overview")


def test_a_changed_password(open_browser, server):
    name = newcomer(server)
    session, elsewhere = open_browser(), open_browser()
    for each in (session, elsewhere):
        each.open("/settings/security")
        each.sign_in(name, PASSWORD)
    page = session.page
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_label("New password").fill(NEW)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Your password is changed")
    look(session, pocket=open_browser.is_pocket)
    elsewhere.page.reload()
    elsewhere.expect_heading("Sign in to Open Engagement")
