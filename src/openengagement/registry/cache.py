"""A cache of credentials that never serves a credential that a commit has changed.

It compares the credential version before each lookup, and empties itself if the version changed. So
disabling an app or revoking a token holds for the very next request on every worker. Commits of
other data, such as usage, do not change the version.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final

Entries = dict[Hashable, Any]
ENTRIES_MAX: Final = 20_000


class VersionedCache:
    """Keeps at most ENTRIES_MAX lookups, until `version()` returns another number."""

    def __init__(self, version: Callable[[], int]) -> None:
        self._version = version
        self._seen = version()
        self._entries: Entries = {}

    def count_cached(self) -> int:
        """Return the number of entries, some of which may not be valid any more."""
        return len(self._entries)

    def entries(self) -> Entries:
        """Return the entries that are still valid.

        Add only data that is read from the registry after this call. Then no entry is older than
        the version of its dictionary.
        """
        seen = self._version()
        if seen != self._seen or len(self._entries) > ENTRIES_MAX:
            # Another thread may still add to the old dictionary, which is not read any more.
            self._entries = {}
            self._seen = seen
        return self._entries
