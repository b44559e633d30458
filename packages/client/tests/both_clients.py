"""Use the synchronous and the asynchronous clients in the same way."""

import asyncio
import inspect
import threading

from misbehaving import KEYS
from openengagement_client import (
    AsyncEngagementClient,
    AsyncPlatformClient,
    Credentials,
    EngagementClient,
    RetryPolicy,
)
from support.waiting import PATIENCE_S

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


class OnLoop:
    """An asynchronous object whose methods any thread may call: an event loop runs in another."""

    def __init__(self, make, loop=None):
        self._owns_loop = loop is None
        self._loop = loop or asyncio.new_event_loop()
        if self._owns_loop:
            self._thread = threading.Thread(target=self._loop.run_forever)
            self._thread.start()
        try:
            self._object = self._wait(self._made(make))
        except BaseException:
            self._stop()
            raise

    async def _made(self, make):
        return make()

    def _wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    def _stop(self):
        if self._owns_loop and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __getattr__(self, name):
        found = getattr(self._object, name)
        if not inspect.iscoroutinefunction(found):
            return found
        return lambda *given, **more: self._wait(found(*given, **more))

    def sender(self, *given, **more):
        return OnLoop(lambda: self._object.sender(*given, **more), self._loop)

    def __enter__(self):
        self._wait(self._object.__aenter__())
        return self

    def __exit__(self, *error):
        try:
            self._wait(self._object.__aexit__(*error))
        finally:
            self._stop()


def connect_async(*given, **more):
    """Return an `AsyncPlatformClient` that is used as a `PlatformClient`."""
    return OnLoop(lambda: AsyncPlatformClient(*given, **more))
