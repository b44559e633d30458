"""The usage of apps: counted in memory at each request, flushed to the registry.

A commit for every request would cost more than the request. A worker that is killed loses the
counts of the few seconds since its last flush.

A move to other stores waits until every worker has written all of its usage (`UsageWriter`).
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Final

from openengagement.engagement.months import month_of
from openengagement.engagement.types import DAY_S
from openengagement.limits.contract import Limits
from openengagement.registry.database import Database
from openengagement.registry.usage import OK, Usage

_WRITTEN_MAX: Final = 200_000  # the most handles remembered as written, about 30 MB


class InFlight:
    """The number of requests that entered and did not exit. Use it on one thread."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        self.count -= 1


class UsageMeter:
    """Counts requests and authors by UTC day until `flush` adds them to their month.

    A request enters `in_flight` before it is counted in its rate windows.
    """

    def __init__(self, usage: Usage, *, now_s: Callable[[], float]) -> None:
        self.in_flight = InFlight()
        self._usage = usage
        self._now_s = now_s
        # By day, App ID and outcome; by day and App ID.
        self._requests: defaultdict[tuple[int, int, str], int] = defaultdict(int)
        self._authors: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        self._lock = threading.Lock()  # guards _requests and _authors
        self._flushing = threading.Lock()
        self._written: set[tuple[str, int, int]] = set()  # handles known to be in the registry

    def count_answer(self, app_id: int, authors: Collection[int]) -> None:
        """Count a request that was answered with Tweets of these authors (account IDs)."""
        day = int(self._now_s() // DAY_S)
        with self._lock:
            self._requests[day, app_id, OK] += 1
            self._authors[day, app_id].update(authors)

    def count_refusal(self, app_id: int, reason: str) -> None:
        """Count a request that was refused; `reason` is the `x-error-code` of the refusal."""
        with self._lock:
            self._requests[int(self._now_s() // DAY_S), app_id, reason] += 1

    def flush(self) -> None:
        """Write the counts to the registry. After a failure they stay for the next flush."""
        with self._flushing:
            with self._lock:
                requests, self._requests = self._requests, defaultdict(int)
                authors, self._authors = self._authors, defaultdict(set)
            if not requests:
                return
            try:
                self._write(requests, authors)
            except BaseException:
                with self._lock:
                    for key, count in requests.items():
                        self._requests[key] += count
                    for day_and_app, served in authors.items():
                        self._authors[day_and_app].update(served)
                raise

    def _write(
        self, requests: dict[tuple[int, int, str], int], authors: dict[tuple[int, int], set[int]]
    ) -> None:
        months = {day: month_of(day * DAY_S) for day, *_ in requests}
        counts: defaultdict[tuple[str, int, str], int] = defaultdict(int)
        refusals: dict[tuple[int, int, str], int] = {}
        for (day, app_id, outcome), count in requests.items():
            counts[months[day], app_id, outcome] += count
            if outcome != OK:
                refusals[app_id, day, outcome] = count
        handles = {
            (months[day], app_id, author)
            for (day, app_id), served in authors.items()
            for author in served
        }
        new = handles - self._written
        self._usage.add_usage(counts, new, refusals=refusals)
        self._usage.notify_of_limits(refusals, now_s=int(self._now_s()))
        if len(self._written) + len(new) > _WRITTEN_MAX:
            self._written.clear()
        self._written |= new


class UsageWriter:
    """Writes the usage of a worker every few seconds. Known as a writer until all is written.

    When the limits are sealed, every new request is refused. The usage is complete once the
    requests that were in flight then have been counted.
    """

    def __init__(self, meter: UsageMeter, *, limits: Limits, database: Database) -> None:
        self._meter = meter
        self._limits = limits
        self._database = database
        self._last: InFlight | None = None  # admitted before the limits were sealed
        database.join_writers()

    def write(self) -> None:
        """Write what was counted. Raises StoreUnavailable: nothing is lost."""
        if not self._limits.is_sealed():
            self._last = None
            self._database.join_writers()
            self._meter.flush()
            return
        if self._last is None:
            self._last, self._meter.in_flight = self._meter.in_flight, InFlight()
        complete = not self._last.count  # before they are written
        self._meter.flush()
        if complete:
            self._database.leave_writers()
