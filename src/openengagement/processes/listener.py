"""The listening socket of a worker, with limits that the kernel enforces on every connection.

Granian bounds the time in which a client sends a request, but not the time in which it reads the
answer. On Linux, an accepted connection inherits the options of the listening socket, so the limits
cost nothing per request:

* TCP_USER_TIMEOUT closes a connection whose client reads nothing of an answer for this time.
* TCP_NOTSENT_LOWAT bounds the unsent bytes that the kernel holds for a client that does not read.
  The rest of an answer waits in the worker, which serves the next request of the connection only
  after it. Unlike SO_SNDBUF, this does not bound the bytes in flight to a client that reads.
"""

import os
import socket
from typing import Any, Final

from granian import Granian
from granian.net import SocketHolder  # type: ignore[attr-defined] # it is exported

from openengagement.settings import load_settings

UNSENT_MAX_BYTES: Final = 16_384


def spawn_worker(*arguments: Any) -> None:  # noqa: ANN401 - they are those of Granian's targets
    """Serve in this process, on a socket of ours. A target of `Granian.serve` for Linux."""
    worker_id, process_name, load, ((spec, _), _), *options = arguments
    host, port, backlog = spec.__getstate__()
    timeout_s = load_settings(os.environ).response_timeout_s
    listener = make_listener(host, port, timeout_s=timeout_s)
    holder = SocketHolder(listener.detach(), False, backlog)  # type: ignore[call-arg] # its stub is old
    ours = ((spec, holder), None)
    Granian._spawn_asgi_lifespan_worker(worker_id, process_name, load, ours, *options)  # noqa: SLF001


def make_listener(host: str, port: int, *, timeout_s: int) -> socket.socket:
    """Return a bound socket, which does not listen yet. Workers share the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_s * 1000)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_MAX_BYTES)
    listener.bind((host, port))
    return listener
