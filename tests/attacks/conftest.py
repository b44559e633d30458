"""Fixtures of the attacks: a stage of one worker, one of two, and one behind a proxy."""

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
    """Two workers behind a proxy on this machine, which says who asks."""
    with set_stage(
        world, workers=2, trusted_proxies="127.0.0.1/32", allow_plain_http="true"
    ) as made:
        yield made


@pytest.fixture(scope="session")
def studio(world):
    """Two workers, where an account may create as many apps as the tests like."""
    with set_stage(world, workers=2, apps_per_account_max="1000") as made:
        yield made


@pytest.fixture(scope="session")
def developer(studio):
    """Alice, signed in at the studio. Tests leave her so."""
    with studio.person() as person:
        person.sign_in()
        yield person


@pytest.fixture(scope="session")
def clients(wide):
    with crowd_at(wide.server) as made:
        yield made


@pytest.fixture(scope="session")
def alice(stage):
    """Alice, signed in at the stage of one worker. Tests leave her so."""
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
    """Whatever was done to a server, it lives on and has nothing to complain of."""
    yield
    for name in ("stage", "wide", "proxied", "studio"):
        if name in request.fixturenames:
            server = request.getfixturevalue(name).server
            assert server.is_healthy()
            assert "request_failed" not in server.log(), server.log()[-2000:]
