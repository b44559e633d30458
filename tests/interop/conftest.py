"""Fixtures of the interop tests."""

import pytest

from support.fixtures import server, servers, world
from support.flows import (
    CALLBACK,
    ESCAPED_CALLBACK,
    PASSWORD,
    Endpoints,
    add_consumer,
    set_password,
)
from support.person import Person

__all__ = ["server", "servers", "world"]


@pytest.fixture(scope="session")
def at(server):
    """The URLs of the running server."""
    return Endpoints(server.url)


@pytest.fixture(scope="session")
def web_app(server):
    """An app with callback URLs, with which people may sign in."""
    callbacks = ["--callback", CALLBACK, "--callback", ESCAPED_CALLBACK]
    return add_consumer(server, "Harbour Charts", *callbacks, "--sign-in")


@pytest.fixture(scope="session")
def desktop_app(server):
    """An app without a callback URL, which uses PINs."""
    return add_consumer(server, "Harbour Desk")


@pytest.fixture(scope="session")
def passwords(server):
    set_password(server, "alice")


@pytest.fixture
def alice(server, passwords):
    """The author of the Tweets in the requests, with a new browser, not signed in."""
    with Person(server.url, "alice", PASSWORD) as person:
        yield person
