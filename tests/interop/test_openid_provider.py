"""Sign-in through npm's oidc-provider, which is certified and requires PKCE."""

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
    """The provider. The server starts first, because the provider needs its URL."""
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
    """Sign in at the provider. Return the URL to which it redirects the browser."""
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


def test_a_person_without_an_account_gets_an_error(browser, provider):
    page = browser.open(let_in(provider, browser.go_to_provider(), "nobody-here"))
    assert page.status == 403
    assert "no account of this platform belongs to" in alert(page)


def test_a_forced_sign_in_needs_a_new_authentication(browser, provider):
    back = "/oauth/authorize%3Foauth_token%3Dx%26force_login%3Dtrue"
    browser.open(let_in(provider, browser.go_to_provider(back), "bob"))
    assert browser.signed_in_as == "bob"


def test_a_person_who_cancels_is_not_signed_in(browser, provider):
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
