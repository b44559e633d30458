"""The access log: a line for each request, with its `request_id` and the reason of a refusal.

Requests are collected for a moment. Their lines are made and written together, while the processor
has the code in its caches: beside other work, the same code takes several times as long.
`kill -9` loses the lines of that moment.
"""

import asyncio
import re
import string
import time
from functools import lru_cache
from typing import Final
from urllib.parse import quote

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
_METHOD_MAX: Final = 20
_PEER_MAX: Final = 64
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


# A request that waits for its line: time of the answer (of `time.perf_counter`), id, method, path,
# status, code, duration in seconds, size and peer.
_Answered = tuple[float, str, str, str, int, str | None, float, int, str]


class _Line(msgspec.Struct, frozen=True, gc=False):
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
        self._answered: list[_Answered] = []

    def begin(self, request: Request) -> Arrival:
        """Return what `note` needs when the request is answered."""
        return Arrival(request, time.perf_counter())

    def note(
        self, arrival: Arrival, status: int, *, code: str | None, size: int, took_s: float
    ) -> None:
        """Log a request that was answered. Call it on the event loop.

        `code` is the `x-error-code` of a refusal. `size` is that of the body as sent, in bytes.
        """
        if self._off or not (status >= _REFUSED or self._all or self._is_sampled()):
            return
        request, path = arrival.request, arrival.request.path
        if not self._answered:
            asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)
        self._answered.append(
            (
                arrival.began_s + took_s,
                request.request_id,
                request.method,
                path if len(path) <= _PATH_MAX else hide_path(path),
                status,
                code,
                took_s,
                size,
                request.peer,
            )
        )
        if len(self._answered) >= _LINES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write the lines of the requests that were collected."""
        if self._answered:
            answered, self._answered = self._answered, []
            began_s = _CLOCK.now_s() - time.perf_counter()
            lines = [_describe(each, began_s=began_s) for each in answered]
            if LineHead.text:
                write_log("".join(map(_format, lines)))
            else:
                write_log(_ENCODER.encode_lines(lines).decode())

    def _is_sampled(self) -> bool:
        self._served += 1
        return self._served % _SAMPLE == 1


def _describe(answered: _Answered, *, began_s: float) -> _Line:
    """Make a line. `began_s` is when the clock of `time.perf_counter` began, in Unix seconds."""
    at_s, request_id, method, path, status, code, took_s, size, peer = answered
    return _Line(
        format_ms(began_s + at_s),
        WARNING if status >= _REFUSED else INFO,
        LineHead.process,
        LineHead.pid,
        _EVENT,
        request_id,
        method[:_METHOD_MAX],
        hide_path(path),
        status,
        code or msgspec.UNSET,
        int(1e5 * took_s) / 100,
        size,
        _escape(peer[:_PEER_MAX]),
    )


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
    return _escape(_ID.sub("{id}", _LONG_WORD.sub("...", path)))


def _escape(text: str) -> str:
    """Escape what a terminal would obey: bytes of a head that are no printable ASCII."""
    if text.isascii() and text.isprintable():
        return text
    return quote(text, safe=string.punctuation, encoding="latin-1", errors="replace")
