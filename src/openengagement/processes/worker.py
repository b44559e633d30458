"""A worker process: the application that Granian serves, and its end."""

import gc
import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import Final

from openengagement.api.asgi import Api
from openengagement.clock import SystemClock
from openengagement.server import build_api
from openengagement.settings import COUNTING_VARIABLE, DATA_VARIABLE, load_settings
from openengagement.tuning import configure_allocator

_ORPHAN_CHECK_S: Final = 1.0


def create_app() -> Api:
    """Build the application of a worker process; the environment names the folder and settings."""
    configure_allocator()
    # The parent's pid at the time of the fork: it may have died since.
    if (parent := multiprocessing.parent_process()) is not None and parent.pid is not None:
        threading.Thread(target=_end_with_parent, args=(parent.pid,), daemon=True).start()
    os.umask(0o077)  # files that the server writes are readable by its user only
    settings = load_settings(os.environ)
    api = build_api(
        Path(os.environ[DATA_VARIABLE]),
        settings,
        clock=SystemClock(),
        counting=os.environ[COUNTING_VARIABLE],
    )
    # Objects made so far live as long as the worker: exempt them from garbage collection.
    gc.collect()
    gc.freeze()
    return api


def _end_with_parent(parent: int) -> None:
    """End this worker when its supervisor is gone, also after `kill -9`.

    Otherwise it would keep listening, and the next server on this port would share requests with
    an older one. Everything acknowledged is durable, so there is nothing to clean up.
    """
    while os.getppid() == parent:
        time.sleep(_ORPHAN_CHECK_S)
    os._exit(1)
