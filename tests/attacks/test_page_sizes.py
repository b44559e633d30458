"""Every page is small: its HTML, styles and scripts as they are sent, without pictures."""

import re

import pytest

from support.cases import cases
from support.flows import add_manager
from support.world import RECENT

BYTES_MAX = 60_000
SIGNED_OUT = ("/", "/sign-in", "/docs", "/settings/nowhere")
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
)
MANAGER = tuple(
    f"/manage{path}" for path in ("", "/usage", "/system", "/keys", "/accounts", "/audit")
)


def weigh(oauth, person, path):
    """Return the bytes of a page and of everything that it loads, pictures apart."""
    answer = person.http.get(oauth.url + path)
    assert answer.status_code in {200, 404}, (path, answer.status_code)
    names = set(re.findall(r'(?:src|href)="(/static/[^"]+[.](?:css|js))"', answer.text))
    assert names, path
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
def manager(oauth):
    add_manager(oauth.server, "maude")
    with oauth.person("maude") as person:
        person.sign_in()
        yield person


@pytest.mark.parametrize("path", MANAGER)
def test_pages_of_managers_are_small(oauth, manager, path):
    assert weigh(oauth, manager, path) < BYTES_MAX
