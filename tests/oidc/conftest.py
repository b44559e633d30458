"""Fixtures of the OpenID Connect tests: a provider that a test can manipulate, and a server."""

from collections.abc import Iterator

import pytest

from support.fixtures import servers, world
from support.openid_browser import Browser
from support.openid_provider import Provider

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
