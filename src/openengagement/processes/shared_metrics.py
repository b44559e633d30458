"""Join the metrics of the server that a process belongs to."""

import os

from openengagement.metrics.metric import attach
from openengagement.metrics.table import PROCESSES, STARTS
from openengagement.settings import METRICS_VARIABLE
from openengagement.telemetry import WARNING, log_event


def join_metrics(process: str) -> None:
    """Count this process, and whatever it counts, in the metrics of its server, if they are on."""
    path = os.environ.get(METRICS_VARIABLE)
    if path is None:
        return
    try:
        attach(path)
    except OSError as error:
        reason = error.strerror or str(error)
        log_event("metrics_lack_process", level=WARNING, reason=reason)
        return
    STARTS.add(1, process)
    PROCESSES.set(1, process)
