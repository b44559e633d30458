"""Sums of many Tweets over a window: for each Tweet, and for each hour."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from openengagement.engagement.counters import TYPE_BITS, TYPE_MASK, Counters, Ints, find_rows
from openengagement.engagement.types import TYPE_NAMES

_TYPES: Final = len(TYPE_NAMES)
# Magnitudes are added up as floats, so the limit is lower than 2^63 by more than their error.
MAGNITUDE_MAX: Final = 9e18


class WindowSums:
    """Adds up the counters of these Tweets in the hours `start_hour` <= hour < `end_hour`.

    `by_tweet` is `[tweet, type number]`, over all hours. `by_hour` is `[hour, type number]`, over
    all Tweets. The Tweets must be unique.
    """

    def __init__(self, tweet_ids: Sequence[int], *, start_hour: int, end_hour: int) -> None:
        self._ids = np.array(tweet_ids, np.int64)
        self._low, self._high = start_hour << TYPE_BITS, end_hour << TYPE_BITS
        self.by_tweet: Ints = np.zeros((len(self._ids), _TYPES), np.int64)
        self.by_hour: Ints = np.zeros((end_hour - start_hour, _TYPES), np.int64)
        self._magnitude = 0.0

    def add(self, part: Counters) -> None:
        """Add the counters of one part.

        Raises:
            OverflowError: a sum might be too large.
        """
        rows, where = find_rows(part, self._ids)
        cells = part.cells[where]
        (inside,) = ((cells >= self._low) & (cells < self._high)).nonzero()
        cells = cells[inside].astype(np.int64) - self._low
        self.add_rows(
            rows[inside] * _TYPES + (cells & TYPE_MASK),
            (cells >> TYPE_BITS) * _TYPES + (cells & TYPE_MASK),
            counts=part.counts[where[inside]].astype(np.int64),
        )

    def add_rows(self, by_tweet: Ints, by_hour: Ints, *, counts: Ints) -> None:
        """Add counts at these flat indexes of both arrays.

        Raises:
            OverflowError: a sum might be too large.
        """
        self.note_magnitude(float(np.abs(counts.astype(np.float64)).sum()))
        np.add.at(self.by_tweet.reshape(-1), by_tweet, counts)
        np.add.at(self.by_hour.reshape(-1), by_hour, counts)

    def note_magnitude(self, magnitude: float) -> None:
        """Note the sum of the magnitudes of counts that are added.

        Raises:
            OverflowError: a sum of all counts might be too large.
        """
        self._magnitude += magnitude
        if self._magnitude >= MAGNITUDE_MAX:
            raise OverflowError("a sum would be too large")
