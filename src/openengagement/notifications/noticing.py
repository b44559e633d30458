"""Notice what managers are notified of, besides what the registry's own changes cause."""

import time
from collections.abc import Callable
from typing import Final

from openengagement.damage import FoundDamage
from openengagement.engagement.months import month_of
from openengagement.engagement.types import format_time
from openengagement.registry.notifications import Fault
from openengagement.registry.registry import Registry

_CONTRACTS_EVERY_S: Final = 30.0
_SHARE_MAX: Final = 0.005  # of the time that one worker may spend on contracts
_FORGET_EVERY_S: Final = 3600.0
_KEPT_S: Final = 40 * 86_400  # longer than a month, so that no contract is notified twice in it
_LATE_S: Final = 3600  # usage of a month may be flushed so long after its end


class Noticing:
    """Chores of a worker that write notifications, and remove old ones."""

    def __init__(
        self, registry: Registry, damage: FoundDamage, *, now_s: Callable[[], float]
    ) -> None:
        self._registry = registry
        self._now_s = now_s
        self._damage = damage
        self._contracts_at_s = 0.0  # of the monotonic clock, like the next
        self._forget_at_s = 0.0

    def flush_damage(self) -> None:
        """Write the notifications of damage. After a failure they stay for the next flush."""
        write_damage(self._registry, self._damage, now_s=int(self._now_s()))

    def notice_contracts(self) -> None:
        """Compare the contracts with the usage of the month. It takes at most 0.5 % of the time."""
        began_s = time.monotonic()
        if began_s < self._contracts_at_s:
            return
        now_s = int(self._now_s())
        try:
            for month in sorted({month_of(now_s - _LATE_S), month_of(now_s)}):
                self._registry.notifications.note_contracts(month, now_s=now_s)
        finally:
            ended_s = time.monotonic()
            pause_s = max(_CONTRACTS_EVERY_S, (ended_s - began_s) / _SHARE_MAX)
            self._contracts_at_s = ended_s + pause_s

    def forget(self) -> None:
        """Remove notifications that are older than 40 days, once an hour."""
        began_s = time.monotonic()
        if began_s >= self._forget_at_s:
            self._forget_at_s = began_s + _FORGET_EVERY_S
            self._registry.deliveries.forget(before_s=int(self._now_s()) - _KEPT_S)


def write_damage(registry: Registry, damage: FoundDamage, *, now_s: int) -> None:
    """Write the notifications of damage, once for each file and day."""
    if reasons := damage.list_reasons():
        found = [Fault(file, reason) for file, reason in reasons.items()]
        day = format_time(now_s)[:10]
        registry.notifications.note_damage(found, day=day, now_s=now_s)
        damage.forget(reasons)
