"""When each access token was last used: collected in memory, flushed to the registry.

A commit for every request would cost more than the request. The times that people see on their
pages may be a few seconds old.
"""

import threading
from collections.abc import Callable

from openengagement.registry.grants import Grants


class LastUsed:
    """The times of use that this worker has not flushed yet."""

    def __init__(self, grants: Grants, *, now_s: Callable[[], float]) -> None:
        self._grants = grants
        self._now_s = now_s
        self._noted: dict[str, int] = {}
        self._lock = threading.Lock()

    def note(self, token: str) -> None:
        """Note that a token was used now. Fast enough for every request."""
        self._noted[token] = int(self._now_s())

    def flush(self) -> None:
        """Write the noted times to the registry."""
        with self._lock:
            noted, self._noted = self._noted, {}
            if noted:
                self._grants.apply_last_used(noted)
