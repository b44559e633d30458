"""The process that counts the events of one server's workers (`ingest.handover`).

`cli.launch` starts it when the first batch comes, and another when it ends before its time. It is
given a listening socket, and ends when its standard input does: when that of the server has.
"""

import os
import signal
import socket
import sys
import threading
from pathlib import Path

from openengagement.clock import SystemClock
from openengagement.ingest.handover import take_over
from openengagement.ingest.upload import Counting, Take
from openengagement.ingest.writer import BatchWriter
from openengagement.process import give_way, share_arenas
from openengagement.settings import DATA_VARIABLE, load_settings
from openengagement.stores.opening import open_counters
from openengagement.telemetry import log_failure


def main() -> None:
    """Count until standard input ends. The one argument is the descriptor of the socket."""
    # A terminal, or whoever stops the server, may tell every process of it. The workers stop first,
    # and need us until then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.excepthook = _end
    give_way()
    share_arenas()
    os.umask(0o077)
    settings, clock = load_settings(os.environ), SystemClock()
    store = open_counters(Path(os.environ[DATA_VARIABLE]), settings, clock=clock)
    writer = BatchWriter(
        store,
        queue_max=0,  # the workers count what is under way
        on_failure=lambda error: log_failure("commit_failed", error),
    )
    counting = Counting(writer, settings=settings, now_s=clock.now_s)
    listener = socket.socket(fileno=int(sys.argv[1]))
    threading.Thread(target=_listen, args=(listener, counting.take), daemon=True).start()
    sys.stdin.buffer.read()
    writer.close()
    store.close()


def _listen(listener: socket.socket, take: Take) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=take_over, args=(connection, take), daemon=True).start()


def _end(failure: threading.ExceptHookArgs) -> None:
    """Without one of its threads this process would keep others waiting; the next one will not."""
    if failure.exc_value is not None:
        log_failure("counting_failed", failure.exc_value)
    os._exit(1)


if __name__ == "__main__":
    main()
