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
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from openengagement.clock import SystemClock
from openengagement.errors import StoreDamaged, StoreUnavailable
from openengagement.metrics.table import LOG_LINES

INFO: Final = "info"
WARNING: Final = "warning"
ERROR: Final = "error"
_CLOCK: Final = SystemClock()


class LineHead:
    """How this process writes its lines: what it is, its id, and whether they are for people."""

    process = "command"
    pid = os.getpid()
    text = False


def _note_pid() -> None:
    LineHead.pid = os.getpid()


os.register_at_fork(after_in_child=_note_pid)


def configure_log(process: str, *, text: bool) -> None:
    """Name this process in its log lines. With `text`, write lines for people instead of JSON."""
    LineHead.process, LineHead.text = process, text


def log_event(event: str, *, level: str = INFO, **fields: str | float | None) -> None:
    """Write one log line. `fields` must be facts about the server, never content of a request.

    A line that cannot be written is lost silently, so that the work that is logged still succeeds.
    """
    LOG_LINES.add(1, LineHead.process, level)
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
    time: str | None = None,
) -> str:
    """Format a line, with its line end. `time` is that of `format_ms`, by default now."""
    time = time or format_ms(_CLOCK.now_s())
    if LineHead.text:
        pairs = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
        head = f"{time} {level:7} {LineHead.process}[{LineHead.pid}]"
        return f"{head} {event} {pairs}".rstrip() + "\n"
    head = f'"level": "{level}", "process": "{LineHead.process}", "pid": {LineHead.pid}'
    rest = json.dumps(fields)[1:] if fields else "}"
    comma = ", " if fields else ""
    return f'{{"time": "{time}", {head}, "event": "{event}"{comma}{rest}\n'


def format_ms(at_s: float) -> str:
    """Format a time in Unix seconds, to the millisecond."""
    second = int(at_s)
    return f"{_format_second(second)}.{int(1000 * (at_s - second)):03}Z"


@lru_cache(8)  # most lines are of the present second
def _format_second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


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
