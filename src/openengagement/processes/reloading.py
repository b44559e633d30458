"""Reload on SIGHUP: new workers replace the old ones, and read a renewed certificate."""

from pathlib import Path
from typing import Any

from granian import Granian

from openengagement.processes.certificate import verify_certificate
from openengagement.telemetry import log_event, log_failure


class ReloadingServer(Granian):  # type: ignore[misc,valid-type] # its own alias of a class
    """A Granian whose SIGHUP does nothing if the certificate cannot be used.

    `certificate` has the files of the certificate and its key. Granian stops the old workers
    whether or not the new ones start, so a bad certificate would end the server.
    """

    certificate: tuple[Path, Path] | None = None

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
