"""Telling that a server answers: what it prints once its ports take connections."""

import socket
import time
from collections.abc import Iterable
from pathlib import Path

POLL_S = 0.05


def announce(addresses: Iterable[tuple[str, int]], text: Path, *, since: float | None) -> None:
    """Wait until every (host, port) answers, then print a text.

    `since` is when, on the monotonic clock, it all began; for a person it is told how long it took.
    """
    for address in addresses:
        _wait(address)
    print(text.read_text(), flush=True)
    if since is not None:
        print(f"Ready after {time.monotonic() - since:.1f} s. Stop with Ctrl-C.", flush=True)


def _wait(address: tuple[str, int]) -> None:
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(address) == 0:
                return
        time.sleep(POLL_S)
