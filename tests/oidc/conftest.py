"""Fixtures of the OpenID Connect tests: a provider that a test can manipulate, and a server."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Pytest's importlib mode leaves the path alone; this makes `import support` work for any runner.
sys.path.insert(0, str(Path(__file__).parents[1]))

from support.fixtures import servers, world
from support.openid_provider import Provider
from support.traveller import Browser

__all__ = ["servers", "world"]


@pytest.fixture(scope="session")
def running_provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture
def provider(running_provider):
    """At the beginning of each test it answers correctly."""
    running_provider.behave()
    return running_provider


@pytest.fixture(scope="session")
def site(servers, running_provider):
    """A server with both ways to sign in: the provider and passwords."""
    return servers(**running_provider.settings)


@pytest.fixture
def browser(site):
    with Browser(site.url) as running:
        yield running


@pytest.fixture
def other_browser(site):
    with Browser(site.url) as running:
        yield running
