"""The supervisor of one server: it starts the workers and uses as little memory as possible.

`serve` and `sandbox` replace their process by this module once a folder is ready. That frees the
memory of the modules that they loaded. It imports Granian and very little of our own code.
"""

import itertools
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings

from openengagement.processes.counting_supervisor import counting_supervisor
from openengagement.processes.listener import spawn_worker
from openengagement.processes.metrics_server import metrics_server
from openengagement.processes.readiness import readiness_thread, shared_options
from openengagement.processes.reloading import ReloadingServer
from openengagement.settings import load_settings
from openengagement.telemetry import configure_log, log_event

HEAD_TIMEOUT_MS = 15_000  # for the head of a request, and for an idle connection
STOP_TIMEOUT_S = 15
# On SIGHUP, a new worker gets this time to start before the old one stops.
RELOAD_INTERVAL_S = 5.0
CONNECTIONS_MAX = 4096  # open at once in one worker
# The bytes of requests that Granian buffers for a connection, and as many for its answers. The head
# of a request must fit.
BUFFER_BYTES = 49_152


def main() -> None:
    """Run worker processes until a signal. The environment names the folder and the settings."""
    parser = shared_options()
    parser.add_argument("--host", required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--metrics", metavar="HOST:PORT")
    parser.add_argument("--end-with-input", action="store_true", help="end when stdin closes")
    options = parser.parse_args()
    settings = load_settings(os.environ)
    configure_log("supervisor", text=settings.log_format == "text")
    if options.end_with_input:
        threading.Thread(target=_end_with_input, daemon=True).start()
    server = ReloadingServer(
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
        ssl_protocol_min=SSLProtocols.tls12,  # Engagement API clients may be that old
        respawn_failed_workers=True,
        respawn_interval=RELOAD_INTERVAL_S,
        # Without a limit, Granian waits for ever for a worker that missed its signal at the start.
        workers_kill_timeout=STOP_TIMEOUT_S,
        # Only with HTTP/1.1 alone does Granian close a connection that sends nothing.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=HEAD_TIMEOUT_MS,
            max_buffer_size=max(BUFFER_BYTES, settings.header_max_bytes * 3 // 2),
        ),
        backpressure=CONNECTIONS_MAX,
    )
    if options.tls_cert is not None:
        server.certificate = (options.tls_cert, options.tls_key)
    if options.ready_text is not None:
        report = readiness_thread([(options.host, options.port)], options)
        if multiprocessing.get_start_method() == "fork":
            _call_after_forks(report.start, forks=options.workers)
        else:
            server.on_startup(report.start)
    log_event("server_starting", host=options.host, port=options.port, workers=options.workers)
    with metrics_server(options.metrics, workers=options.workers), counting_supervisor():
        # On other systems, connections do not inherit the options, and sockets cannot share a port.
        server.serve(spawn_target=spawn_worker if sys.platform == "linux" else None)
    log_event("server_stopped")


def _call_after_forks(action: Callable[[], None], *, forks: int) -> None:
    """Call `action` once this process has forked `forks` times.

    The child of a fork inherits locks but not the threads that hold them. If another thread
    imported a module or resolved a host name during the fork, the worker would wait for ever.
    """
    numbers = itertools.count(1)

    def count_fork() -> None:
        if next(numbers) == forks:
            action()

    os.register_at_fork(after_in_parent=count_fork)


def _end_with_input() -> None:
    """End at once when the process at the other end of stdin ends, even by `kill -9`.

    The workers notice that their supervisor has ended, and end too.
    """
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
