"""The access log: a line for each request, with its `request_id` and the reason of a refusal.

Requests are collected for a moment. Their lines are formatted and written together, while the
processor has the code in its caches. `kill -9` loses the lines of that moment.
"""

import asyncio
import re
import time
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from openengagement.clock import SystemClock
from openengagement.http.request import Request
from openengagement.telemetry import INFO, WARNING, format_line, write_log

_CLOCK: Final = SystemClock()
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


class _Answered(NamedTuple):
    """What a line says of a request, and when it was answered, in Unix seconds."""

    at_s: float
    request_id: str
    method: str
    path: str
    status: int
    code: str | None
    took_s: float
    size: int
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

    def note(self, arrival: Arrival, status: int, *, code: str | None, size: int) -> None:
        """Log a request that was answered. Call it on the event loop.

        `code` is the `x-error-code` of a refusal. `size` is that of the body as sent, in bytes.
        """
        if self._off or not (status >= _REFUSED or self._all or self._is_sampled()):
            return
        request, path = arrival.request, arrival.request.path
        if not self._answered:
            asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)
        self._answered.append(
            _Answered(
                _CLOCK.now_s(),
                request.request_id,
                request.method[:20],
                path if len(path) <= _PATH_MAX else hide_path(path),
                status,
                code,
                time.perf_counter() - arrival.began_s,
                size,
                request.peer[:64],
            )
        )
        if len(self._answered) >= _LINES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write the lines of the requests that were collected."""
        if self._answered:
            answered, self._answered = self._answered, []
            write_log("".join(map(_format, answered)))

    def _is_sampled(self) -> bool:
        self._served += 1
        return self._served % _SAMPLE == 1


def _format(answered: _Answered) -> str:
    at_s, request_id, method, path, status, code, took_s, size, peer = answered
    fields: dict[str, str | float | None] = {
        "request_id": request_id,
        "method": method,
        "path": hide_path(path),
        "status": status,
        **({"code": code} if code else {}),
        "ms": round(1000 * took_s, 2),
        "bytes": size,
        "peer": peer,
    }
    level = WARNING if status >= _REFUSED else INFO
    return format_line("request", level=level, fields=fields, encode=_encode, at_s=at_s)


def _encode(fields: object) -> str:
    return msgspec.json.encode(fields).decode()


def hide_path(path: str) -> str:
    """Shorten a path, and replace ids and long words in it."""
    if len(path) > _PATH_MAX:  # the last word could be the beginning of a secret
        path = _LAST_WORD.sub("...", path[:_PATH_MAX], count=1)
    return _hide(path)


@lru_cache(1024)  # of short paths, so that clients cannot fill the memory with long ones
def _hide(path: str) -> str:
    return _ID.sub("{id}", _LONG_WORD.sub("...", path))
