"""Composition root: settings -> stores, credentials, limits, ASGI app. The one place that wires."""

import asyncio
import contextlib
import gc
import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from openengagement.api.insights import Insights
from openengagement.api.oauth import OAuthCalls
from openengagement.api.platform import Platform
from openengagement.api.routes import Api, build_routes
from openengagement.auth.authenticate import Authenticator
from openengagement.auth.bearer import BearerTokens
from openengagement.auth.credentials import Keyring, open_keyring
from openengagement.auth.lookup import CredentialLookup
from openengagement.clock import Clock, SystemClock
from openengagement.ingest.register import Registrar
from openengagement.ingest.upload import Uploads
from openengagement.ingest.writer import BatchWriter
from openengagement.query import Query
from openengagement.registry.limits import Limits
from openengagement.registry.registry import Registry
from openengagement.settings import DATA_VARIABLE, Settings, load_settings
from openengagement.stores.contract import CounterStore
from openengagement.stores.sqlite import SqliteStore
from openengagement.telemetry import log_failure

_TIDY_EVERY_S: Final = 5.0
_ORPHAN_CHECK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a data folder holds, opened: shared by the server and the command line."""

    registry: Registry
    store: CounterStore
    keyring: Keyring

    def close(self) -> None:
        """Close the databases."""
        self.store.close()
        self.registry.close()


def open_parts(data: Path, settings: Settings, *, clock: Clock) -> Parts:
    """Open a data folder, making what is not there yet.

    Raises:
        OSError: the folder cannot be used.
        KeyFileError: the key file cannot.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    keyring = open_keyring(data / "server.key")
    registry = Registry(data / "registry.sqlite3")
    try:
        store = SqliteStore(
            data / "counters.sqlite3",
            clock=clock,
            idempotency_keep_days=settings.idempotency_keep_days,
        )
    except BaseException:
        registry.close()
        raise
    return Parts(registry, store, keyring)


def build_api(data: Path, settings: Settings, *, clock: Clock) -> Api:
    """The whole server on a data folder, as an ASGI application."""
    parts = open_parts(data, settings, clock=clock)
    limits = Limits(data)
    pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="work")
    lookup = CredentialLookup(parts.registry, parts.keyring)
    authenticator = Authenticator(lookup, limits, settings=settings, now_s=clock.now_s)
    writer = BatchWriter(
        parts.store,
        queue_max=settings.batches_in_flight_max,
        on_failure=lambda error: log_failure("commit_failed", error),
    )
    registrar = Registrar(parts.registry, parts.store)
    query = Query(parts.store, lookup.protected, settings=settings, now_s=clock.now_s)
    insights = Insights(authenticator, query, settings=settings, now_s=clock.now_s, pool=pool)
    bearers = BearerTokens(authenticator, lookup, registry=parts.registry, keyring=parts.keyring)
    platform = Platform(
        authenticator,
        Uploads(registrar, writer, settings=settings, now_s=clock.now_s),
        delete_tweet=parts.store.delete_tweet,
        in_flight_max=settings.batches_in_flight_max,
        bytes_max=settings.batch_max_bytes,
    )
    keeper = _Housekeeper(limits, settings, clock=clock)

    async def stop() -> None:
        await keeper.stop()
        platform.close()
        pool.shutdown()
        writer.close()
        limits.close()
        parts.close()

    return Api(
        build_routes(
            insights,
            OAuthCalls(bearers, settings=settings, pool=pool),
            platform=platform,
            is_healthy=lambda: writer.alive,
        ),
        settings=settings,
        pool=pool,
        default_headers=insights.default_headers,
        lifespan=(keeper.start, stop),
    )


class _Housekeeper:
    """Keeps the nonces few, in a thread of its own, while the server runs."""

    def __init__(self, limits: Limits, settings: Settings, *, clock: Clock) -> None:
        self._limits = limits
        self._keep_s = settings.timestamp_window_s
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_TIDY_EVERY_S)
            oldest = int(self._clock.now_s()) - self._keep_s - 1
            try:
                await asyncio.to_thread(self._limits.tidy, oldest_timestamp=oldest)
            except Exception as error:
                log_failure("tidy_failed", error)


def create_app() -> Api:
    """What a worker process serves: the folder and settings that its environment names."""
    # Its pid as it was when this worker was made: it may be gone by now.
    if (parent := multiprocessing.parent_process()) is not None and parent.pid is not None:
        threading.Thread(target=_end_with, args=(parent.pid,), daemon=True).start()
    os.umask(0o077)  # whatever the server writes is for its user alone
    settings = load_settings(os.environ)
    api = build_api(Path(os.environ[DATA_VARIABLE]), settings, clock=SystemClock())
    # What is here now stays: looking through it for garbage again and again would only cost.
    gc.collect()
    gc.freeze()
    return api


def _end_with(parent: int) -> None:
    """End this worker when the process that keeps it is gone, be it by `kill -9`.

    Otherwise it would go on listening, and the next server on this port would share it with an
    older one. What was acknowledged is durable, so there is nothing to tidy up.
    """
    while os.getppid() == parent:
        time.sleep(_ORPHAN_CHECK_S)
    os._exit(1)
