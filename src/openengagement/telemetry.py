"""Structured logs without secrets: one JSON object per line on standard error.

Each line has `time`, `level`, `process`, `pid` and `event`, then the fields of the event. With the
format `text`, the same is written for a person to read at a terminal.

A log line about an exception contains its type and its stack frames, but never its message. The
message could quote a header, parameters of an SQL statement or a body, and so a credential.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from openengagement.clock import SystemClock
from openengagement.errors import StoreDamaged, StoreUnavailable
from openengagement.metrics.table import LOG_LINES

INFO: Final = "info"
WARNING: Final = "warning"
ERROR: Final = "error"
_CLOCK: Final = SystemClock()


class _Log:
    """How this process writes its lines."""

    process = "command"
    text = False


def configure_log(process: str, *, text: bool) -> None:
    """Name this process in its log lines. With `text`, write lines for people instead of JSON."""
    _Log.process, _Log.text = process, text


def log_event(event: str, *, level: str = INFO, **fields: str | float | None) -> None:
    """Write one log line. `fields` must be facts about the server, never content of a request.

    A line that cannot be written is lost silently, so that the work that is logged still succeeds.
    """
    LOG_LINES.add(1, _Log.process, level)
    write_log(format_line(event, level=level, fields=fields))


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
    fields = {"error": type(error).__name__, "trace": " < ".join(reversed(trace)), **fields}
    log_event(event, level=ERROR, **fields)


def format_line(
    event: str,
    *,
    level: str,
    fields: Mapping[str, str | float | None],
    encode: Callable[[object], str] = json.dumps,
    at_s: float | None = None,
) -> str:
    """Format a line, with its line end. `encode` makes JSON of the fields.

    `at_s` is the time of the event in Unix seconds, by default now.
    """
    time = datetime.fromtimestamp(_CLOCK.now_s() if at_s is None else at_s, UTC).isoformat(
        timespec="milliseconds"
    )
    time = f"{time[:-6]}Z"
    if _Log.text:
        pairs = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
        return f"{time} {level:7} {_Log.process}[{os.getpid()}] {event} {pairs}".rstrip() + "\n"
    head = f'"level": "{level}", "process": "{_Log.process}", "pid": {os.getpid()}'
    rest = encode(fields)[1:] if fields else "}"
    comma = ", " if fields else ""
    return f'{{"time": "{time}", {head}, "event": "{event}"{comma}{rest}\n'


def write_log(lines: str) -> None:
    """Write whole lines to standard error. If that is not possible, they are lost."""
    # Standard error may be a full disk, a pipe without a reader, closed, or None.
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(lines)
        sys.stderr.flush()


def _quoted(value: str | float | None) -> str:
    """Write a value so that it stays on one line. Quote it if it has spaces or other signs."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(" \"'=\\")
    return text if plain and text else json.dumps(value)
