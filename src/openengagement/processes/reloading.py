"""Reload on SIGHUP: new workers replace the old ones, and read a renewed certificate."""

import threading
from pathlib import Path
from typing import Any, Final

from granian import Granian

from openengagement.processes.certificate import verify_certificate
from openengagement.telemetry import log_event, log_failure

_CHECK_S: Final = 1.0


class _CheckedEvent(threading.Event):
    """An event whose `wait` also ends for a signal that another thread received.

    Handlers run in the main thread, and only once it runs. When a stopped process goes on, any of
    its threads may receive the signal, and Granian's main thread would wait on.
    """

    def wait(self, timeout: float | None = None) -> bool:
        """Wait as `threading.Event` does. Without a timeout, let handlers run every second."""
        if timeout is not None:
            return super().wait(timeout)
        while not super().wait(_CHECK_S):
            pass
        return True


class ReloadingServer(Granian):  # type: ignore[misc,valid-type] # its own alias of a class
    """A Granian whose SIGHUP does nothing if the certificate cannot be used.

    `certificate` has the files of the certificate and its key. Granian stops the old workers
    whether or not the new ones start, so a bad certificate would end the server.
    """

    certificate: tuple[Path, Path] | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - those of Granian
        super().__init__(*arguments, **named)
        self.main_loop_interrupt = _CheckedEvent()

    def signal_handler_reload(self, *arguments: Any) -> None:  # noqa: ANN401 - those of a signal
        """Handle SIGHUP."""
        try:
            if self.certificate is not None:
                verify_certificate(*self.certificate)
        except OSError as error:
            log_failure("certificate_refused", error, reason=str(error))
            return
        log_event("workers_reloading")
        super().signal_handler_reload(*arguments)
