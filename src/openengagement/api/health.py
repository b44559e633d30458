"""`GET /health`, `/livez` and `/readyz`: report what does not work (api.md 7.2).

Anybody may call them, so their answers name no file, address or credential, and calls cost little.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import MappingProxyType
from typing import Final

import msgspec

from openengagement.api import answers
from openengagement.errors import StoreDamaged
from openengagement.http.reply import JSON, Reply, json_reply
from openengagement.http.request import ReadBody, Request
from openengagement.http.threads import run_in_pool
from openengagement.metrics.metric import is_attached
from openengagement.metrics.table import FAULT
from openengagement.stores.contract import StoreFault
from openengagement.telemetry import INFO, WARNING, log_event, log_failure

_KEPT_S: Final = 1.0
_TIMEOUT_S: Final = 5.0
_SLOW: Final = "the checks took too long"
_DAMAGED: Final = "stored data is damaged; run `openengagement check`"
CLOCK_JUMPED: Final = "the clock jumped; signed requests may be refused"
LOG_LOST: Final = "the event log does not answer; batches of events are not accepted"
PROBES: Final = frozenset({"/livez", "/readyz"})
# The part of the server that each fault concerns, as `/readyz` names it.
_PARTS: Final[Mapping[str, str]] = {
    "the counters cannot be read": "store",
    "the registry cannot be read": "registry",
    "the key file cannot be used": "keys",
    "the keys cannot decrypt the credentials": "keys",
    "the limits cannot be written": "limits",
    "the socket of the counting process is gone": "counting",
    "the counting process does not answer": "counting",
    LOG_LOST: "log",
    StoreFault.SOME_UNREADABLE: "store",
    StoreFault.BEHIND: "counting",
    "the disk of the data folder is full": "disk",
    "the disk of the data folder is read-only": "disk",
    CLOCK_JUMPED: "clock",
    _DAMAGED: "damage",
    _SLOW: "checks",
}
# With one of these faults, a server still answers most requests. If a load balancer took it out of
# service for that, all of its requests would fail.
_DEGRADED: Final = frozenset(
    {
        "the socket of the counting process is gone",
        "the counting process does not answer",
        LOG_LOST,
        StoreFault.SOME_UNREADABLE,
        StoreFault.BEHIND,
        CLOCK_JUMPED,
        _DAMAGED,
    }
)
Checks = Mapping[str, Callable[[], object]]


class Health:
    """Runs the checks in a thread of their own, at most once every _KEPT_S.

    `checks` maps a fault to a check. The check raises, or returns False, if the fault exists. Only
    `/readyz` reports the faults of `ready_checks`.
    """

    def __init__(self, checks: Checks, *, ready_checks: Checks = MappingProxyType({})) -> None:
        self._damaged = False
        self._ready_only = ready_checks.keys()
        self._checks = {_DAMAGED: lambda: not self._damaged, **checks, **ready_checks}
        self._faults: list[str] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._run: asyncio.Task[None] | None = None
        self._measured: Future[list[str]] | None = None
        self._kept_until_s = 0.0

    def note_damage(self, _error: StoreDamaged) -> None:
        """Report the damage from now on until this worker ends, because no retry helps."""
        self._damaged = True

    async def read(self, _request: Request, _read_body: ReadBody) -> Reply:
        """`GET /health`."""
        faults = [fault for fault in await self._look() if fault not in self._ready_only]
        if not faults:
            return _alive()
        body: answers.Unhealthy = {"status": "unavailable", "reasons": faults}
        return _unavailable(body)

    async def read_live(self, _request: Request, _read_body: ReadBody) -> Reply:
        """`GET /livez`: the event loop of this worker runs."""
        return _alive()

    async def read_ready(self, _request: Request, _read_body: ReadBody) -> Reply:
        """`GET /readyz`: each part of the server, `ok` or what does not work."""
        faults = await self._look()
        parts = dict.fromkeys(_PARTS.values(), "ok")
        parts |= {_PARTS[fault]: fault for fault in reversed(faults)}
        body: answers.Readiness = {"status": "degraded" if faults else "ready", "checks": parts}
        if set(faults) - _DEGRADED:
            return _unavailable(body | {"status": "not ready"})
        return json_reply(body)

    async def _look(self) -> list[str]:
        """Return the faults, which are at most _KEPT_S old."""
        if self._run is None or (self._run.done() and time.monotonic() > self._kept_until_s):
            self._run = asyncio.create_task(self._run_checks())
        await asyncio.shield(self._run)
        return self._faults

    def measure(self) -> None:
        """Run the checks for the metrics, if these are on. Call it in a thread."""
        if is_attached():
            faults = [_SLOW]
            if self._measured is None or self._measured.done():  # else the last checks hang
                self._measured = self._pool.submit(self._find_faults)
            with suppress(TimeoutError):
                faults = self._measured.result(_TIMEOUT_S)
            self._note(faults)
            broken = {_PARTS[fault] for fault in faults}
            for part in _PARTS.values():
                FAULT.set(part in broken, part)

    def close(self) -> None:
        """End the thread of the checks, without waiting for one that hangs."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run_checks(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                faults = await run_in_pool(self._pool, self._find_faults)
        except TimeoutError:
            faults = [_SLOW]
        self._note(faults)
        self._kept_until_s = time.monotonic() + _KEPT_S

    def _note(self, faults: list[str]) -> None:
        if faults != self._faults:
            level = WARNING if faults else INFO
            log_event("health_changed", level=level, reasons="; ".join(faults))
        self._faults = faults

    def _find_faults(self) -> list[str]:
        return [fault for fault, check in self._checks.items() if self._has_failed(fault, check)]

    def _has_failed(self, fault: str, check: Callable[[], object]) -> bool:
        try:
            return check() is False
        except Exception as error:
            if fault not in self._faults:
                log_failure("health_check_failed", error, reason=fault)
            return True


def _alive() -> Reply:
    body: answers.Alive = {"status": "ok"}
    return json_reply(body)


def _unavailable(body: Mapping[str, object]) -> Reply:
    return Reply(503, msgspec.json.encode(body), {"content-type": JSON, "retry-after": "1"})
