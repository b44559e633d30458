"""The process that counts the events of one server's workers (`ingest.handover`).

`processes.counting_supervisor` starts it when the first batch arrives, and starts another one if it
ends too early. It inherits a listening socket, and ends when its standard input closes, which
happens when the server ends.
"""

import os
import shutil
import socket
import sys
import threading
from pathlib import Path
from typing import Final

from openengagement.tuning import configure_allocator, lower_priority

configure_allocator()  # before what is imported begins threads

from openengagement.clock import SystemClock
from openengagement.ingest.handover import take_over
from openengagement.ingest.upload import Counting, Take
from openengagement.ingest.writer import BatchWriter
from openengagement.settings import COUNTING_VARIABLE, DATA_VARIABLE, load_settings
from openengagement.stores.opening import open_stores
from openengagement.telemetry import log_failure

_CONNECTIONS_MAX: Final = 256  # served at once; more of them wait


def main() -> None:
    """Count until standard input ends. The one argument is the descriptor of the socket."""
    threading.excepthook = _end
    lower_priority()
    os.umask(0o077)
    settings, clock = load_settings(os.environ), SystemClock()
    stores = open_stores(Path(os.environ[DATA_VARIABLE]), settings, clock=clock)
    writer = BatchWriter(
        stores.counters,
        queue_max=0,  # the workers count what is under way
        on_failure=lambda error: log_failure("commit_failed", error),
    )
    counting = Counting(writer, settings=settings, now_s=clock.now_s)
    listener = socket.socket(fileno=int(sys.argv[1]))
    threading.Thread(target=_listen, args=(listener, counting.take), daemon=True).start()
    sys.stdin.buffer.read()
    writer.close()
    stores.close()
    # A server that was killed did not come to it.
    shutil.rmtree(Path(os.environ[COUNTING_VARIABLE]).parent, ignore_errors=True)


def _listen(listener: socket.socket, take: Take) -> None:
    room = threading.Semaphore(_CONNECTIONS_MAX)

    def serve(connection: socket.socket) -> None:
        try:
            take_over(connection, take)
        finally:
            room.release()

    while True:
        room.acquire()
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def _end(failure: threading.ExceptHookArgs) -> None:
    """Without one of its threads this process would keep others waiting; the next one will not."""
    try:
        if failure.exc_value is not None:
            log_failure("counting_failed", failure.exc_value)
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
