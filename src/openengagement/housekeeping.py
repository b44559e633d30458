"""Chores that every worker runs in the background."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from openengagement.clock import Clock
from openengagement.limits.contract import Limits
from openengagement.settings import Settings
from openengagement.telemetry import log_failure

_INTERVAL_S: Final = 5.0


class Housekeeping:
    """Runs the chores of one worker every few seconds, in threads off the event loop.

    It deletes expired nonces and rate windows, and calls `flushes`, which write counts from memory
    to the registry.
    """

    def __init__(
        self,
        limits: Limits,
        flushes: Sequence[Callable[[], None]],
        *,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._limits = limits
        self._flushes = flushes
        self._window_s = settings.timestamp_window_s
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the chores on the running event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Cancel the chores and wait until they have stopped."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_S)
            oldest = int(self._clock.now_s()) - self._window_s - 1
            await asyncio.to_thread(
                run_chore, partial(self._limits.expire, oldest_timestamp=oldest)
            )
            for flush in self._flushes:
                await asyncio.to_thread(run_chore, flush)


def run_chore(chore: Callable[[], object]) -> None:
    """Run a chore; log a failure and continue with the next one."""
    try:
        chore()
    except Exception as error:
        log_failure("chore_failed", error)
