"""A small cache that never serves what a commit has changed.

Before each look-up it asks the registry's version, which every commit of every process moves on,
and forgets everything when it moved. So disabling an app or revoking a token holds for the very
next request on every worker, at the price of one question that costs a microsecond or two.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final

Entries = dict[Hashable, Any]
ENTRIES_MAX: Final = 20_000


class VersionedCache:
    """Remembers look-ups for as long as `version()` stands still, at most ENTRIES_MAX of them."""

    def __init__(self, version: Callable[[], int]) -> None:
        self._version = version
        self._seen = version()
        self._entries: Entries = {}

    def entries(self) -> Entries:
        """The entries that still hold.

        Add to them only what is read from the registry hereafter: the version was read first, so an
        entry is never older than its dictionary says.
        """
        seen = self._version()
        if seen != self._seen or len(self._entries) > ENTRIES_MAX:
            # A fresh dictionary: a thread still filling the old one fills nothing that is read.
            self._entries = {}
            self._seen = seen
        return self._entries
