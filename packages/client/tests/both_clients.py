"""Run a query with the synchronous or the asynchronous client."""

import asyncio

from misbehaving import KEYS
from openengagement_client import (
    AsyncEngagementClient,
    Credentials,
    EngagementClient,
    RetryPolicy,
)

QUICK = RetryPolicy(attempts_max=8, backoff_s=0.001, backoff_max_s=0.01, wait_max_s=20)
USER = Credentials(**KEYS)


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
