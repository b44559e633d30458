"""Every page is small: its HTML, styles and scripts as they are sent, without pictures."""

import json
import re

import pytest

from openengagement.engagement.types import TYPE_NAMES
from support.cases import cases
from support.developer import create
from support.flows import CALLBACK, OOB, add_manager
from support.world import RECENT

BYTES_MAX = 60_000
SIGNED_OUT = ("/", "/sign-in", "/sign-in/reset", "/docs", "/settings/nowhere")
AUTHOR = (
    *(f"/overview?period={name}" for name in ("28h", "7d", "28d", "90d")),
    "/overview?period=custom&first=2025-11-01&last=2026-10-30",
    "/explore",
    "/explore?period=90d&sort=favorites",
    f"/explore/compare?tweet_ids={RECENT},111,112,113,114,115,116,118,119&draw=stacked",
    f"/explore/compare?tweet_ids={RECENT},111,112,113,114,115,116,118,119&start=2024-05-01&end=2024-05-28&by=hour",
    "/portal",
    "/portal/new",
    "/settings/apps",
    "/settings/sharing",
    "/settings/security",
    "/settings/security/second-factor",
)
DEVELOPER = ("", "/keys", "/console", "/usage", "/callback")
MANAGER = tuple(
    f"/manage{path}"
    for path in ("", "/usage", "/system", "/keys", "/webhooks", "/accounts", "/audit")
)


def weigh(oauth, person, path):
    """Return the bytes of a page and of everything that it loads, pictures apart."""
    answer = person.http.get(oauth.url + path)
    assert answer.status_code in {200, 404}, (path, answer.status_code)
    return weigh_answer(oauth, person, answer)


def weigh_answer(oauth, person, answer):
    """Return the same for a page that is open."""
    names = set(re.findall(r'(?:src|href)="(/static/[^"]+[.](?:css|js))"', answer.text))
    assert names, answer.url
    files = [person.http.get(oauth.url + name) for name in sorted(names)]
    assert {each.headers["content-encoding"] for each in files} == {"gzip"}
    return sum(each.num_bytes_downloaded for each in (answer, *files))


@pytest.mark.parametrize("path", SIGNED_OUT)
def test_pages_of_visitors_are_small(oauth, path):
    with oauth.person() as visitor:
        assert weigh(oauth, visitor, path) < BYTES_MAX


@cases("path", AUTHOR)
def test_pages_of_authors_are_small(oauth, alice, path):
    assert weigh(oauth, alice, path) < BYTES_MAX


@pytest.fixture(scope="module")
def app_page(oauth, alice):
    """The page of a new app. Its keys page is measured with every secret on it."""
    app_id, page = create(alice, "Harbour Charts", complete=True)
    assert len(page.response.content) < BYTES_MAX
    assert weigh_answer(oauth, alice, page.response) < BYTES_MAX
    return f"/portal/apps/{app_id}"


@pytest.mark.parametrize("path", DEVELOPER)
def test_pages_of_developers_are_small(oauth, alice, app_page, path):
    assert weigh(oauth, alice, app_page + path) < BYTES_MAX


def test_an_answer_in_the_console_that_is_cut_is_small(oauth, alice, app_page):
    oauth.server.command("app", "enable", app_page.rpartition("/")[2])
    body = {
        "tweet_ids": ["111", "112", "113", "114", "115", "116"],
        "engagement_types": [name for name in TYPE_NAMES if name != "quote_tweets"],
        "start": "2024-05-01",
        "end": "2024-05-28",
        "groupings": {"all": {"group_by": ["tweet.id", "engagement.type", "engagement.hour"]}},
    }
    page = alice.open(f"{app_page}/console")
    form = page.form_with("tweet_ids", "body", action=f"{app_page}/console")
    page = alice.submit(page, form, endpoint="historical", body=json.dumps(body))
    assert "The answer is longer." in page.html
    assert weigh_answer(oauth, alice, page.response) < BYTES_MAX


def test_pages_of_the_three_legged_flow_are_small(oauth, alice):
    with oauth.person() as visitor:
        url = oauth.consent_url(oauth.request_token(oauth.web, CALLBACK))
        assert weigh_answer(oauth, visitor, visitor.open(url).response) < BYTES_MAX
    page = alice.open(url)
    assert "Authorize" in page.html
    assert weigh_answer(oauth, alice, page.response) < BYTES_MAX
    denied = alice.answer(page, "cancel")
    assert weigh_answer(oauth, alice, denied.response) < BYTES_MAX
    page = alice.open(oauth.consent_url(oauth.request_token(oauth.desktop, OOB)))
    pin = alice.answer(page, "authorize")
    assert "pin" in pin.texts
    assert weigh_answer(oauth, alice, pin.response) < BYTES_MAX


@pytest.fixture(scope="module")
def manager(oauth):
    add_manager(oauth.server, "maude")
    with oauth.person("maude") as person:
        person.sign_in()
        yield person


@pytest.mark.parametrize("path", MANAGER)
def test_pages_of_managers_are_small(oauth, manager, path):
    assert weigh(oauth, manager, path) < BYTES_MAX


def test_the_page_of_an_app_is_small_for_its_manager(oauth, manager, app_page):
    assert weigh(oauth, manager, app_page.replace("/portal", "/manage")) < BYTES_MAX
