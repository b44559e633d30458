"""Fixtures of the client's tests."""

import pytest

from both_clients import run_async, run_sync
from misbehaving import Misbehaving
from support.fixtures import server, servers, world

__all__ = ["server", "servers", "world"]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch, tmp_path_factory):
    """Hide the credentials of whoever runs the tests."""
    for name in ("ENGAGEMENT_API_URL", "ENGAGEMENT_API_PROFILE", "CONSUMER_KEY", "BEARER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-config"))


@pytest.fixture
def misbehaving():
    with Misbehaving() as running:
        yield running


@pytest.fixture(params=[run_sync, run_async], ids=["sync", "async"])
def run(request):
    """Run a query with one of the two clients: `run(query, url, credentials)`."""
    return request.param
