"""Deliver notifications in the background. Every worker of every server does so.

The deliveries are in the registry (`registry.deliveries`), so those of a process that dies are
continued by another one.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from openengagement.metrics.table import DELIVERY_ATTEMPTS
from openengagement.notifications.message import Message, Result
from openengagement.notifications.retrying import decide_pause
from openengagement.notifications.sending import Sender
from openengagement.registry.deliveries import Delivery, DeliveryState
from openengagement.registry.registry import Registry
from openengagement.telemetry import WARNING, log_event, log_failure

_INTERVAL_S: Final = 2.0
_AT_ONCE: Final = 16  # deliveries that one worker attempts at the same time


class Deliverer:
    """Delivers what is due, on the event loop. `make_sender` is called when something is."""

    def __init__(
        self,
        registry: Registry,
        make_sender: Callable[[], Sender],
        *,
        by_mail: bool,
        now_s: Callable[[], float],
    ) -> None:
        self._deliveries = registry.deliveries
        self._make_sender = make_sender
        self._sender: Sender | None = None
        self._by_mail = by_mail
        self._now_s = now_s

    async def run(self) -> None:
        """Deliver until it is cancelled. Attempts that this ends are made again after LEASE_S."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            try:
                await self.deliver_due()
            except Exception as error:
                log_failure("delivery_failed", error)

    async def deliver_due(self) -> None:
        """Queue new notifications, and attempt every delivery that is due."""
        queue = partial(self._deliveries.queue, by_mail=self._by_mail, now_s=int(self._now_s()))
        await asyncio.to_thread(queue)
        while claimed := await asyncio.to_thread(self._claim):
            if self._sender is None:
                self._sender = await asyncio.to_thread(self._make_sender)
            async with asyncio.TaskGroup() as attempts:
                for delivery in claimed:
                    attempts.create_task(self._attempt(self._sender, delivery))

    def _claim(self) -> list[Delivery]:
        return self._deliveries.claim(limit=_AT_ONCE, now_s=int(self._now_s()))

    async def _attempt(self, sender: Sender, delivery: Delivery) -> None:
        message = Message(
            delivery.notification_id, delivery.type, delivery.created_at_s, delivery.data
        )
        try:
            result = await sender.send(message, delivery.target)
        except Exception as error:
            log_failure("delivery_failed", error)
            result = Result(type(error).__name__)
        state, pause_s = _decide(result, attempts=delivery.attempts)
        _note(delivery, state, result=result)
        next_at_s = int(self._now_s()) + pause_s
        finish = partial(self._deliveries.finish, result=result.text[:64], next_at_s=next_at_s)
        await asyncio.to_thread(finish, delivery, state)


def _decide(result: Result, *, attempts: int) -> tuple[DeliveryState, int]:
    """Return the state of a delivery after an attempt, and the seconds until the next one."""
    if result.is_delivered:
        return DeliveryState.DELIVERED, 0
    pause_s = None if result.is_final else decide_pause(attempts)
    return (DeliveryState.FAILED, 0) if pause_s is None else (DeliveryState.WAITING, pause_s)


def _note(delivery: Delivery, state: DeliveryState, *, result: Result) -> None:
    """Count an attempt, and log that a delivery is given up."""
    DELIVERY_ATTEMPTS.add(1, "retried" if state == DeliveryState.WAITING else state)
    if state == DeliveryState.FAILED:
        log_event(
            "notification_failed",
            level=WARNING,
            notification=delivery.notification_id,
            target=delivery.target,
            result=result.text,
        )
