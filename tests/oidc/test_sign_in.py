"""Sign-in through the provider: redirects, keys, claims, and the account that is opened."""

import pytest

from support.openid_browser import Browser, alert
from support.openid_provider import (
    CLIENT_SECRET,
    EC_KEY,
    KEY,
    OKP_KEY,
    OTHER_KEY,
    query_of,
    sign_with,
)
from support.person import read_page


def complete_sign_in(browser, provider, return_to="/settings/apps", **claims):
    claims = claims or {"preferred_username": "alice"}
    return browser.open(provider.approve(browser.go_to_provider(return_to), **claims))


def test_a_person_signs_in_and_returns_to_the_page_they_came_from(browser, provider):
    page = complete_sign_in(browser, provider)
    assert (page.status, page.url) == (200, f"{browser.origin}/settings/apps")
    assert browser.signed_in_as == "alice"


@pytest.mark.parametrize(("name", "comes_back"), [("alice", True), ("bob", False)])
def test_a_late_form_comes_back_after_the_provider(browser, provider, name, comes_back):
    """To the person who filled it in, and to nobody else."""
    complete_sign_in(browser, provider)
    page = browser.open("/portal/new")
    browser.http.cookies.delete("oe_session", domain="127.0.0.1", path="/")
    form = page.form_with("callbacks", action="/portal/new")
    asked = browser.submit(page, form, name="Harbour Lights")
    assert "your form was not sent" in asked.text("kept")
    sent = browser.submit(asked, asked.form_with(action="/sign-in/oidc"))
    url = provider.approve(sent.links["continue-link"], preferred_username=name)
    back = browser.open(url)
    assert back.url == f"{browser.origin}/portal/new"
    found = dict(back.form_with("callbacks", action="/portal/new").fields)
    assert (found["name"] == "Harbour Lights") == comes_back
    assert ("kept-form" in back.texts) == comes_back


def test_the_button_names_the_provider(browser):
    assert "Harbour ID" in browser.open("/sign-in").html


def test_every_sign_in_has_its_own_secrets(browser, provider):
    first, second = (query_of(browser.go_to_provider()) for _ in range(2))
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 43
        assert first[name] != second[name]


def test_the_redirect_uri_is_the_address_that_the_browser_sees(browser):
    asked = query_of(browser.go_to_provider())
    assert asked["redirect_uri"] == f"{browser.origin}/sign-in/oidc/callback"


def test_the_cookie_is_encrypted_and_short_lived(browser, provider):
    page = browser.open("/sign-in")
    form = page.form_with(action="/sign-in/oidc")
    cookie = browser.submit(page, form).response.headers["set-cookie"]
    assert cookie.startswith("oe_openid=gAAAA")
    assert "HttpOnly" in cookie
    assert "Max-Age=600" in cookie
    assert "samesite=lax" in cookie.lower()


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(KEY, "RS256"), (KEY, "PS256"), (EC_KEY, "ES256"), (OKP_KEY, "EdDSA")],
)
@pytest.mark.filterwarnings("ignore:.*EdDSA.*")
def test_every_asymmetric_algorithm_is_accepted(browser, provider, key, algorithm):
    provider.keys = [{"kty": "new", "kid": "x"}, {"kty": "EC"}, "nonsense", KEY, EC_KEY, OKP_KEY]
    provider.keys[2] = {}
    provider.sign = sign_with(key, algorithm)
    complete_sign_in(browser, provider)
    assert browser.is_signed_in


def test_a_rotated_key_is_fetched(browser, provider):
    complete_sign_in(browser, provider)
    asked = provider.asked.count("/keys")
    provider.keys = [OTHER_KEY]
    provider.sign = sign_with(OTHER_KEY, "RS256")
    with Browser(browser.origin) as later:
        complete_sign_in(later, provider)
        assert later.is_signed_in
    assert provider.asked.count("/keys") == asked + 1


def test_discovery_and_keys_are_cached(browser, provider):
    complete_sign_in(browser, provider)
    provider.asked.clear()
    with Browser(browser.origin) as later:
        complete_sign_in(later, provider)
    assert provider.asked == ["/token"]


def test_a_token_for_several_audiences_needs_our_azp(browser, provider):
    complete_sign_in(
        browser, provider, preferred_username="alice", aud=["engagement", "x"], azp="engagement"
    )
    assert browser.is_signed_in


def test_a_claim_missing_from_the_id_token_is_read_from_userinfo(browser, provider):
    provider.userinfo = {"sub": "7", "preferred_username": "bob"}
    complete_sign_in(browser, provider, sub="7")
    assert browser.signed_in_as == "bob"


def test_letter_case_of_a_screen_name_does_not_matter(browser, provider):
    complete_sign_in(browser, provider, preferred_username="ALICE")
    assert browser.signed_in_as == "alice"


@pytest.mark.parametrize(
    "claims",
    [
        {"preferred_username": "nobody-here"},
        {"preferred_username": "alice "},
        {"preferred_username": "@alice"},
        {"preferred_username": ""},
        {"preferred_username": 101},
        {"preferred_username": ["alice"]},
        {"preferred_username": None},
        {"name": "alice"},
        {"preferred_username": "ali\u0441e"},
        {"preferred_username": "alice\0"},
        {"preferred_username": "\ud800"},
    ],
)
def test_a_person_without_an_account_gets_an_error_that_names_no_one(browser, provider, claims):
    page = complete_sign_in(browser, provider, "/oauth/authorize?oauth_token=x", **claims)
    assert page.status == 403
    assert alert(page).startswith(
        "You are signed in at Harbour ID, but no account of this platform"
    )
    assert "aria-invalid" not in page.html
    assert "alice" not in page.html
    assert page.form_with("return_to", "password").filled()[1][1].startswith("/oauth/authorize")
    assert not browser.is_signed_in


def test_letters_that_fold_to_others_open_no_account(site, provider, browser):
    site.command("account", "add", "moss")
    for name in ("mo\u017fs", "MO\u017fS"):
        assert complete_sign_in(browser, provider, preferred_username=name).status == 403
    complete_sign_in(browser, provider, preferred_username="moss")
    assert browser.signed_in_as == "moss"


@pytest.fixture(scope="module")
def other_site(servers, running_provider, tmp_path_factory):
    """Behind a proxy, without passwords, with the secret in a file, and `sub` as account ID."""
    file = tmp_path_factory.mktemp("oidc") / "secret"
    file.write_text(f"{CLIENT_SECRET}\n")
    settings = {**running_provider.settings, "oidc_client_secret_file": str(file)}
    del settings["oidc_client_secret"]
    more = {"password_sign_in": "false", "trusted_proxies": "127.0.0.1"}
    return servers(**settings, **more, oidc_account_claim="sub")


@pytest.fixture
def by_id(other_site):
    with Browser(other_site.url) as running:
        yield running


def test_a_subject_is_an_account_id(by_id, provider):
    complete_sign_in(by_id, provider, sub="101")
    assert by_id.signed_in_as == "alice"


@pytest.mark.parametrize(
    "sub", ["0101", "+101", " 101", "101.0", "alice", "\u0661\u0660\u0661", "9" * 19, "9" * 5000]
)
def test_a_subject_that_is_not_an_account_id_opens_no_account(by_id, provider, sub):
    page = complete_sign_in(by_id, provider, sub=sub)
    assert page.status == 403
    assert not by_id.is_signed_in


def test_force_login_makes_the_provider_authenticate_again(browser, provider):
    back = "/oauth/authorize%3Foauth_token%3Dx%26force_login%3Dtrue"
    asked = query_of(browser.go_to_provider(back))
    assert (asked["prompt"], asked["max_age"]) == ("login", "0")
    assert "prompt" not in query_of(browser.go_to_provider())


@pytest.mark.parametrize(("age_s", "status"), [(3600, 502), (0, 403)])
def test_force_login_requires_a_recent_auth_time(browser, provider, age_s, status):
    """403 comes from the consent page, which does not know the request token."""
    back = "/oauth/authorize%3Foauth_token%3Dx%26force_login%3Dtrue"
    provider.bend_claims = lambda claims: {**claims, "auth_time": claims["iat"] - age_s}
    assert complete_sign_in(browser, provider, back).status == status
    assert browser.is_signed_in is (age_s == 0)


def test_a_sign_in_for_oauth_authenticate_continues_through_a_page(browser, provider):
    page = complete_sign_in(browser, provider, "/oauth/authenticate?oauth_token=x")
    assert page.status == 200
    assert page.links["continue-link"] == "/oauth/authenticate?oauth_token=x"
    assert browser.is_signed_in


@pytest.mark.parametrize(
    "return_to",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/%09/x"],
)
def test_the_browser_is_never_sent_to_another_site(browser, provider, return_to):
    page = complete_sign_in(browser, provider, return_to)
    assert page.left_for is None
    assert page.url.startswith(f"{browser.origin}/")


def test_behind_a_proxy_the_redirect_uri_has_the_address_that_the_browser_sees(
    other_site, provider
):
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "metrics.example"}
    with Browser(other_site.url) as browser:
        page = browser.http.get(f"{other_site.url}/sign-in", headers=headers)
        token = dict(read_page(page).form_with(action="/sign-in/oidc").fields)["csrf_token"]
        headers["Cookie"] = page.headers["set-cookie"].partition(";")[0]
        answer = browser.http.post(
            f"{other_site.url}/sign-in/oidc", data={"csrf_token": token}, headers=headers
        )
    asked = query_of(read_page(answer).links["continue-link"])
    assert asked["redirect_uri"] == "https://metrics.example/sign-in/oidc/callback"
    assert answer.headers["set-cookie"].startswith("__Host-oe_openid=")
    assert "; Secure" in answer.headers["set-cookie"]


def test_password_sign_in_can_be_turned_off(by_id, provider):
    page = by_id.open("/sign-in")
    assert "password" not in page.html
    token = dict(page.form_with(action="/sign-in/oidc").fields)["csrf_token"]
    given = {"csrf_token": token, "screen_name": "alice", "password": "whatever it is"}
    answer = by_id.http.post(f"{by_id.origin}/sign-in", data=given)
    assert answer.status_code == 403
    assert "This server accepts no passwords." in answer.text


def test_without_a_provider_the_pages_do_not_exist(servers):
    with Browser(servers().url) as browser:
        assert "/sign-in/oidc" not in browser.open("/sign-in").html
        assert browser.open("/sign-in/oidc/callback?state=x&code=y").status == 404
        assert browser.http.post(f"{browser.origin}/sign-in/oidc").status_code == 404
