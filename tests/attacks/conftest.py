"""Fixtures of the attack tests: servers with one worker, with two, and behind a proxy."""

import pytest

from support.fixtures import world
from support.oauth_server import connected_clients, start_oauth_server

__all__ = ["world"]


@pytest.fixture(scope="session")
def oauth(world):
    with start_oauth_server(world) as made:
        yield made


@pytest.fixture(scope="session")
def two_workers(world):
    """Two workers."""
    with start_oauth_server(world, workers=2) as made:
        yield made


@pytest.fixture(scope="session")
def behind_proxy(world):
    """Two workers behind a proxy on this machine, which forwards the client's address.

    The tests ask for thousands of request tokens, so their limit is out of reach.
    """
    with start_oauth_server(
        world,
        workers=2,
        trusted_proxies="127.0.0.1/32",
        allow_plain_http="true",
        request_tokens_per_minute="1000000",
    ) as made:
        yield made


@pytest.fixture(scope="session")
def many_apps(world):
    """Two workers with a high limit on apps per account."""
    with start_oauth_server(world, workers=2, apps_per_account_max="1000") as made:
        yield made


@pytest.fixture(scope="session")
def narrow(world):
    """One grouping per request, and no apps of one's own."""
    with start_oauth_server(world, groupings_max="1", apps_per_account_max="0") as made:
        yield made


@pytest.fixture(scope="session")
def developer(many_apps):
    """Alice, signed in where she may create many apps. Tests must leave her signed in."""
    with many_apps.person() as person:
        person.sign_in()
        yield person


@pytest.fixture(scope="session")
def clients(two_workers):
    with connected_clients(two_workers.server) as made:
        yield made


@pytest.fixture(scope="session")
def alice(oauth):
    """Alice, signed in at the server with one worker. Tests must leave her signed in."""
    with oauth.person() as person:
        person.sign_in()
        yield person


@pytest.fixture(scope="session")
def alice_on_two_workers(two_workers):
    with two_workers.person() as person:
        person.sign_in()
        yield person


@pytest.fixture(autouse=True)
def _still_alive(request):
    """After every test the server still runs, and its new log lines hold no error."""
    names = {"oauth", "two_workers", "behind_proxy", "many_apps", "narrow"}
    names.intersection_update(request.fixturenames)
    servers = [request.getfixturevalue(name).server for name in names]
    before = [server.log_bytes for server in servers]
    yield
    for server, size in zip(servers, before, strict=True):
        assert server.is_healthy()
        written = server.log(since=size)
        assert "request_failed" not in written, written[-2000:]
