"""Waiting for things that happen in other processes and threads."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

# How long a test waits before it fails. A wait ends as soon as its condition holds, so that this
# is long: it must be enough on a machine on which every core has ten processes to run.
PATIENCE_S = 120
DAY_S = 86_400


def wait_for(
    condition: Callable[[], Found],
    *,
    pause_s: float = 0.01,
    reason: object = "in time",
    patience_s: float = PATIENCE_S,
) -> Found:
    """Return the first true value of `condition`; fail after `patience_s`.

    `reason` is shown with the failure. A function is called then.
    """
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not {reason() if callable(reason) else reason}")
        time.sleep(pause_s)
    return found


def wait_in_time(condition: Callable[[], Found], *, limit_s: float, pause_s: float = 0.01) -> Found:
    """Return the first true value of `condition`; every call after `limit_s` must return one.

    A call counts by its begin, so that the limit is the product's, however slow this machine is.
    """
    deadline = time.monotonic() + limit_s
    while True:
        began = time.monotonic()
        if found := condition():
            return found
        assert began < deadline, f"not within {limit_s} s"
        time.sleep(pause_s)


def avoid_midnight() -> None:
    """Wait for the next UTC day if this one ends soon, and with it what happens once a day."""
    left_s = DAY_S - time.time() % DAY_S
    if left_s < PATIENCE_S:
        time.sleep(left_s + 0.01)


def within_one(period_s: int, act: Callable[[], Found]) -> Found:
    """Return the result of the first call of `act` that starts and ends in the same period.

    Rate limits count by minutes and seconds of the clock. A call that began in one period and ended
    in the next proves nothing, so it is repeated after the period in which it ended.
    """
    while True:
        began = time.time() // period_s
        result = act()
        ended = time.time() // period_s
        if began == ended:
            return result
        time.sleep(max(0, (ended + 1) * period_s - time.time()) + 0.01)
