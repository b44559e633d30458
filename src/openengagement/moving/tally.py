"""What a pass over two stores has compared and found, and how fast it may go."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

_NAMED_MAX: Final = 10
# Called with the kind of what was compared, and how many.
OnCompared = Callable[[str, int], None]


@dataclass(slots=True)
class Tally:
    """The numbers of things that were compared, and that differed, by kind.

    If it `checks`, what was copied is compared again, and only what differs then counts.
    """

    checks: bool = False
    compared: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)
    tweet_ids: list[int] = field(default_factory=list)  # of the first Tweets that differed

    def add(
        self, kind: str, *, compared: int, differing: int, tweet_ids: Iterable[int] = ()
    ) -> None:
        """Note a comparison."""
        self.compared[kind] += compared
        self.differing[kind] += differing
        new = (each for each in tweet_ids if each not in self.tweet_ids)
        self.tweet_ids += islice(new, _NAMED_MAX - len(self.tweet_ids))

    def describe(self) -> str:
        """Say what differs."""
        counts = ", ".join(f"{count} {kind}" for kind, count in (+self.differing).items())
        ids = f" (Tweets {', '.join(map(str, self.tweet_ids))})" if self.tweet_ids else ""
        return f"{counts}{ids}"


class Pace:
    """Slows the work down to a rate, in rows a second. 0: as fast as possible."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._next_s = 0.0

    def wait(self, rows: int) -> None:
        """Call when so many rows are done. Returns when the next ones may begin."""
        if not self.rate:
            return
        now_s = time.monotonic()
        self._next_s = max(self._next_s, now_s) + rows / self.rate
        time.sleep(self._next_s - now_s)
