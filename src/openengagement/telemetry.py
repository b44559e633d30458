"""Structured logs without secrets: one JSON object per line on standard error.

A log line about an exception contains its type and its stack frames, but never its message. The
message could quote a header, parameters of an SQL statement or a body, and so a credential.
"""

import json
import sys
import traceback
from contextlib import suppress

from openengagement.errors import StoreDamaged, StoreUnavailable


def log_event(event: str, **fields: str | float | None) -> None:
    """Write one log line. `fields` must be facts about the server, never content of a request.

    A line that cannot be written is lost silently, so that the work that is logged still succeeds.
    """
    line = json.dumps({"event": event, **fields}) + "\n"
    # Standard error may be a full disk, a pipe without a reader, closed, or None.
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(line)
        sys.stderr.flush()


def log_failure(event: str, error: BaseException, **fields: str | float | None) -> None:
    """Write one log line about an exception: its type, and its frames as `file:line function`.

    The innermost frame comes first. StoreUnavailable adds its store and reason, without secrets.
    StoreDamaged also adds the damaged file.
    """
    if isinstance(error, StoreUnavailable):
        fields |= {"store": error.store, "reason": error.reason}
    if isinstance(error, StoreDamaged):
        fields |= {"file": error.file}
    frames = traceback.extract_tb(error.__traceback__)
    trace = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]
    log_event(event, error=type(error).__name__, trace=" < ".join(reversed(trace)), **fields)
