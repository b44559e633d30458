"""When each access token was last used: noted in memory, kept in the registry now and then.

A commit on every request would cost more than the request; a person who looks at their apps is
served by times that are a few seconds old.
"""

import threading
from collections.abc import Callable

from openengagement.registry.grants import Grants


class LastUsed:
    """Times of use that this worker has not yet written down."""

    def __init__(self, grants: Grants, *, now_s: Callable[[], float]) -> None:
        self._grants = grants
        self._now_s = now_s
        self._noted: dict[str, int] = {}
        self._lock = threading.Lock()

    def note(self, token: str) -> None:
        """A token was used now."""
        self._noted[token] = int(self._now_s())

    def flush(self) -> None:
        """Write down what was noted."""
        with self._lock:
            noted, self._noted = self._noted, {}
            if noted:
                self._grants.apply_last_used(noted)
