"""The contract of the limits: used nonces, and counts in windows of time.

The counts serve rate limits (api.md 3.5) and the limits on password guesses. Callers choose the
subject that is counted: an app, an access token, an account's guesses.

Every implementation promises the following; `tests/contract/test_limits.py` checks it.

* All workers of a server share one state. Every worker refuses a nonce that any worker remembered,
  and a count includes the requests of all workers.
* Each method is atomic. Of several calls with the same nonce at the same time, in any number of
  processes, exactly one returns that it was new. A method that raises has changed nothing.
* When a method has returned, its effect is complete. It survives `kill -9` of all processes.
* The state need not survive a crash or a restart of the machine that holds it. An implementation
  that cannot prove its state to be whole after a restart begins with an empty one. A request signed
  in the `timestamp_window_s` before the restart could then be served once more.
* Calls may come from several threads. Unless the implementation is `blocking`, requests make them
  on the event loop, so a method must return within microseconds.
* Limits fail closed: if a method cannot read or write the state now, it raises
  `errors.StoreUnavailable`, and the request is refused. A full disk is such a failure.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from openengagement.files import UnusableFile

MINUTE_S: Final = 60
SUBJECT_BYTES_MAX: Final = 256


class LimitsUnusable(UnusableFile):
    """The limits cannot be opened. The text says why and what to change."""


class Nonce(msgspec.Struct, frozen=True):
    """Stands for one signed request, so that it is served once.

    `timestamp` is the request's oauth_timestamp in Unix seconds. `digest` is 16 bytes. Two requests
    share both only if one repeats the other (see `auth.oauth1`).
    """

    timestamp: int
    digest: bytes


class RateWindow(msgspec.Struct, frozen=True):
    """One window of a subject, usually after a request was counted.

    `limit` is the number of requests allowed in the window, and `used` the number counted so far,
    including that request. The next window starts at the Unix second `reset_s`.
    """

    limit: int
    used: int
    reset_s: int

    @property
    def remaining(self) -> int:
        """The number of requests still allowed in this window."""
        return max(0, self.limit - self.used)

    @property
    def exceeded(self) -> bool:
        """Whether the request just counted is one too many."""
        return self.used > self.limit


class CountedWindow(NamedTuple):
    """The count of a subject in a window of `length_s` seconds, which ends before `reset_s`."""

    reset_s: int
    length_s: int
    subject: bytes
    used: int


class Limits(Protocol):
    """Used nonces and counts in windows, shared by all workers.

    A window of `n` seconds begins where Unix time is a multiple of `n`. `subject` is 1 to
    SUBJECT_BYTES_MAX bytes. `limits` maps the length of a window in seconds to the number of
    requests allowed in it. The answer lists the windows in the same order.
    """

    @property
    def blocking(self) -> bool:
        """Whether calls may wait for a network. If so, requests make them in threads."""

    def remember_nonce(self, nonce: Nonce) -> bool:
        """Remember a nonce. Returns False if it was remembered before.

        Call it only after the signature was verified, or strangers could fill the store.
        """

    def count(self, subject: bytes, limits: Mapping[int, int], *, now_s: float) -> list[RateWindow]:
        """Add one to the current window of every length. Counts beyond the limit too."""

    def read(self, subject: bytes, limits: Mapping[int, int], *, now_s: float) -> list[RateWindow]:
        """Return the current window of every length. Counts nothing."""

    def remember_nonce_and_count(
        self, nonce: Nonce, subject: bytes, *, limits: Mapping[int, int], now_s: float
    ) -> list[RateWindow] | None:
        """Do both in one atomic step. Returns None, and counts nothing, for a used nonce."""

    def uncount(self, subject: bytes, length_s: int, *, now_s: float) -> None:
        """Subtract one from the current window of this length, but not below zero."""

    def expire(self, *, now_s: float, uptime_s: float, window_s: int) -> float | None:
        """Remove nonces that no request can use any more, and windows that ended before them.

        The server refuses timestamps that differ from its clock by more than `window_s`. A clock
        that is set forward removes nothing: for twice that time, older nonces are removed by the
        clock as it was before. `uptime_s` is real time, which no change of the clock moves. All
        callers pass the same clock.

        Returns the seconds by which the clock jumped since the last call of any process, None if
        it did not jump.
        """

    def read_all(self) -> tuple[list[Nonce], list[CountedWindow]]:
        """Return all nonces and windows."""

    def add_all(self, nonces: Sequence[Nonce], windows: Sequence[CountedWindow]) -> None:
        """Remember nonces and counts of other limits. Of two counts of a window, keep the higher.

        It may be repeated.
        """

    def seal(self, reason: str) -> None:
        """Refuse to remember and to count from now on, in all processes, with StoreUnavailable.

        A restart of the machine does not end it. `reason` has no quotes.
        """

    def release(self) -> None:
        """Remember and count again."""

    def is_sealed(self) -> bool:
        """Whether `seal` was called, and `release` was not."""

    def close(self) -> None:
        """Release the resources of this process. The shared state stays."""
