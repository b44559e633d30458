"""`/oauth/authenticate`, `force_login` and every kind of callback in a real browser.

A browser checks the form policy of a page against every further redirect. If it refuses one, the
button seems to do nothing.
"""

import pytest
from playwright.sync_api import expect

from support.flows import add_consumer
from support.listener import Listener
from support.third_party import ThirdParty

WELCOME = "Welcome"


@pytest.fixture
def let_in(new_session, web_app, site):
    """The app, once alice has authorized it."""
    session = new_session()
    session.follow(web_app.begin())
    session.page.get_by_role("button", name="Authorize").click()
    expect(session.page.get_by_text(WELCOME)).to_be_visible()
    web_app.finish_at(site.url + site.asked[-1])
    return web_app


def test_an_authorized_app_needs_no_second_consent_after_sign_in(let_in, session, site):
    session.follow(let_in.begin(let_in.at.authenticate))
    expect(session.page.get_by_text(WELCOME)).to_be_visible()
    let_in.finish_at(site.url + site.asked[-1])
    let_in.assert_acts_for_alice()


def test_a_signed_in_person_is_redirected_at_once(let_in, session, site):
    session.open("/sign-in")
    session.sign_in()
    session.expect_heading("Overview")
    session.open(let_in.begin(let_in.at.authenticate))
    expect(session.page.get_by_text(WELCOME)).to_be_visible()
    let_in.finish_at(site.url + site.asked[-1])
    let_in.assert_acts_for_alice()


def test_authorize_asks_again(let_in, session):
    session.follow(let_in.begin())
    session.expect_heading("Authorize Tide Tables to use your account?")


def test_another_person_is_asked_for_consent(let_in, session):
    session.open(let_in.begin(let_in.at.authenticate))
    session.sign_in("bob")
    session.expect_heading("Authorize Tide Tables to use your account?")


@pytest.mark.parametrize("endpoint", ["authorize", "authenticate"])
def test_force_login_demands_a_new_sign_in(let_in, session, site, endpoint):
    session.open("/sign-in")
    session.sign_in()
    session.expect_heading("Overview")
    url = let_in.begin(getattr(let_in.at, endpoint), force_login="true", screen_name="alice")
    page = session.open(url)
    session.expect_heading("Sign in to Open Engagement")
    expect(page.get_by_label("Screen name")).to_have_value("alice")
    expect(page.get_by_label("Password")).to_be_focused()
    session.sign_in()
    if endpoint == "authorize":
        page.get_by_role("button", name="Authorize").click()
    expect(page.get_by_text(WELCOME)).to_be_visible()
    let_in.finish_at(site.url + site.asked[-1])
    let_in.assert_acts_for_alice()


def test_an_app_on_a_phone_is_opened_by_its_own_scheme(session, server, at):
    """Nobody here opens `example.lanterns:`; that the browser tried is all that can be seen."""
    callback = "example.lanterns://signed-in?by=engagement"
    consumer = add_consumer(server, "Lanterns", "--callback", callback)
    app = ThirdParty("Lanterns", consumer, at=at, callback=callback)
    page = session.follow(app.begin())
    expect(page.get_by_role("main")).to_contain_text(
        "returns you to an app that opens example.lanterns:"
    )
    with page.expect_event(
        "requestfailed", lambda sent: sent.url.startswith("example.lanterns:")
    ) as left:
        page.get_by_role("button", name="Authorize").click()
    app.finish_at(left.value.url)
    app.assert_acts_for_alice()
    session.monitor.requests.remove(left.value.url)


def test_a_callback_may_redirect_to_another_origin(new_session, server, at, site):
    with Listener() as home:
        site.redirects["/hop"] = f"{home.url}/return"
        callback = f"{site.url}/hop"
        app = ThirdParty(
            "Hop", add_consumer(server, "Hop", "--callback", callback), at=at, callback=callback
        )
        session = new_session()
        page = session.follow(app.begin())
        page.get_by_role("button", name="Authorize").click()
        expect(page.get_by_text(WELCOME)).to_be_visible()
