"""A small cache of credentials that never serves what a commit has changed.

Before each look-up it asks for the version of the registry's credentials, and forgets everything
if that has moved. So disabling an app or revoking a token holds for the very next request on every
worker. Commits of other data, such as usage, leave the cache as it is.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final

Entries = dict[Hashable, Any]
ENTRIES_MAX: Final = 20_000


class VersionedCache:
    """Remembers at most ENTRIES_MAX look-ups, until `version()` returns another number."""

    def __init__(self, version: Callable[[], int]) -> None:
        self._version = version
        self._seen = version()
        self._entries: Entries = {}

    def entries(self) -> Entries:
        """The entries that are still valid.

        Add to them only what is read from the registry after this call: the version was read
        first, so no entry is older than the version that its dictionary stands for.
        """
        seen = self._version()
        if seen != self._seen or len(self._entries) > ENTRIES_MAX:
            # A new dictionary: a thread that still fills the old one fills nothing that is read.
            self._entries = {}
            self._seen = seen
        return self._entries
