"""The process that keeps a server's workers: as little as can be in its memory.

`serve` and `sandbox` replace themselves by this module once a folder is ready, so that what they
loaded to get it ready does not stay resident. It imports Granian and next to nothing of ours.
"""

import argparse
import itertools
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from granian import Granian
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings

from openengagement.processes.counting_supervisor import counting_beside
from openengagement.processes.readiness import announce

HEAD_TIMEOUT_MS = 15_000  # how long a request's head may take, and a connection may idle
STOP_TIMEOUT_S = 15
CONNECTIONS_MAX = 4096  # a worker's, at once


def main() -> None:
    """Run worker processes until a signal; they find folder and settings in the environment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--announce", type=Path, help="a text to print once the port answers")
    parser.add_argument("--since", type=float, help="when, on the monotonic clock, it all began")
    parser.add_argument("--end-with-input", action="store_true", help="end when stdin does")
    options = parser.parse_args()
    if options.end_with_input:
        threading.Thread(target=_end_with_input, daemon=True).start()
    server = Granian(
        "openengagement.processes.worker:create_app",
        factory=True,
        address=options.host,
        port=options.port,
        interface=Interfaces.ASGI,
        workers=options.workers,
        websockets=False,
        log_enabled=False,
        ssl_cert=options.tls_cert,
        ssl_key=options.tls_key,
        ssl_protocol_min=SSLProtocols.tls12,  # clients of the original still speak it
        respawn_failed_workers=True,
        # Left alone, a worker that misses its signal while starting is waited for without end.
        workers_kill_timeout=STOP_TIMEOUT_S,
        # HTTP/1.1 alone, because only then a connection that says nothing is closed.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_TIMEOUT_MS),
        backpressure=CONNECTIONS_MAX,
    )
    if options.announce is not None:
        telling = threading.Thread(
            target=announce,
            args=([(options.host, options.port)], options.announce),
            kwargs={"since": options.since},
            daemon=True,
        )
        if multiprocessing.get_start_method() == "fork":
            _after_forks(telling.start, number=options.workers)
        else:
            server.on_startup(telling.start)
    with counting_beside():
        server.serve()


def _after_forks(do: Callable[[], None], *, number: int) -> None:
    """Do something once this process has forked so many times.

    A worker that is forked while another thread imports a module, or resolves a name, would wait
    for ever for a lock whose holder it has not inherited.
    """
    made = itertools.count(1)

    def count() -> None:
        if next(made) == number:
            do()

    os.register_at_fork(after_in_parent=count)


def _end_with_input() -> None:
    """End at once when whoever holds the other end of our input is gone, be it by `kill -9`.

    The workers see that we are gone and end too.
    """
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
