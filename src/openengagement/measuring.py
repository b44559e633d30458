"""Measure what changes without a request, for the metrics (`metrics.table`)."""

import time
from pathlib import Path
from typing import Final

from openengagement.auth.lookup import CredentialLookup
from openengagement.clock import Clock
from openengagement.data_folder import DataFolder, measure_disk, read_last_backup
from openengagement.limits.contract import Limits
from openengagement.metrics import table
from openengagement.metrics.metric import is_attached, is_first
from openengagement.stores.contract import Caches, Measures

_EVERY_S: Final = 15.0
_SHARE_MAX: Final = 0.005  # of the time that one worker may spend on it
# Figures of `Registry.count`, `AppList.count_apps` and `Measures` are named as `status` names them.


class Measuring:
    """A chore of a worker. If metrics are off, it does nothing.

    Every worker measures its caches. One worker of the server measures what all of them share, at
    most every 15 s. Counting millions of rows takes a while, so it then happens less often.
    """

    def __init__(
        self,
        data: Path,
        folder: DataFolder,
        *,
        lookup: CredentialLookup,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._data = data
        self._folder = folder
        self._lookup = lookup
        self._limits = limits
        self._clock = clock
        self._next_s = 0.0  # of the monotonic clock

    def measure(self) -> None:
        """Measure what is due."""
        if not is_attached():
            return
        self._measure_caches()
        began_s = time.monotonic()
        if began_s >= self._next_s and is_first():
            try:
                self._measure_shared()
            finally:
                now_s = time.monotonic()
                self._next_s = now_s + max(_EVERY_S, (now_s - began_s) / _SHARE_MAX)

    def _measure_caches(self) -> None:
        table.CACHED.set(self._lookup.count_cached(), "credentials")
        for engine in self._folder.stores.engines:
            if isinstance(engine, Caches):
                for name, count in engine.count_cached().items():
                    table.CACHED.set(count, name)

    def _measure_shared(self) -> None:
        for item, count in self._folder.count_items().items():
            table.ITEMS.set(count, item)
        if isinstance(self._limits, Measures):
            table.LIMIT_ENTRIES.set(self._limits.measure()["entries"])
        disk = measure_disk(self._data)
        table.DATA_BYTES.set(disk.data_bytes)
        table.DISK_BYTES.set(disk.disk_bytes)
        table.DISK_FREE_BYTES.set(disk.free_bytes)
        table.LAST_BACKUP.set(read_last_backup(self._data) or 0)
        table.MEASURED.set(self._clock.now_s())
