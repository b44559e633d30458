"""A worker process: it builds the application that Granian serves."""

import gc
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

# The imported modules stay. To search them for garbage takes a fifth of the time of the imports.
gc.disable()

from openengagement.api.asgi import Api
from openengagement.api.scenarios import Truncation
from openengagement.clock import SystemClock
from openengagement.errors import StoreDamaged, StoreUnavailable
from openengagement.files import UnusableFile
from openengagement.ingest.sources.counting_listener import remove_socket
from openengagement.processes.shared_metrics import join_metrics
from openengagement.server import Sandbox, build_api
from openengagement.settings import (
    COUNTING_VARIABLE,
    DATA_VARIABLE,
    SANDBOX_VARIABLE,
    load_settings,
)
from openengagement.telemetry import configure_log, log_event, log_failure
from openengagement.tracing.spans import start_tracing, trace_requests
from openengagement.tuning import configure_allocator

gc.enable()

_ORPHAN_CHECK_S: Final = 1.0
_PAUSE_MIN_S: Final = 1.0
_PAUSE_MAX_S: Final = 30.0


def create_app() -> Api | Truncation:
    """Build the application of a worker. The environment names the folder and the settings."""
    configure_allocator()
    counting = os.environ[COUNTING_VARIABLE]
    # The parent's pid as recorded at the fork, because the parent may have died since.
    if (parent := multiprocessing.parent_process()) is not None and parent.pid is not None:
        arguments = (parent.pid, counting)
        threading.Thread(target=_end_with_parent, args=arguments, daemon=True).start()
    os.umask(0o077)  # only the server's own user may read the files that it writes
    sandbox = _read_sandbox()
    data, settings = Path(os.environ[DATA_VARIABLE]), load_settings(os.environ)
    configure_log("worker", text=settings.log_format == "text")
    join_metrics("worker")
    start_tracing(os.environ, trusted=settings.trust_traceparent)
    try:
        api = _build_when_available(
            partial(
                build_api,
                data,
                settings,
                clock=SystemClock(),
                counting=counting,
                sandbox=sandbox,
            )
        )
    except (OSError, StoreDamaged, UnusableFile) as error:
        log_failure("worker_not_started", error, reason=str(error))
        sys.exit(1)
    # The objects made so far live as long as the worker: exempt them from garbage collection.
    gc.collect()
    gc.freeze()
    log_event("worker_started", version=version("openengagement"))
    traced = trace_requests(api, api.route_of)
    return Truncation(traced) if sandbox is not None else traced


def _read_sandbox() -> Sandbox | None:
    """Read what the command `sandbox` has put into the environment: its time, or nothing."""
    now_s = os.environ.get(SANDBOX_VARIABLE)
    return None if now_s is None else Sandbox(int(now_s) if now_s else None)


def _build_when_available(build: Callable[[], Api]) -> Api:
    """Build the application. While a store is unavailable, try again after growing pauses.

    If the worker ended instead, Granian would start the next one at once, again and again.
    """
    pause_s = _PAUSE_MIN_S
    while True:
        try:
            return build()
        except StoreDamaged:
            raise
        except StoreUnavailable as error:
            log_failure("worker_waits", error, pause_s=pause_s)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _PAUSE_MAX_S)


def _end_with_parent(parent: int, counting: str) -> None:
    """End this worker when its supervisor has ended, even by `kill -9`.

    Otherwise it would keep listening, and the next server on this port would share requests with
    an older one. All acknowledged data is durable. The one thing to remove is the counting socket.
    """
    while os.getppid() == parent:
        time.sleep(_ORPHAN_CHECK_S)
    remove_socket(counting)
    os._exit(1)
