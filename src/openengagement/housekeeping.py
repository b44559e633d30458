"""Chores that every worker runs in the background."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from openengagement.clock import Clock
from openengagement.limits.contract import Limits
from openengagement.telemetry import WARNING, log_event, log_failure

_INTERVAL_S: Final = 5.0
Loop = Callable[[], Coroutine[Any, Any, None]]


class Housekeeping:
    """Runs the chores of one worker in turn every few seconds, in threads off the event loop.

    `loops` run on the event loop until they are cancelled.
    """

    def __init__(self, chores: Sequence[Callable[[], object]], *loops: Loop) -> None:
        self._chores = chores
        self._loops = (self._run, *loops)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the chores on the running event loop."""
        self._tasks = [asyncio.create_task(loop()) for loop in self._loops]

    async def stop(self) -> None:
        """Cancel the chores and wait until they have stopped."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_S)
            for chore in self._chores:
                await asyncio.to_thread(run_chore, chore)


def expire_limits(limits: Limits, window_s: int, *, clock: Clock) -> None:
    """Delete nonces and rate windows from before the window of accepted timestamps."""
    now_s, uptime_s = clock.now_s(), clock.uptime().seconds
    jumped_s = limits.expire(now_s=now_s, uptime_s=uptime_s, window_s=window_s)
    if jumped_s is not None:
        log_event(
            "clock_jumped",
            level=WARNING,
            noticed_by="nonces",
            from_s=now_s - jumped_s,
            to_s=now_s,
        )


def run_chore(chore: Callable[[], object]) -> None:
    """Run a chore. A failure is only logged, so that the next chore still runs."""
    try:
        chore()
    except Exception as error:
        log_failure("chore_failed", error)
