"""The documentation as a site: it is complete, no page is too long, and it needs no other host."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import expect

from support.cases import cases
from support.chromium import TIMEOUT_MS, PageMonitor, chromium, open_context

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINES_MAX = 400  # of a page
# Written by a program, or a list in the order of time, in which nobody reads from top to bottom.
LONG = {"repository/CHANGELOG.md"}
OUTSIDE = "repository/"


class _Loader(yaml.SafeLoader):
    """Reads the configuration without calling what its tags name."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
SITE = yaml.load((ROOT / "mkdocs.yml").read_text(), _Loader)


def uris(entry):
    """Return the pages of a part of the navigation."""
    if isinstance(entry, str):
        folder = DOCS / entry
        if entry.endswith("/"):
            return [f"{entry}{path.name}" for path in folder.glob("*.md")]
        return [entry]
    values = entry.values() if isinstance(entry, dict) else entry
    return [uri for value in values for uri in uris(value)]


NAVIGATION = uris(SITE["nav"])


def path_of(uri):
    return ROOT / uri.removeprefix(OUTSIDE) if uri.startswith(OUTSIDE) else DOCS / uri


def test_every_page_is_reached():
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert pages - set(NAVIGATION) == set(), "name it in `nav` of mkdocs.yml"


def test_no_page_is_there_twice():
    assert sorted(uri for uri in NAVIGATION if NAVIGATION.count(uri) > 1) == []


@cases("uri", sorted(set(NAVIGATION) - LONG))
def test_no_page_is_too_long(uri):
    assert len(path_of(uri).read_text().splitlines()) <= LINES_MAX


def test_the_navigation_is_for_each_kind_of_user():
    titles = [title for entry in SITE["nav"] for title in entry]
    assert titles == [
        "Home",
        "Getting started",
        "API",
        "Metrics",
        "Sandbox",
        "Operating",
        "Security",
        "Architecture",
        "Decisions",
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.heavy
def test_every_page_is_built(site):
    missing = {
        uri
        for uri in NAVIGATION
        if not (site / uri.replace("README.md", "index.md")).with_suffix(".html").exists()
    }
    assert missing == set()


@pytest.mark.heavy
def test_pages_load_nothing_from_other_hosts(site):
    loaded = {
        (str(path.relative_to(site)), url)
        for path in site.rglob("*.html")
        for tag in re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", path.read_text())
        for url in re.findall(r'(?:src|href)="?((?:https?:)?//[^" >]+)', tag)
    }
    assert loaded == set()


@pytest.mark.heavy
def test_search_works_from_a_folder_without_a_network(site):
    with chromium() as browser, open_context(browser, offline=True) as context:
        monitor = PageMonitor(context)
        page = context.new_page()
        page.goto(f"file://{site}/index.html")
        page.get_by_role("textbox", name="Search").fill("idempotency key")
        result = page.locator(".md-search-result__item").first
        expect(result).to_be_visible(timeout=TIMEOUT_MS)
        result.get_by_role("link").first.click()
        page.wait_for_url(re.compile(r"file://.*\.html.*"))
    assert {url.partition(":")[0] for url in monitor.requests} <= {"file", "blob", "data"}
    assert monitor.errors == []
