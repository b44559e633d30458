"""Waiting for what happens in the background."""

import time
from collections.abc import Callable

_PATIENCE_S = 30


def wait_for(happened: Callable[[], object]) -> None:
    """Return as soon as it has happened; fail where it does not in time."""
    give_up = time.monotonic() + _PATIENCE_S
    while not happened():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.005)
