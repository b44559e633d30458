"""The access log: a line for each request, with its `request_id` and the reason of a refusal.

Requests are collected for a moment. Their lines are encoded in one call and written together.
`kill -9` loses the lines of that moment.
"""

import asyncio
import re
import time
from functools import lru_cache
from typing import Final

import msgspec

from openengagement.clock import SystemClock
from openengagement.http.request import Request
from openengagement.telemetry import INFO, WARNING, LineHead, format_line, format_ms, write_log

_EVENT: Final = "request"
_HEAD: Final = ("time", "level", "process", "pid", "event")  # what every line begins with
_CLOCK: Final = SystemClock()
_ENCODER: Final = msgspec.json.Encoder()
_FLUSH_S: Final = 0.1
_LINES_MAX: Final = 1000
_SAMPLE: Final = 100  # one of so many served requests is logged, if a sample is
_PATH_MAX: Final = 200
# Ids of accounts and Tweets, which the log must not keep after an erasure.
_ID: Final = re.compile(r"[0-9]{5,}|(?<=/)[0-9]+(?=/|\Z)")
_LAST_WORD: Final = re.compile(r"[^/]*\Z")
# Longer words of a path could be a key, a token or a secret that a client put there by mistake.
_LONG_WORD: Final = re.compile(r"[\w%+=~-]{24,}")
_REFUSED: Final = 400


class Arrival(msgspec.Struct, frozen=True):
    """A request that is being answered, and when it arrived."""

    request: Request
    began_s: float


class _Line(msgspec.Struct, frozen=True):
    """A line of the log, in the order of its fields. `time` is when the request was answered."""

    time: str
    level: str
    process: str
    pid: int
    event: str
    request_id: str
    method: str
    path: str
    status: int
    code: str | msgspec.UnsetType
    ms: float
    bytes: int
    peer: str


class AccessLog:
    """Logs requests: all of them (`on`), refused ones and a sample (`sampled`), or none (`off`)."""

    def __init__(self, mode: str) -> None:
        self._off, self._all = mode == "off", mode == "on"
        self._served = 0
        self._lines: list[_Line] = []

    def begin(self, request: Request) -> Arrival:
        """Return what `note` needs when the request is answered."""
        return Arrival(request, time.perf_counter())

    def note(self, arrival: Arrival, status: int, *, code: str | None, size: int) -> None:
        """Log a request that was answered. Call it on the event loop.

        `code` is the `x-error-code` of a refusal. `size` is that of the body as sent, in bytes.
        """
        if self._off or not (status >= _REFUSED or self._all or self._is_sampled()):
            return
        request = arrival.request
        if not self._lines:
            asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)
        self._lines.append(
            _Line(
                format_ms(_CLOCK.now_s()),
                WARNING if status >= _REFUSED else INFO,
                LineHead.process,
                LineHead.pid,
                _EVENT,
                request.request_id,
                request.method[:20],
                hide_path(request.path),
                status,
                code or msgspec.UNSET,
                int(1e5 * (time.perf_counter() - arrival.began_s)) / 100,
                size,
                request.peer[:64],
            )
        )
        if len(self._lines) >= _LINES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write the lines of the requests that were collected."""
        if self._lines:
            lines, self._lines = self._lines, []
            if LineHead.text:
                write_log("".join(map(_format, lines)))
            else:
                write_log(_ENCODER.encode_lines(lines).decode())

    def _is_sampled(self) -> bool:
        self._served += 1
        return self._served % _SAMPLE == 1


def _format(line: _Line) -> str:
    """Format a line for people."""
    fields = msgspec.to_builtins(line)
    for name in _HEAD:
        del fields[name]
    return format_line(_EVENT, level=line.level, fields=fields, time=line.time)


def hide_path(path: str) -> str:
    """Shorten a path, and replace ids and long words in it."""
    if len(path) > _PATH_MAX:  # the last word could be the beginning of a secret
        path = _LAST_WORD.sub("...", path[:_PATH_MAX], count=1)
    return _hide(path)


@lru_cache(1024)  # of short paths, so that clients cannot fill the memory with long ones
def _hide(path: str) -> str:
    return _ID.sub("{id}", _LONG_WORD.sub("...", path))
