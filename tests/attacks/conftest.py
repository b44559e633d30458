"""Fixtures of the attack tests: servers with one worker, with two, and behind a proxy."""

import pytest

from support.fixtures import world
from support.stage import crowd_at, set_stage

__all__ = ["world"]


@pytest.fixture(scope="session")
def stage(world):
    with set_stage(world) as made:
        yield made


@pytest.fixture(scope="session")
def wide(world):
    """Two workers."""
    with set_stage(world, workers=2) as made:
        yield made


@pytest.fixture(scope="session")
def proxied(world):
    """Two workers behind a proxy on this machine, which forwards the client's address."""
    with set_stage(
        world, workers=2, trusted_proxies="127.0.0.1/32", allow_plain_http="true"
    ) as made:
        yield made


@pytest.fixture(scope="session")
def studio(world):
    """Two workers with a high limit on apps per account."""
    with set_stage(world, workers=2, apps_per_account_max="1000") as made:
        yield made


@pytest.fixture(scope="session")
def developer(studio):
    """Alice, signed in at the studio. Tests must leave her signed in."""
    with studio.person() as person:
        person.sign_in()
        yield person


@pytest.fixture(scope="session")
def clients(wide):
    with crowd_at(wide.server) as made:
        yield made


@pytest.fixture(scope="session")
def alice(stage):
    """Alice, signed in at the server with one worker. Tests must leave her signed in."""
    with stage.person() as person:
        person.sign_in()
        yield person


@pytest.fixture(scope="session")
def wide_alice(wide):
    with wide.person() as person:
        person.sign_in()
        yield person


@pytest.fixture(autouse=True)
def _still_alive(request):
    """After every test the server still runs, and its log holds no error."""
    yield
    for name in ("stage", "wide", "proxied", "studio"):
        if name in request.fixturenames:
            server = request.getfixturevalue(name).server
            assert server.is_healthy()
            assert "request_failed" not in server.log(), server.log()[-2000:]
