"""The usage meter loses nothing, counts nothing twice, and uses the right month."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from openengagement.apps.usage_meter import UsageMeter

LAST_OF_OCTOBER_S = datetime(2026, 10, 31, 23, 59, 59, 900_000, tzinfo=UTC).timestamp()
APP, OTHER = 10_000_001, 10_000_002


class Kept:
    """Stands in for the registry."""

    def __init__(self):
        self.requests = {}
        self.handles = []
        self.refusals = {}
        self.writes = 0
        self.fails = False
        self.noticed = []

    def add_usage(self, requests, handles, *, refusals):
        self.writes += 1
        if self.fails:
            raise OSError("disk full")
        for key, count in requests.items():
            self.requests[key] = self.requests.get(key, 0) + count
        self.handles += handles
        self.refusals |= refusals

    def notify_of_limits(self, refusals, *, now_s):
        self.noticed.append((dict(refusals), now_s))


@pytest.fixture
def kept():
    return Kept()


class Metered(UsageMeter):
    """A usage meter whose clock shows the time given with a request."""

    def __init__(self, kept):
        super().__init__(kept, now_s=lambda: self.time_s)

    def count_answer(self, app_id, authors, *, now_s):
        self.time_s = now_s
        super().count_answer(app_id, authors)

    def count_refusal(self, app_id, reason, *, now_s):
        self.time_s = now_s
        super().count_refusal(app_id, reason)


@pytest.fixture
def meter(kept):
    return Metered(kept)


def test_counts_are_written_once(meter, kept):
    now_s = LAST_OF_OCTOBER_S
    meter.count_answer(APP, frozenset({1, 2}), now_s=now_s)
    meter.count_answer(APP, frozenset({2, 3}), now_s=now_s - 86_400)
    meter.count_refusal(APP, "rate_limited", now_s=now_s)
    meter.count_refusal(OTHER, "nonce_used", now_s=now_s)
    meter.flush()
    meter.flush()
    assert kept.requests == {
        ("2026-10", APP, "ok"): 2,
        ("2026-10", APP, "rate_limited"): 1,
        ("2026-10", OTHER, "nonce_used"): 1,
    }
    assert sorted(kept.handles) == [("2026-10", APP, author) for author in (1, 2, 3)]
    assert kept.writes == 1, "nothing new, nothing written"


def test_a_month_ends_at_midnight_utc(meter, kept):
    for now_s in (LAST_OF_OCTOBER_S, LAST_OF_OCTOBER_S + 0.1):
        meter.count_answer(APP, {1}, now_s=now_s)
        meter.count_refusal(APP, "invalid_field", now_s=now_s)
    meter.flush()
    assert kept.requests == {
        (month, APP, outcome): 1
        for month in ("2026-10", "2026-11")
        for outcome in ("ok", "invalid_field")
    }
    assert sorted(kept.handles) == [("2026-10", APP, 1), ("2026-11", APP, 1)]


def test_counts_that_cannot_be_written_are_kept(meter, kept):
    meter.count_answer(APP, {1}, now_s=LAST_OF_OCTOBER_S)
    kept.fails = True
    with pytest.raises(OSError, match="disk full"):
        meter.flush()
    meter.count_answer(APP, {2}, now_s=LAST_OF_OCTOBER_S)
    kept.fails = False
    meter.flush()
    assert kept.requests == {("2026-10", APP, "ok"): 2}
    assert sorted(author for *_, author in kept.handles) == [1, 2]


def test_counting_during_a_flush(meter, kept):
    done = threading.Event()

    def write():
        while not done.is_set():
            meter.flush()

    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(write) for _ in range(2)]
        for number in range(20_000):
            meter.count_answer(APP, {number % 50}, now_s=LAST_OF_OCTOBER_S)
            meter.count_refusal(APP, "rate_limited", now_s=LAST_OF_OCTOBER_S)
        done.set()
        for each in writing:
            each.result()
    meter.flush()
    assert kept.requests == {
        ("2026-10", APP, outcome): 20_000 for outcome in ("ok", "rate_limited")
    }
    assert {author for *_, author in kept.handles} == set(range(50))


def test_a_handle_is_written_once_a_month_however_often_it_is_served(meter, kept):
    for day in range(3):
        meter.count_answer(APP, {1, 2}, now_s=LAST_OF_OCTOBER_S - 86_400 * day)
        meter.flush()
    meter.count_answer(APP, {1}, now_s=LAST_OF_OCTOBER_S + 1)
    meter.count_answer(OTHER, {1}, now_s=LAST_OF_OCTOBER_S)
    meter.flush()
    assert sorted(kept.handles) == [
        ("2026-10", APP, 1),
        ("2026-10", APP, 2),
        ("2026-10", OTHER, 1),
        ("2026-11", APP, 1),
    ]


def test_a_handle_that_could_not_be_written_is_tried_again(meter, kept):
    meter.count_answer(APP, {1}, now_s=LAST_OF_OCTOBER_S)
    kept.fails = True
    with pytest.raises(OSError, match="disk"):
        meter.flush()
    kept.fails = False
    meter.flush()
    assert kept.handles == [("2026-10", APP, 1)]


def test_refusals_are_counted_by_day(meter, kept):
    now_s = LAST_OF_OCTOBER_S
    meter.count_refusal(APP, "rate_limited", now_s=now_s)
    meter.count_refusal(APP, "rate_limited", now_s=now_s)
    meter.count_refusal(APP, "rate_limited", now_s=now_s + 1)
    meter.count_answer(APP, frozenset({1}), now_s=now_s)
    meter.flush()
    day = int(now_s // 86_400)
    assert kept.refusals == {(APP, day, "rate_limited"): 2, (APP, day + 1, "rate_limited"): 1}
    assert kept.noticed == [(kept.refusals, int(now_s))]
