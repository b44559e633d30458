"""The sums of many Tweets as arrays: their figures, and their order. Pure functions of arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from openengagement.engagement.access import ACCESS, AgeLimit
from openengagement.engagement.counters import Ints
from openengagement.engagement.types import DAY_S, TYPE_NAMES, Endpoint, Tweet
from openengagement.portal.series import RATE, RATE_OF, Number, rate_of

_NUMBERS: Final = {name: number for number, name in enumerate(TYPE_NAMES)}


def age_limits(endpoint: Endpoint) -> Mapping[str, AgeLimit]:
    """Map the counters that an endpoint serves for newer Tweets only to their limits."""
    return {rule.counted: rule.age for rule in ACCESS[endpoint].values() if rule.age}


@dataclass(frozen=True, slots=True)
class TweetSums:
    """The sums of Tweets, `[tweet, type number]`.

    `too_old` marks the Tweets that are too old for a type; they have no figure of it.
    """

    sums: Ints
    too_old: Mapping[str, npt.NDArray[np.bool_]]

    @classmethod
    def of(cls, tweets: Sequence[Tweet], sums: Ints, *, ages: "Ages") -> "TweetSums":
        """Make sums of Tweets, some of which may be too old."""
        return cls(sums, ages.mark(tweets))

    def values(self, metric: str) -> list[Number]:
        """Return the figures of a metric; None where there is none."""
        if metric == RATE:
            return [
                rate_of(*pair)
                for pair in zip(*(self.values(name) for name in RATE_OF), strict=True)
            ]
        values: list[Number] = self.sums[:, _NUMBERS[metric]].tolist()
        for at in self._missing(metric).nonzero()[0].tolist():
            values[at] = None
        return values

    def order(self, metric: str, *, ascending: bool) -> list[int]:
        """Return the indexes of the Tweets by a metric. Those without a figure come last."""
        keys, missing = self._keys(metric), self._missing(metric)
        known = (~missing).nonzero()[0]
        found = known[np.argsort(keys[known] if ascending else -keys[known], kind="stable")]
        return [*found.tolist(), *missing.nonzero()[0].tolist()]

    def _keys(self, metric: str) -> npt.NDArray[np.int64] | npt.NDArray[np.float64]:
        if metric != RATE:
            return self.sums[:, _NUMBERS[metric]]
        engagements, impressions = (self.sums[:, _NUMBERS[name]] for name in RATE_OF)
        return engagements / np.maximum(impressions, 1)

    def _missing(self, metric: str) -> npt.NDArray[np.bool_]:
        names = RATE_OF if metric == RATE else (metric,)
        missing = np.zeros(len(self.sums), np.bool_)
        for name in names:
            missing |= self.too_old.get(name, False)
        if metric == RATE:
            missing |= self.sums[:, _NUMBERS[RATE_OF[1]]] <= 0
        return missing


@dataclass(frozen=True, slots=True)
class Ages:
    """Which Tweets are too old for a type, at a time."""

    limits: Mapping[str, AgeLimit]
    now_s: float

    def mark(self, tweets: Sequence[Tweet]) -> dict[str, npt.NDArray[np.bool_]]:
        """Mark the Tweets that are too old, by type."""
        created_s = np.array([tweet.created_at_s for tweet in tweets], np.int64)
        return {
            name: created_s < self.now_s - limit.days * DAY_S for name, limit in self.limits.items()
        }
