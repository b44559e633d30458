"""Notify managers of damage that a process without a registry has met.

The counting process opens the registry only then: most never do, and it takes a while to import.
"""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from openengagement.clock import Clock
from openengagement.damage import FoundDamage
from openengagement.errors import StoreDamaged
from openengagement.settings import Settings
from openengagement.telemetry import log_failure

_RETRY_S: Final = 30.0


class DamageNotices:
    """Writes the notifications in a thread, which starts with the first damage."""

    def __init__(self, data: Path, settings: Settings, *, clock: Clock) -> None:
        self._data = data
        self._settings = settings
        self._clock = clock
        self._damage = FoundDamage()
        self._noted = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def note(self, error: StoreDamaged) -> None:
        """Notify of this damage, soon. Workers send what is written."""
        self._damage.note(error)
        self._noted.set()
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="damage", daemon=True)
                self._thread.start()

    @contextmanager
    def told(self) -> Iterator[None]:
        """Notify also of damage that ends the block, before this process ends."""
        try:
            yield
        except StoreDamaged as error:
            self._damage.note(error)
            raise
        finally:
            if self._damage.list_reasons():
                self._try_to_write()

    def _run(self) -> None:
        while self._noted.wait():
            self._noted.clear()
            if not self._try_to_write():
                threading.Timer(_RETRY_S, self._noted.set).start()

    def _try_to_write(self) -> bool:
        try:
            self._write()
        except Exception as error:
            log_failure("damage_not_notified", error)
            return False
        return True

    def _write(self) -> None:
        from openengagement.notifications.noticing import write_damage  # noqa: PLC0415
        from openengagement.registry.opening import open_registry  # noqa: PLC0415

        with closing(open_registry(self._data, self._settings.registry)) as registry:
            write_damage(registry, self._damage, now_s=int(self._clock.now_s()))
