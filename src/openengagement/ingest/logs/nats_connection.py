"""Connections to the servers of NATS that a URL names.

The library is asynchronous, so its event loop runs in a thread of its own.
"""

import asyncio
import random
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from nats.aio.client import Client

from openengagement.ingest.logs import nats_api
from openengagement.ingest.logs.contract import LogUnavailable, LogUnusable
from openengagement.ingest.logs.log_url import LogUrl

_PATIENCE_S: Final = 30.0  # for the event loop; each step in it has its own time limit
_CLOSE_S: Final = 2.0
_REFUSED: Final = ("authorization", "authentication", "user jwt", "nkey", "credentials")

T = TypeVar("T")


class NatsConnection:
    """Makes connections, and runs steps of the asynchronous library in its event loop.

    `name` is shown by tools of NATS.
    """

    def __init__(self, url: LogUrl, *, name: str) -> None:
        self._url = url
        self._name = name
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nats", daemon=True)
        self._thread.start()

    def run(self, step: Coroutine[Any, Any, T], *, timeout_s: float = _PATIENCE_S) -> T:
        """Run a step in the event loop, and wait for it. Call it from any thread.

        Raises:
            LogUnavailable: it failed in a way that may pass.
        """
        future = asyncio.run_coroutine_threadsafe(step, self._loop)
        try:
            return future.result(timeout_s)
        except nats_api.FAILURES as error:
            future.cancel()
            raise LogUnavailable(nats_api.explain(error)) from error

    async def connect(self) -> Client:
        """Connect to the first server that answers. The connection is not restored if it breaks.

        Raises:
            LogUnavailable: no server answers.
            LogUnusable: the credentials are wrong.
        """
        reason = ""
        for host in random.sample(self._url.hosts, len(self._url.hosts)):
            try:
                return await nats_api.connect(host, name=self._name, **self._options())
            except LogUnavailable as error:
                reason = str(error)
        if any(word in reason.lower() for word in _REFUSED):
            raise LogUnusable("the server refuses the user, password or token")
        raise LogUnavailable(f"cannot connect: {reason}")

    def close(self) -> None:
        """End the event loop. Close the connections before."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self._url.scheme == "tls":
            import ssl  # noqa: PLC0415 - needed for this scheme only

            options["tls"] = ssl.create_default_context()
        if credentials := self._url.option("credentials"):
            if not Path(credentials).is_file():
                raise LogUnusable(f"there is no file {credentials}")
            options["user_credentials"] = credentials
        if self._url.password:
            options |= {"user": self._url.user, "password": self._url.password}
        elif self._url.user:
            options["token"] = self._url.user
        return options
