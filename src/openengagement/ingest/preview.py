"""What a sample would count, and what of it would be refused. Nothing is stored."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from openengagement.engagement.counters import TYPE_MASK, Counters
from openengagement.engagement.types import TYPE_NAMES

_EXAMPLES_MAX: Final = 5


class Preview:
    """Adds up samples."""

    def __init__(self) -> None:
        self._accepted = 0
        self._counts: Counter[str] = Counter()
        self._tweets: set[int] = set()
        self._reasons: Counter[str] = Counter()
        self._examples: list[str] = []

    def add_counted(self, deltas: Counters, *, events: int) -> None:
        """Add the deltas of events that would be counted."""
        self._accepted += events
        self._tweets.update(deltas.ids.tolist())
        types = (deltas.cells & TYPE_MASK).tolist()
        for type_, count in zip(types, deltas.counts.tolist(), strict=True):
            self._counts[TYPE_NAMES[type_]] += count

    def add_accepted(self, rows: int) -> None:
        """Add rows of accounts or Tweets that would be registered."""
        self._accepted += rows

    def add_rejected(self, rejected: Iterable[tuple[str, str]]) -> None:
        """Add the reason and the detail of each line that would be refused."""
        for reason, detail in rejected:
            self._reasons[reason] += 1
            if len(self._examples) < _EXAMPLES_MAX:
                self._examples.append(detail)

    def summary(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {
            "accepted": self._accepted,
            "rejected": self._reasons.total(),
            "tweets": len(self._tweets),
            "counts": dict(self._counts.most_common()),
            "reasons": dict(self._reasons.most_common()),
            "examples": self._examples,
        }

    def notes(self) -> tuple[str, ...]:
        """Say the same to a person, in lines."""
        counts = ", ".join(f"{name} {count:,}" for name, count in self._counts.most_common())
        reasons = ", ".join(f"{name} {count:,}" for name, count in self._reasons.most_common())
        return (
            *((f"Would count for {len(self._tweets):,} Tweets: {counts}.",) if counts else ()),
            *((f"Would refuse: {reasons}. For example:",) if reasons else ()),
            *(f"  {detail}" for detail in self._examples),
            "Nothing was stored.",
        )
