"""The counting process: it counts the events that all workers of one server receive.

With `--intake log`, it publishes them to an event log instead, for consumers to count.

`processes.counting_supervisor` starts it when the first batch arrives, and again after a crash. It
inherits two sockets. One listens for workers (`ingest.sources.counting_socket` is the protocol). On
the other one it answers the pings of the supervisor. It ends when its standard input closes, which
happens when the server ends.
"""

import gc
import os
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from openengagement.tuning import configure_allocator, lower_priority

configure_allocator()  # before the imports below start threads
gc.disable()  # the imported modules stay, so do not search them for garbage meanwhile


def _answer_pings(channel: socket.socket) -> None:
    with suppress(OSError):  # the supervisor was killed, and this process will end soon
        while ping := channel.recv(1):
            channel.send(ping)


if __name__ == "__main__":  # before slow imports, so that these do not look like a hang
    _CHANNEL: Final = socket.socket(fileno=int(sys.argv[2]))
    threading.Thread(target=_answer_pings, args=(_CHANNEL,), daemon=True).start()

from collections.abc import Callable

from openengagement.clock import Clock, SystemClock
from openengagement.errors import StoreDamaged, StoreUnavailable
from openengagement.ingest.logs.log_url import parse_url
from openengagement.ingest.logs.opening import open_publisher
from openengagement.ingest.logs.publishing import BatchPublisher
from openengagement.ingest.sources.counting_listener import CountingListener, remove_socket
from openengagement.ingest.sources.counting_socket import serve_upload
from openengagement.ingest.sources.event_uploads import EventUploads
from openengagement.ingest.sources.log_uploads import LogUploads
from openengagement.ingest.sources.uploads import UploadHandler
from openengagement.ingest.writer import BatchWriter
from openengagement.intake_settings import LOG
from openengagement.processes.damage_notices import DamageNotices
from openengagement.processes.shared_metrics import join_metrics
from openengagement.settings import (
    COUNTING_VARIABLE,
    DATA_VARIABLE,
    REGISTRY_FILE,
    Settings,
    load_settings,
)
from openengagement.stores.contract import CounterStore, RemembersOlder
from openengagement.stores.opening import open_stores
from openengagement.telemetry import configure_log, log_event, log_failure

gc.freeze()
gc.enable()

_CONNECTIONS_MAX: Final = 256  # served at once; further ones wait
_SOCKET_CHECK_S: Final = 0.5
_Intake = tuple[UploadHandler, Callable[[], None]]  # and what closes it


def main() -> None:
    """Count until standard input closes. The arguments are the descriptors of the two sockets."""
    threading.excepthook = _end_process
    lower_priority()
    os.umask(0o077)
    settings, clock = load_settings(os.environ), SystemClock()
    configure_log("counting", text=settings.log_format == "text")
    join_metrics("counting")
    data = Path(os.environ[DATA_VARIABLE])
    listener = CountingListener(
        socket.socket(fileno=int(sys.argv[1])), os.environ[COUNTING_VARIABLE]
    )
    publishes = settings.intake == LOG
    open_intake = _open_log_intake if publishes else _open_store_intake
    try:
        handle, close = open_intake(data, settings, clock=clock, listener=listener)
    except StoreUnavailable as error:  # the supervisor starts another one
        log_failure("counting_process_failed", error)
        sys.exit(1)
    threading.Thread(target=_listen, args=(listener, handle), daemon=True).start()
    log_event("counting_process_started")
    sys.stdin.buffer.read()
    close()
    remove_socket(listener.address)  # the supervisor does this too, but not if it was killed


def _open_store_intake(
    data: Path, settings: Settings, *, clock: Clock, listener: CountingListener
) -> _Intake:
    """Count batches into the store."""
    listener.set_log_lost(False)
    # If the folder has a registry, a missing database of counters was removed: do not create it.
    create = not (data / REGISTRY_FILE).exists()
    notices = DamageNotices(data, settings, clock=clock)
    with notices.told():
        stores = open_stores(data, settings, clock=clock, create=create, on_damage=notices.note)
        read_older = _find_older(stores.counters)

    def note_failure(error: BaseException) -> None:
        log_failure("commit_failed", error)
        if isinstance(error, StoreDamaged):
            notices.note(error)

    writer = BatchWriter(
        stores.counters,
        queue_max=0,  # unlimited, because the workers limit the batches in flight
        on_failure=note_failure,
    )
    uploads = EventUploads(
        writer,
        stores.counters.read_outcome,
        settings=settings,
        now_s=clock.now_s,
        read_older=read_older,
    )

    def close() -> None:
        writer.close()
        stores.close()

    return uploads.handle, close


def _find_older(counters: CounterStore) -> Callable[[bytes, bytes], bytes | None] | None:
    """Return what reads outcomes of version 0.1.0, None if the store holds none."""
    if isinstance(counters, RemembersOlder) and counters.holds_older():
        return counters.read_older_outcome
    return None


def _open_log_intake(
    _data: Path, settings: Settings, *, clock: Clock, listener: CountingListener
) -> _Intake:
    """Publish batches to the event log, and watch the log for the health checks."""
    url = parse_url(settings.intake_log)
    publisher = BatchPublisher(open_publisher(url, bytes_max=settings.intake_message_max_bytes))
    watch = threading.Thread(target=publisher.watch, args=(listener.set_log_lost,), daemon=True)
    watch.start()
    uploads = LogUploads(publisher, settings=settings, now_s=clock.now_s)
    return uploads.handle, publisher.close


def _listen(listener: CountingListener, handle: UploadHandler) -> None:
    free = threading.Semaphore(_CONNECTIONS_MAX)

    def serve(connection: socket.socket) -> None:
        try:
            serve_upload(connection, handle)
        finally:
            free.release()

    while True:
        free.acquire()
        while (connection := listener.accept(timeout_s=_SOCKET_CHECK_S)) is None:
            listener.restore()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def _end_process(failure: threading.ExceptHookArgs) -> None:
    """End the process when one of its threads fails, so that the supervisor starts a new one.

    Without that thread, workers could wait for ever for an answer.
    """
    try:
        if failure.exc_value is not None:
            log_failure("counting_process_failed", failure.exc_value)
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
