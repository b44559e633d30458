"""Protections that the browser enforces: frames, cookies, forms of other sites, TLS."""

import re
import subprocess
from functools import partial

import pytest
from playwright.sync_api import expect

from support.flows import PASSWORD
from support.server import Server
from support.waiting import wait_for

OPENSSL = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost "
    "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
)
FOREIGN_FORM = """<!doctype html><title>Prize</title>
<form method="post" action="{url}/settings/apps/revoke">
  <input name="csrf_token" value="guess"><input name="app_id" value="{app_id}">
  <button>Win</button>
</form>"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        OPENSSL.split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def secure_server(server, certificate):
    """A server on the same data folder, behind TLS."""
    with Server(server.world, tls=certificate) as running:
        yield running


def is_refused(session):
    """Return whether the frame shows an error, and the browser has reported the reason."""
    session.page.wait_for_timeout(10)  # Playwright notes both meanwhile
    frames = session.page.frames
    framed = len(frames) > 1 and frames[1].url.startswith("chrome-error:")
    return framed and any("frame-ancestors" in each for each in session.monitor.errors)


def sign_in(session):
    session.open("/sign-in")
    session.sign_in()
    expect(session.page).to_have_url(re.compile("/overview$"))


def test_pages_cannot_be_framed(new_session, server, site, web_app):
    session = new_session()
    sign_in(session)
    paths = ("/sign-in", "/settings/apps", "/settings/nowhere")
    for url in (web_app.begin(), *(server.url + path for path in paths)):
        site.pages["/frame"] = f"<!doctype html><title>Frame</title><iframe src='{url}'></iframe>"
        session.monitor.errors.clear()
        session.open(f"{site.url}/frame")
        wait_for(partial(is_refused, session), reason=f"refused: {url}")


def test_a_form_of_another_site_is_refused(new_session, server, site, web_app):
    session = new_session()
    page = session.follow(web_app.begin())
    page.get_by_role("button", name="Authorize").click()
    expect(page.get_by_text("Welcome")).to_be_visible()
    web_app.finish_at(site.url + site.asked[-1])
    site.pages["/prize"] = FOREIGN_FORM.format(url=server.url, app_id=web_app.consumer.app_id)
    page = session.open(f"{site.url}/prize")
    page.get_by_role("button", name="Win").click()
    session.expect_heading("The form was not accepted")
    assert web_app.status() == 200


def test_cookies(session):
    sign_in(session)
    cookies = {each["name"]: each for each in session.context.cookies()}
    assert "oe_session" in cookies
    for cookie in cookies.values():
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    assert session.page.evaluate("document.cookie") == ""


def test_cookies_and_headers_under_tls(new_session, secure_server):
    secure_server.command("account", "password", "alice", "--stdin", stdin=f"{PASSWORD}\n")
    session = new_session(secure_server.url, ignore_https_errors=True)
    sign_in(session)
    cookies = {each["name"]: each for each in session.context.cookies()}
    assert "__Host-oe_session" in cookies
    for name, cookie in cookies.items():
        assert name.startswith("__Host-")
        kept = [cookie[key] for key in ("secure", "httpOnly", "sameSite", "path", "domain")]
        assert kept == [True, True, "Lax", "/", "127.0.0.1"]
    answer = session.page.reload()
    seconds = re.match(r"max-age=(\d+)", answer.headers["strict-transport-security"])
    assert int(seconds[1]) >= 180 * 86_400
    session.page.get_by_role("button", name="Sign out").click()
    session.expect_heading("Sign in to Open Engagement")
    assert session.monitor.errors == []
    assert session.monitor.origins == {secure_server.url}


def test_the_browser_caches_no_page(session):
    """After signing out, going back shows nothing."""
    sign_in(session)
    session.page.get_by_role("button", name="Sign out").click()
    session.expect_heading("Sign in to Open Engagement")
    session.page.go_back()
    session.expect_heading("Sign in to Open Engagement")
