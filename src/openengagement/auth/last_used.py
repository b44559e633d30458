"""When each access token and platform key was last used: kept in memory, flushed to the registry.

A commit for every request would cost more than the request. The times that people see may be a few
seconds old.
"""

import threading
from collections.abc import Callable

from openengagement.registry.registry import Registry


class LastUsed:
    """The times of use that this worker has not flushed yet."""

    def __init__(self, registry: Registry, *, now_s: Callable[[], float]) -> None:
        self._registry = registry
        self._now_s = now_s
        self._noted: dict[str | bytes, int] = {}
        self._lock = threading.Lock()  # guards _noted; never held during a write
        self._flushing = threading.Lock()

    def note(self, credential: str | bytes) -> None:
        """Note that an access token, or the platform key with this hash (bytes), was used now.

        Fast enough for every request.
        """
        with self._lock:
            self._noted[credential] = int(self._now_s())

    def flush(self) -> None:
        """Write the noted times to the registry. After a failure they stay for the next flush."""
        with self._flushing:
            with self._lock:
                noted, self._noted = self._noted, {}
            tokens = {token: at_s for token, at_s in noted.items() if isinstance(token, str)}
            keys = {key: at_s for key, at_s in noted.items() if isinstance(key, bytes)}
            try:
                self._registry.grants.apply_last_used(tokens)
                self._registry.platform_keys.apply_last_used(keys)
            except BaseException:
                with self._lock:
                    self._noted = noted | self._noted  # a time noted meanwhile is newer
                raise
