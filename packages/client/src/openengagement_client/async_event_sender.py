"""Send events in batches, by size and time, in an event loop: `EventSender` as coroutines."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

from openengagement_client.batches import Batch, BatchLimits, read_batches
from openengagement_client.delivery import Delivery, Sender
from openengagement_client.http_messages import Steps
from openengagement_client.platform_calls import Record


class AsyncEventSender(Sender[Awaitable[None]]):
    """Collects events and sends them. Use it in an `async with` statement, in one event loop.

    `AsyncPlatformClient.sender` opens one. The spool is written in the event loop.
    """

    def __init__(
        self,
        run: Callable[[Steps[None]], Awaitable[None]],
        delivery: Delivery,
        *,
        limits: BatchLimits,
        concurrency: int,
    ) -> None:
        super().__init__(run, delivery, limits=limits)
        self._resend_lock = asyncio.Lock()
        self._slots = asyncio.Semaphore(concurrency)
        self._tasks: set[asyncio.Future[None]] = set()
        self._closing = asyncio.Event()
        self._timer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._start_timer()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def send(self, event: Record) -> None:
        """As `EventSender.send`."""
        self._start_timer()
        if batch := self._buffer.add(event):
            await self._submit(batch)

    async def send_file(self, path: Path | str) -> None:
        """As `EventSender.send_file`. The file is read in the event loop."""
        for batch in read_batches(path, self._limits):
            await self._submit(batch)
        await self.flush()

    async def flush(self) -> None:
        """As `EventSender.flush`."""
        batches = deque(self._take_all())
        try:
            while batches:
                await self._submit(batches.popleft())
        finally:  # after a cancellation
            for batch in batches:
                self._delivery.keep(batch)
        while self._tasks:
            done, _ = await asyncio.wait(set(self._tasks))
            for task in done:
                if not task.cancelled():
                    task.result()
        await self._resend()
        self._delivery.raise_first()

    async def close(self) -> None:
        """As `EventSender.close`."""
        self._closing.set()
        try:
            if self._timer is not None:
                await self._timer  # it may have a batch in its hands, which the flush waits for
        finally:
            await self.flush()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.create_task(self._send_old())

    async def _submit(self, batch: Batch) -> None:
        try:
            await self._slots.acquire()
        except asyncio.CancelledError:
            self._delivery.keep(batch)
            raise
        task = asyncio.ensure_future(self._run(self._delivery.deliver(batch)))
        self._tasks.add(task)
        task.add_done_callback(partial(self._finish, batch))

    def _finish(self, batch: Batch, task: asyncio.Future[None]) -> None:
        if task.cancelled() or task.exception() is not None:  # nothing that the delivery expects
            self._delivery.keep(batch)
        self._tasks.discard(task)
        self._slots.release()

    async def _resend(self) -> None:
        async with self._resend_lock:
            await self._run(self._delivery.resend())

    async def _send_old(self) -> None:
        """Send the collected events once they are old enough, and what waits in the spool."""
        while not await self._is_closing(self._limits.age_max_s / 2):
            if batch := self._buffer.take(older_than_s=self._limits.age_max_s / 2):
                await self._submit(batch)
            if self.report.spooled:
                await self._resend()

    async def _is_closing(self, timeout_s: float) -> bool:
        """Wait, and tell whether the sender is being closed."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), timeout_s)
        return self._closing.is_set()
