"""What apps use: noted in memory at each request, kept in the registry now and then.

A commit on every request would cost more than the request. What a worker that is killed has not
written down yet, the last seconds, is lost.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Final

from openengagement.engagement.months import month_of
from openengagement.engagement.types import DAY_S
from openengagement.registry.usage import OK, Usage

_WRITTEN_MAX: Final = 200_000  # handles that are remembered as written; some 30 MB


class UsageMeter:
    """Counts what this worker has not written down yet, by UTC day; its month is told later."""

    def __init__(self, usage: Usage, *, now_s: Callable[[], float]) -> None:
        self._usage = usage
        self._now_s = now_s
        self._requests: dict[tuple[int, int, str], int] = {}  # day, App ID, outcome
        self._authors: defaultdict[tuple[int, int], set[int]] = defaultdict(set)  # day, App ID
        self._lock = threading.Lock()  # of the two
        self._writing = threading.Lock()
        self._written: set[tuple[str, int, int]] = set()  # handles that need no writing again

    def count_answer(self, app_id: int, authors: Collection[int]) -> None:
        """A request of this app was answered, with Tweets of these authors."""
        day = int(self._now_s() // DAY_S)
        key = (day, app_id, OK)
        with self._lock:
            self._requests[key] = self._requests.get(key, 0) + 1
            self._authors[day, app_id].update(authors)

    def count_refusal(self, app_id: int, reason: str) -> None:
        """A request of this app was refused; `reason` is the refusal's stable name."""
        key = (int(self._now_s() // DAY_S), app_id, reason)
        with self._lock:
            self._requests[key] = self._requests.get(key, 0) + 1

    def flush(self) -> None:
        """Write down what was counted; what cannot be written is kept for the next time."""
        with self._writing:
            with self._lock:
                requests, self._requests = self._requests, {}
                authors, self._authors = self._authors, defaultdict(set)
            if not requests:
                return
            try:
                self._write(requests, authors)
            except BaseException:
                with self._lock:
                    for key, count in requests.items():
                        self._requests[key] = self._requests.get(key, 0) + count
                    for of_app, served in authors.items():
                        self._authors[of_app].update(served)
                raise

    def _write(
        self, requests: dict[tuple[int, int, str], int], authors: dict[tuple[int, int], set[int]]
    ) -> None:
        months = {day: month_of(day * DAY_S) for day, *_ in requests}
        counts: defaultdict[tuple[str, int, str], int] = defaultdict(int)
        for (day, app_id, outcome), count in requests.items():
            counts[months[day], app_id, outcome] += count
        handles = {
            (months[day], app_id, author)
            for (day, app_id), served in authors.items()
            for author in served
        }
        fresh = handles - self._written
        self._usage.add_usage(counts, fresh)
        if len(self._written) + len(fresh) > _WRITTEN_MAX:
            self._written.clear()
        self._written |= fresh
