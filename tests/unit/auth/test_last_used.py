"""Times of use wait in memory for a flush; a failed flush loses none of them."""

import threading

import pytest

from openengagement.auth.last_used import LastUsed


class Kept:
    """Stands in for the grants or the platform keys of a registry."""

    def __init__(self):
        self.used = {}
        self.fails = False
        self.during = lambda: None

    def apply_last_used(self, used):
        self.during()
        if self.fails:
            raise OSError("disk full")
        self.used |= used


class Registry:
    def __init__(self):
        self.grants, self.platform_keys = Kept(), Kept()


@pytest.fixture
def kept():
    return Registry()


@pytest.fixture
def clock():
    return iter(range(1, 1_000_000))


@pytest.fixture
def last_used(kept, clock):
    return LastUsed(kept, now_s=lambda: next(clock))


def test_each_time_is_written_once(last_used, kept):
    last_used.note("a")
    last_used.note("b")
    last_used.note("a")
    last_used.note(b"k")
    last_used.flush()
    assert (kept.grants.used, kept.platform_keys.used) == ({"a": 3, "b": 2}, {b"k": 4})

    kept.grants.used, kept.platform_keys.used = {}, {}
    last_used.flush()
    assert (kept.grants.used, kept.platform_keys.used) == ({}, {})


@pytest.mark.parametrize("half", ["grants", "platform_keys"])
def test_times_stay_after_a_failure(last_used, kept, half):
    last_used.note("a")
    last_used.note(b"k")
    getattr(kept, half).fails = True
    for _ in range(2):
        with pytest.raises(OSError, match="disk full"):
            last_used.flush()
    getattr(kept, half).fails = False
    last_used.flush()

    assert (kept.grants.used, kept.platform_keys.used) == ({"a": 1}, {b"k": 2})


def test_a_time_noted_during_a_failed_flush_is_the_newer_one(last_used, kept):
    last_used.note("a")
    last_used.note("b")
    kept.grants.fails, kept.grants.during = True, lambda: last_used.note("a")
    with pytest.raises(OSError, match="disk full"):
        last_used.flush()
    kept.grants.fails, kept.grants.during = False, lambda: None
    last_used.flush()

    assert kept.grants.used == {"a": 3, "b": 2}


def test_no_time_is_lost_between_threads(last_used, kept):
    tokens = [f"token {index}" for index in range(3000)]
    threads = [
        threading.Thread(target=lambda at=at: [*map(last_used.note, tokens[at::3])])
        for at in range(3)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        last_used.flush()
    last_used.flush()

    assert set(kept.grants.used) == set(tokens)
