"""Sign in through an OpenID Connect provider in a real browser, which enforces every policy.

Provider, server and app are on three different sites.
"""

import pytest
from playwright.sync_api import expect

from support.certified_provider import NODE, PACKAGE, CertifiedProvider
from support.chromium import PageMonitor, open_context
from support.flows import Endpoints, add_consumer
from support.third_party import ThirdParty

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(
        not PACKAGE.is_dir(), reason="oidc-provider is not installed; run `make interop`"
    ),
]


@pytest.fixture(scope="module")
def provider(servers):
    certified = CertifiedProvider()
    certified.server = servers(**certified.settings, password_sign_in="false")
    with certified.serve(certified.server):
        yield certified


@pytest.fixture
def app(provider, site):
    callback = f"{site.url}/return"
    options = ["--callback", callback, "--sign-in"]
    consumer = add_consumer(provider.server, "Harbour Log", *options)
    return ThirdParty("Harbour Log", consumer, at=Endpoints(provider.server.url), callback=callback)


@pytest.fixture(params=[True, False], ids=["plain", "without JavaScript"])
def tab(request, browser):
    context = open_context(browser, java_script_enabled=request.param)
    monitor = PageMonitor(context)
    yield context.new_page()
    context.close()
    # The provider's own page asks for a font of elsewhere; policies are what matters here.
    assert [each for each in monitor.errors if "Security Policy" in each] == []


def sign_in_there(tab, login):
    """The person's part of the sign-in, at the provider."""
    tab.locator("[name=login]").fill(login)
    tab.locator("[name=password]").fill("any")
    tab.get_by_role("button", name="Sign-in").click()
    tab.get_by_role("button", name="Continue").click()


def test_a_person_signs_in_and_authorizes_an_app(tab, app, provider):
    tab.goto(app.begin())
    tab.get_by_role("button", name="Continue with Harbour ID").click()
    sign_in_there(tab, "alice")
    expect(tab.get_by_role("heading", level=1)).to_contain_text("Authorize Harbour Log")
    with tab.expect_request(f"{app.callback}*") as sent:
        tab.get_by_role("button", name="Authorize").click()
    app.finish_at(sent.value.url)
    app.assert_acts_for_alice()


def test_a_returning_person_is_redirected_to_the_app(tab, app, provider):
    """Form of the provider -> our callback -> /oauth/authenticate -> the app."""
    tab.goto(app.begin())
    tab.get_by_role("button", name="Continue with Harbour ID").click()
    sign_in_there(tab, "alice")
    with tab.expect_request(f"{app.callback}*") as sent:
        tab.get_by_role("button", name="Authorize").click()
    callback = sent.value.url
    tab.wait_for_url(lambda url: url == callback)
    app.finish_at(callback)
    tab.goto(f"{provider.server.url}/settings/apps")
    tab.get_by_role("button", name="Sign out").click()
    with tab.expect_request(f"{app.callback}*") as sent:
        tab.goto(app.begin(app.at.authenticate))
        tab.get_by_role("button", name="Continue with Harbour ID").click()
    app.finish_at(sent.value.url)


def test_going_back_skips_the_continue_page(tab, provider):
    tab.goto(f"{provider.server.url}/sign-in")
    tab.get_by_role("button", name="Continue with Harbour ID").click()
    expect(tab.locator("[name=login]")).to_be_visible()
    tab.go_back()
    expect(tab.get_by_role("button", name="Continue with Harbour ID")).to_be_visible()
