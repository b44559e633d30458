"""Telling that a server answers: what it prints once its ports do."""

import socket
import time
from collections.abc import Iterable
from pathlib import Path

POLL_S = 0.05
# A port takes connections before anyone serves them. Whoever listens reacts to this, in whatever
# protocol of ours; one that is not HTTP hangs up.
_GREETING = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def announce(addresses: Iterable[tuple[str, int]], text: Path, *, since: float | None) -> None:
    """Wait until every (host, port) answers, then print a text.

    `since` is when, on the monotonic clock, it all began; for a person it is told how long it took.
    """
    for address in addresses:
        while not _reacts(address):
            time.sleep(POLL_S)
    print(text.read_text(), flush=True)
    if since is not None:
        print(f"Ready after {time.monotonic() - since:.1f} s. Stop with Ctrl-C.", flush=True)


def _reacts(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address) as probe:
            probe.sendall(_GREETING)
            probe.recv(1)
    except ConnectionResetError:
        return True
    except OSError:
        return False
    return True
