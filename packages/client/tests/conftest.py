"""Fixtures of the client's tests."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `figures` and `misbehaving`

from misbehaving import KEYS, Misbehaving
from support.fixtures import server, servers, world

from openengagement_client import (
    AsyncEngagementClient,
    Credentials,
    EngagementClient,
    Options,
    RetryPolicy,
)

__all__ = ["server", "servers", "world"]

QUICK = RetryPolicy(attempts_max=8, backoff_s=0.001, backoff_max_s=0.01, wait_max_s=20)
USER = Credentials(**KEYS)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch, tmp_path_factory):
    """Hide the credentials of whoever runs the tests."""
    for name in ("ENGAGEMENT_API_URL", "ENGAGEMENT_API_PROFILE", "CONSUMER_KEY", "BEARER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


@pytest.fixture
def misbehaving():
    with Misbehaving() as running:
        yield running


def run_sync(query, url, credentials=USER, *, policy=QUICK, options=None):
    with EngagementClient(url, credentials, policy=policy, options=options) as client:
        return client.run(query)


def run_async(query, url, credentials=USER, *, policy=QUICK, options=None):
    async def run():
        async with AsyncEngagementClient(
            url, credentials, policy=policy, options=options
        ) as client:
            return await client.run(query)

    return asyncio.run(run())


@pytest.fixture(params=[run_sync, run_async], ids=["sync", "async"])
def run(request):
    """Run a query with one of the two clients: `run(query, url, credentials)`."""
    return request.param


@pytest.fixture
def patient():
    return Options(concurrency=2, answer_timeout_s=5.0)
