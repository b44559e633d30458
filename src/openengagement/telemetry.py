"""Structured logs: one JSON object a line on standard error, and never a secret in one.

An exception is logged by its type and the places it passed, not by its message or its values: a
message can quote a header, a statement's parameters or a body, and with them a credential.
"""

import json
import sys
import traceback
from contextlib import suppress


def log_event(event: str, **fields: str | float | None) -> None:
    """Write one log line. `fields` must be facts about the server, never request content.

    A line that cannot be written is lost, and nothing else: what is logged on the way, a batch that
    was just committed say, comes out as it would have.
    """
    line = json.dumps({"event": event, **fields}) + "\n"
    # Standard error may be on a full disk, behind a pipe that nobody reads, closed, or None.
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(line)
        sys.stderr.flush()


def log_failure(event: str, error: BaseException, **fields: str | float | None) -> None:
    """Write one log line about an exception: its type and its frames as `file:line function`."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [
        f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames
    ]
    log_event(event, error=type(error).__name__, at=" < ".join(reversed(places)), **fields)
