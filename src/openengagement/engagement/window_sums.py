"""Sums of many Tweets over a window: for each Tweet, and for each hour."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from openengagement.engagement.counters import (
    TYPE_BITS,
    TYPE_MASK,
    Counters,
    Ints,
    find_rows,
    max_magnitude_of,
)
from openengagement.engagement.types import TYPE_NAMES

# Magnitudes are added up as floats, so the limit is lower than 2^63 by more than their error.
MAGNITUDE_MAX: Final = 9e18
TYPE_PLACES: Final = 1 << TYPE_BITS
_BOUND_MAX: Final = 1e12  # up to it, a coarse bound of a magnitude is good enough
_TYPES: Final = len(TYPE_NAMES)
# Rows to add up at once. Rows that fit the processor's caches are added up twice as fast.
_PART_ROWS: Final = 65_536


class WindowSums:
    """Adds up the counters of these Tweets in the hours `start_hour` <= hour < `end_hour`.

    `by_hour` is `[hour, type number]`, over all Tweets. `by_tweet` is `[tweet, type number]`, over
    the hours from `tweets_from` on, by default over all hours. The Tweets must be unique.
    """

    def __init__(
        self,
        tweet_ids: Sequence[int],
        *,
        start_hour: int,
        end_hour: int,
        tweets_from: int | None = None,
    ) -> None:
        self._ids = np.array(tweet_ids, np.int64)
        self._low = start_hour << TYPE_BITS
        self._own_low = ((tweets_from or start_hour) - start_hour) << TYPE_BITS
        self._by_tweet: Ints = np.zeros((len(self._ids), TYPE_PLACES), np.int64)
        self._by_hour: Ints = np.zeros((end_hour - start_hour, TYPE_PLACES), np.int64)
        self._magnitude = 0.0

    @property
    def by_tweet(self) -> Ints:
        """The sum of each Tweet, `[tweet, type number]`."""
        return self._by_tweet[:, :_TYPES]

    @property
    def by_hour(self) -> Ints:
        """The sum of each hour, `[hour, type number]`."""
        return self._by_hour[:, :_TYPES]

    def add(self, part: Counters) -> None:
        """Add the counters of one part.

        Raises:
            OverflowError: a sum might be too large.
        """
        step = max(1, _PART_ROWS * len(part.ids) // max(1, part.rows))
        for first in range(0, len(self._ids), step):
            rows, where = find_rows(part, self._ids[first : first + step])
            cells = part.cells[where].astype(np.int64)
            cells -= self._low
            # As unsigned numbers, cells before the window are larger than all others.
            inside = cells.view(np.uint64) < self._by_hour.size
            if not inside.all():  # most parts lie inside or outside as a whole
                rows, where, cells = rows[inside], where[inside], cells[inside]
            if len(cells):
                rows += first
                self._add_cells(rows, cells, counts=part.counts[where].astype(np.int64))

    def _add_cells(self, rows: Ints, cells: Ints, *, counts: Ints) -> None:
        """Add counts of Tweets, as indexes. Cells count from the start of the window.

        Overwrites `rows` and `cells`.
        """
        bound = float(max_magnitude_of(counts)) * len(counts)
        if bound > _BOUND_MAX:
            bound = float(np.abs(counts).sum(dtype=np.float64))
        self.note_magnitude(bound)
        self.add_hours(cells, counts)
        own = cells >= self._own_low
        if not own.all():
            rows, cells, counts = rows[own], cells[own], counts[own]
        rows <<= TYPE_BITS
        cells &= TYPE_MASK
        self.add_tweets(rows + cells, counts)

    def add_hours(self, places: Ints, counts: Ints) -> None:
        """Add counts to hours. A place is `hour * TYPE_PLACES + type number`."""
        np.add.at(self._by_hour.reshape(-1), places, counts)

    def add_tweets(self, places: Ints, counts: Ints) -> None:
        """Add counts to Tweets. A place is `tweet * TYPE_PLACES + type number`."""
        np.add.at(self._by_tweet.reshape(-1), places, counts)

    def note_magnitude(self, magnitude: float) -> None:
        """Note the sum of the magnitudes of counts that are added.

        Raises:
            OverflowError: a sum of all counts might be too large.
        """
        self._magnitude += magnitude
        if self._magnitude >= MAGNITUDE_MAX:
            raise OverflowError("a sum would be too large")
