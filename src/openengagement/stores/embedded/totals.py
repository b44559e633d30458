"""Add up the totals of Tweets over segments, and cache the sums of files."""

from collections.abc import Sequence
from typing import Final, cast

import numpy as np

from openengagement.engagement.counters import Ints, add_totals
from openengagement.engagement.types import TYPE_NAMES
from openengagement.metrics.table import MISSES
from openengagement.stores.embedded.segments import Segment

_ROW: Final = np.dtype((np.void, len(TYPE_NAMES) * np.dtype(np.int64).itemsize))


def sum_totals(segments: Sequence[Segment], tweet_ids: Sequence[int]) -> Ints:
    """Add up the totals, `[tweet, type number]`, of all segments."""
    sums = np.zeros((len(tweet_ids), len(TYPE_NAMES)), np.int64)
    add_segments(sums, segments, tweet_ids=tweet_ids)
    return sums


def add_segments(sums: Ints, segments: Sequence[Segment], *, tweet_ids: Sequence[int]) -> None:
    """Add the totals of these segments to `sums`, `[tweet, type number]`."""
    if segments:
        ids = np.array(tweet_ids, np.int64)
        for segment in segments:
            add_totals(sums, segment.summable, tweet_ids=ids)


class FileTotals:
    """The totals in a set of files, with a cache of at most `cached_max` Tweets.

    No cached row ever becomes wrong: files never change, and another set has another cache. May be
    used from any thread.
    """

    def __init__(self, files: Sequence[Segment], cached_max: int) -> None:
        self.files = files
        self._cached_max = cached_max
        self._rows: dict[int, bytes] = {}  # Tweet id -> its row of `sum_totals`

    def read(self, tweet_ids: Sequence[int]) -> Ints:
        """Return `sum_totals` of the files."""
        rows = [*map(self._rows.get, tweet_ids)]
        if not all(rows):
            missing = [tweet_id for tweet_id, row in zip(tweet_ids, rows, strict=True) if not row]
            MISSES.add(len(missing), "totals")
            sums = sum_totals(self.files, missing)
            read = cast("list[bytes]", sums.view(_ROW).ravel().tolist())
            found = dict(zip(missing, read, strict=True))
            self._keep(found)
            if len(missing) == len(tweet_ids):
                return sums
            rows = [*map(found.get, tweet_ids, rows)]
        joined = bytearray().join(cast("list[bytes]", rows))
        return np.frombuffer(joined, np.int64).reshape(len(rows), len(TYPE_NAMES))

    def count_cached(self) -> int:
        """Return the number of Tweets in the cache."""
        return len(self._rows)

    def _keep(self, found: dict[int, bytes]) -> None:
        if len(self._rows) + len(found) > self._cached_max:
            self._rows.clear()
        if len(found) <= self._cached_max:
            self._rows.update(found)
