"""Redirects never lead where an attacker wants, and headers cannot be injected."""

from urllib.parse import quote, urljoin, urlsplit

import pytest

from openengagement.auth.callbacks import UnfitCallback, check_callback
from openengagement.portal.sign_in import local_path
from openengagement.settings import Settings
from support.cases import cases
from support.flows import CALLBACK, ESCAPED_CALLBACK, PASSWORD
from support.oauth_server import FORM, REQUEST_TOKEN
from support.signing import as_form
from support.sockets import exchange, request_bytes

HOME = "/"
ELSEWHERE = [
    "https://evil.example/",
    "HTTPS://evil.example",
    "https:evil.example",
    "https:/evil.example",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "\\\\evil.example",
    "/\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "\x00//evil.example",
    "/\x0b/evil.example",
    "/\x85/evil.example",
    "/\u2028/evil.example",
    "/\uff0fevil.example",
    "\uff0f\uff0fevil.example",
    "/\u3002/evil.example",
    "//evil\u3002example",
    "//evil%E3%80%82example",
    "//evil.example:80@127.0.0.1/",
    "//127.0.0.1:80@evil.example/",
    "http://127.0.0.1.evil.example/",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "mailto:x@evil.example",
    "evil.example",
    ".evil.example",
    "@evil.example",
    ":@evil.example",
    "?//evil.example",
    "#//evil.example",
    "",
    "/" + "a" * 3000,
]
# These look like another site, but browsers stay on this one.
STAYS = [
    "/%09/evil.example",
    "/%2F/evil.example",
    "/%5Cevil.example",
    "/%0d%0aLocation:%20https://evil.example",
    "/settings/apps?next=//evil.example",
    "/settings/apps#@evil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/@evil.example",
    "/;@evil.example",
    "/:80@evil.example",
    "/https://evil.example",
]


@cases("url", ELSEWHERE)
def test_return_to_another_site_leads_home(oauth, url):
    """The page shows the return path; the next test follows it."""
    with oauth.person() as person:
        page = person.open(f"/sign-in?return_to={quote(url, safe='', errors='surrogatepass')}")
    [kept] = [value for name, value in page.form_with("password").fields if name == "return_to"]
    assert kept == HOME
    assert local_path(url) == HOME


@cases("url", [*ELSEWHERE[4:12:3], "javascript:x", *STAYS[:2]])
def test_sign_in_never_redirects_to_another_site(oauth, url):
    """However the form was changed. A browser's own URL parser interprets the redirect."""
    with oauth.person() as person:
        token = (
            "csrf_token",
            dict(person.open("/sign-in").form_with("password").fields)["csrf_token"],
        )
        sent = [("screen_name", "alice"), ("password", PASSWORD), ("return_to", url), token]
        answer = person.http.post(f"{oauth.url}/sign-in", content=as_form(sent), headers=FORM)
    assert answer.status_code == 303
    target = answer.headers["location"]
    assert target.startswith("/")
    assert not target.startswith(("//", "/\\"))
    assert urlsplit(urljoin(oauth.url, target)).netloc == urlsplit(oauth.url).netloc
    assert target == (url if url in STAYS else HOME)


@cases("url", STAYS)
def test_a_local_return_path_is_kept(url):
    assert local_path(url) == url
    assert urlsplit(urljoin("https://here.example/", url)).netloc == "here.example"


def test_no_page_redirects_to_a_url_from_its_query(oauth, alice):
    evil = "https://evil.example/"
    names = ("return_to", "redirect_uri", "next", "url", "oauth_callback", "callback", "continue")
    query = as_form([(name, evil) for name in names])
    for path in ("/sign-in", HOME, "/oauth/authorize", "/oauth/authenticate", "/sign-out", "/"):
        for browser in (alice.http, oauth.server.client.session):
            answer = browser.get(f"{oauth.url}{path}?{query}")
            assert "evil.example" not in str(answer.headers)


def test_the_host_header_does_not_change_redirects(oauth):
    for host in (
        "evil.example",
        "127.0.0.1@evil.example",
        "evil.example/x?",
        "[",
        "",
        "\xff",
        "a b",
    ):
        request = request_bytes(
            "GET", "/settings/apps", [("X-Forwarded-Host", "evil.example")], host=host
        )
        answer = exchange(oauth.server.port, request)
        assert answer.status in {303, 400}
        assert "evil" not in str(answer.headers)


# Callbacks.


@cases(
    "callback",
    [
        CALLBACK + "&more=1",
        CALLBACK.removesuffix("engagement"),
        CALLBACK + "/",
        CALLBACK.replace("https", "http"),
        CALLBACK.replace("client.example", "client.example.evil.example"),
        CALLBACK.replace("client.example", "client.example@evil.example"),
        CALLBACK.replace("client.example", "CLIENT.example"),
        CALLBACK.replace("/oauth/", "/oauth/../"),
        CALLBACK.replace("/oauth/", "/%6Fauth/"),
        CALLBACK + "#fragment",
        CALLBACK + "\r\nSet-Cookie: oe_session=x",
        CALLBACK + "\x00",
        f" {CALLBACK}",
        "https://evil.example/",
        "javascript:alert(1)//" + CALLBACK,
        "//client.example/oauth/return?provider=engagement",
        "OOB",
        "oob ",
        "*",
        "\ufeffoob",
    ],
)
def test_a_callback_must_match_a_registered_one_exactly(oauth, callback):
    answer = oauth.call(REQUEST_TOKEN, oauth.web, callback=callback)
    assert answer.status == 403, answer
    assert answer.json()["errors"][0]["code"] == 415
    assert b"evil" not in answer.body
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("callback", [CALLBACK, "https://evil.example/", "myapp://x", "OOB"])
def test_an_app_without_callbacks_can_only_use_a_pin(oauth, callback):
    answer = oauth.call(REQUEST_TOKEN, oauth.desktop, callback=callback)
    assert answer.status == 401, answer
    assert answer.json()["errors"][0]["code"] == 417


def test_a_callback_of_another_app_is_refused(oauth):
    """The callback is registered for another app."""
    oauth.server.command("app", "add", "Third", "--owner", "bob", "--callback", ESCAPED_CALLBACK)
    assert oauth.call(REQUEST_TOKEN, oauth.web, callback=ESCAPED_CALLBACK).status == 403


UNFIT = [
    "https://client.example/\r\nSet-Cookie: oe_session=x",
    "https://client.example/\nx",
    "https://client.example/\x00",
    "https://client.example/a b",
    "https://client.example/<script>",
    'https://client.example/"onclick=',
    "https://client.example/\\evil",
    "https://client.example\\@evil.example/",
    "https://client.example/#fragment",
    "https://user:password@client.example/",
    "https://",
    "https:///path",
    "https:client.example",
    "//client.example/",
    "/path",
    "client.example",
    "",
    " https://client.example/",
    "javascript:alert(1)",
    "JAVASCRIPT:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,x",
    "file:///etc/passwd",
    "vbscript:x",
    "blob:https://client.example/x",
    "https://cl\u0456ent.example/",
    "https://client.example:port/",
    "https://[::1/",
    # The consent page's policy names a host; these values would inject into it.
    "https://client.example;frame-ancestors/",
    "https://client.example,default-src/",
    "https://*/",
    "https://*.example/",
    "https://'unsafe-inline'/",
    "https://[::1];sandbox:80/",
    "https://a;sandbox[::1]/",
    "https://" + "a" * 3000 + "/",
]


SCHEMES = Settings().allowed_callback_schemes
# Browsers, desktops and phones open these by themselves. An allow-list needs no complete list.
OPENED_BY_THEMSELVES = [
    *("ms-msdt:/id", "ms-officecmd:x", "search-ms:query=x", "ms-settings:x", "ms-word:ofe|u|x"),
    *("intent://x#Intent;scheme=x;end", "feed:javascript:alert(1)", "jar:https://a.example!/x"),
    *("mhtml:https://a.example/x", "smb://a.example/x", "chrome-extension://abc/x"),
    *("javascript+x:alert(1)", "x-javascript:x", "moz-extension://x"),
    *("market://details?id=x", "itms-services://?action=x", "tel:112", "sms:112", "facetime:x"),
    *(
        "ldaps://a.example",
        "sftp://a.example",
        "ssh://a.example",
        "steam://run/1",
        "wss://a.example",
    ),
    *("x-apple.systempreferences:com.apple.preference.security", "vnd.ms.radio:x", "z39.50r://x"),
    *("tides://signed-in", "com:x", ".com.example:x", "com.:x", "com..example:x", "com.-+.x:x"),
]


@cases("url", UNFIT + OPENED_BY_THEMSELVES)
def test_invalid_callbacks_cannot_be_registered(url):
    with pytest.raises(UnfitCallback):
        check_callback(url, SCHEMES)


@cases(
    "url",
    [
        "https://client.example/",
        "HTTP://127.0.0.1:8081/back",
        "http://[::1]/",
        "com.example.app:/signed-in",
        "com.example.app://signed-in?by=x",
        "org.example.my-app:/x",
        "XN--P1AI.example:/x",
    ],
)
def test_valid_callbacks_can_be_registered(url):
    check_callback(url, SCHEMES)


@cases("option", ["--callback", "--website"])
@cases("url", [UNFIT[0], "javascript:alert(1)", "https://a.example;b/"])
def test_the_command_refuses_invalid_callbacks(oauth, option, url):
    with pytest.raises(AssertionError, match=r"cannot be used|begins with https"):
        oauth.server.command("app", "add", "Evil", "--owner", "bob", f"{option}={url}")


def test_a_registered_callback_keeps_working_after_its_scheme_was_forbidden(oauth):
    """Its app may have registered it in an older release, or under another setting."""
    made = oauth.server.command("app", "add", "Tides", "--owner", "bob", f"--callback={CALLBACK}")
    app = oauth.web.__class__(made["app_id"], made["consumer_key"], made["consumer_secret"], "", "")
    oauth.sql("update callbacks set url = 'tides://x' where app_id = ?", int(app.app_id))
    assert oauth.call(REQUEST_TOKEN, app, callback="tides://x").status == 200
    assert oauth.call(REQUEST_TOKEN, app, callback="tides://y").status == 403


def test_a_callback_written_directly_to_the_registry_cannot_inject_headers(oauth, alice):
    """It bypassed all validation, as data of an older release may."""
    made = oauth.server.command("app", "add", "Old", "--owner", "bob", f"--callback={CALLBACK}")
    app = oauth.web.__class__(made["app_id"], made["consumer_key"], made["consumer_secret"], "", "")
    evil = "https://client.example/\r\nSet-Cookie: oe_session=x\r\n\r\n<script>"
    oauth.sql("update callbacks set url = ? where app_id = ?", evil, int(app.app_id))
    asking = oauth.request_token(app, evil)
    page = alice.open(oauth.consent_url(asking))
    form = page.form_sending("decision", "authorize")
    sent = as_form(form.filled(decision="authorize"))
    answer = alice.http.post(f"{oauth.url}/oauth/authorize", content=sent, headers=FORM)
    assert answer.status_code == 302
    assert "set-cookie" not in answer.headers
    assert "\n" not in answer.headers["location"]
    assert "<script>" not in answer.headers["location"]
