"""`GET /health`: report what does not work (api.md 7.2).

Anybody may call it, so its answer names no file, address or credential, and calls cost little.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from openengagement.errors import StoreDamaged
from openengagement.http.reply import JSON, Reply, json_reply
from openengagement.http.request import ReadBody, Request
from openengagement.http.threads import run_in_pool
from openengagement.telemetry import log_event, log_failure

_KEPT_S: Final = 1.0
_TIMEOUT_S: Final = 5.0
_SLOW: Final = "the checks took too long"
_DAMAGED: Final = "stored data is damaged; run `openengagement check`"


class Health:
    """Runs the checks in a thread of their own, at most once every _KEPT_S.

    `checks` maps a fault to a check. The check raises, or returns False, if the fault exists.
    """

    def __init__(self, checks: Mapping[str, Callable[[], object]]) -> None:
        self._damaged = False
        self._checks = {_DAMAGED: lambda: not self._damaged, **checks}
        self._faults: list[str] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._run: asyncio.Task[None] | None = None
        self._kept_until_s = 0.0

    def note_damage(self, _error: StoreDamaged) -> None:
        """Report the damage from now on until this worker ends, because no retry helps."""
        self._damaged = True

    async def read(self, _request: Request, _read_body: ReadBody) -> Reply:
        """`GET /health`."""
        if self._run is None or (self._run.done() and time.monotonic() > self._kept_until_s):
            self._run = asyncio.create_task(self._run_checks())
        await asyncio.shield(self._run)
        if not self._faults:
            return json_reply({"status": "ok"})
        body = {"status": "unavailable", "reasons": self._faults}
        return Reply(503, msgspec.json.encode(body), {"content-type": JSON, "retry-after": "1"})

    def close(self) -> None:
        """End the thread of the checks, without waiting for one that hangs."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run_checks(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                faults = await run_in_pool(self._pool, self._find_faults)
        except TimeoutError:
            faults = [_SLOW]
        if faults != self._faults:
            log_event("health_changed", reasons="; ".join(faults))
        self._faults = faults
        self._kept_until_s = time.monotonic() + _KEPT_S

    def _find_faults(self) -> list[str]:
        return [fault for fault, check in self._checks.items() if self._has_failed(fault, check)]

    def _has_failed(self, fault: str, check: Callable[[], object]) -> bool:
        try:
            return check() is False
        except Exception as error:
            if fault not in self._faults:
                log_failure("health_check_failed", error, reason=fault)
            return True
