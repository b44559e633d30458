"""Signing in through npm's oidc-provider, which is certified and insists on PKCE."""

import pytest

from support.certified_provider import NODE, PACKAGE, CertifiedProvider
from support.openid_browser import Browser, alert
from support.person import Person, query_of

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(
        not PACKAGE.is_dir(), reason="oidc-provider is not installed; run `make interop`"
    ),
]


@pytest.fixture(
    scope="module",
    params=[
        ("client_secret_basic", "RS256"),
        ("client_secret_post", "ES256"),
        ("client_secret_basic", "EdDSA"),
    ],
    ids="-".join,
)
def provider(request, servers):
    """The provider; its server is started first, since the provider must know its address."""
    way, alg = request.param
    certified = CertifiedProvider(way=way, alg=alg)
    certified.server = servers(**certified.settings)
    with certified.serve(certified.server):
        yield certified


@pytest.fixture
def browser(provider):
    with Browser(provider.server.url) as running:
        yield running


def let_in(provider, url, login):
    """What the person does at the provider; returns where it sends the browser."""
    with Person(provider.issuer) as there:
        page = there.open(url)
        page = there.submit(page, page.form_with("login"), login=login, password="any")
        page = there.submit(page, page.form_with("prompt"))
        assert page.left_for, page
        return page.left_for


def test_a_person_signs_in(browser, provider):
    back = let_in(provider, browser.go_to_provider(), "alice")
    assert query_of(back)["iss"] == provider.issuer
    page = browser.open(back)
    assert (page.status, page.url) == (200, f"{browser.origin}/settings/apps")
    assert browser.signed_in_as == "alice"


def test_who_has_no_account_is_told_so(browser, provider):
    page = browser.open(let_in(provider, browser.go_to_provider(), "nobody-here"))
    assert page.status == 403
    assert "no account of this platform belongs to" in alert(page)


def test_a_forced_sign_in_is_proven(browser, provider):
    back = "/oauth/authorize%3Foauth_token%3Dx%26force_login%3Dtrue"
    browser.open(let_in(provider, browser.go_to_provider(back), "bob"))
    assert browser.signed_in_as == "bob"


def test_a_person_who_turns_back_is_not_signed_in(browser, provider):
    with Person(provider.issuer) as there:
        page = there.open(browser.go_to_provider())
        assert page.status == 200, page
        cancel = page.url.rstrip("/") + "/abort"
        back = there.open(cancel).left_for
    page = browser.open(back)
    assert (page.status, alert(page)) == (
        403,
        "Harbour ID did not sign you in. Try again.",
    )
