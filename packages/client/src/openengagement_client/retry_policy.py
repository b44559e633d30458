"""Decide whether to repeat a request, and after how long. Pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from openengagement_client.clock import parse_http_date
from openengagement_client.rate_limits import parse_rate_limits

TOO_MANY_REQUESTS: Final = 429
_REQUEST_TIMEOUT: Final = 408
_SERVER_ERRORS: Final = range(500, 600)
# Not implemented, and the version of HTTP: neither passes.
_PERMANENT: Final = frozenset({501, 505})
# The server's disk is damaged, so it gives the same answer until its operator has restored a file.
_LASTING: Final = frozenset({"store_damaged"})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long one request is tried.

    Attributes:
        attempts_max: attempts that may fail, with 5xx or without an answer. Answers of 429 do not
            count, because the server says when to come back.
        backoff_s: the first wait; it doubles with each failure.
        backoff_max_s: the longest wait of the back-off.
        wait_max_s: all waits of one request together.
    """

    attempts_max: int = 6
    backoff_s: float = 0.5
    backoff_max_s: float = 30.0
    wait_max_s: float = 900.0

    def wait_s(self, failures: int, *, jitter: float) -> float:
        """Return the back-off after this many failures: half of it fixed, half by jitter (0 to 1).

        The random half spreads clients that failed at the same moment.
        """
        longest: float = min(self.backoff_max_s, self.backoff_s * 2 ** max(0, failures - 1))
        return longest * (1 + jitter) / 2


def is_transient(status: int, headers: Mapping[str, str]) -> bool:
    """Tell whether the same request may succeed later."""
    if headers.get("x-error-code") in _LASTING:
        return False
    if status in _SERVER_ERRORS:  # also those of proxies, such as 520 to 530
        return status not in _PERMANENT
    return status in (TOO_MANY_REQUESTS, _REQUEST_TIMEOUT)


def wait_after(status: int, headers: Mapping[str, str], *, now_s: float) -> float:
    """Return how long the server asks to wait, in seconds; 0 if it does not say.

    `Retry-After` comes first. Without it, an answer of 429 is repeated after the reset of the
    windows that are used up.
    """
    if (asked := _retry_after_s(headers.get("retry-after", ""), now_s)) > 0:
        return asked
    if status != TOO_MANY_REQUESTS:
        return 0.0
    windows = parse_rate_limits(headers).values()
    used_up = [each.reset_s - now_s for each in windows if each.remaining <= 0]
    return max([0.0, *used_up])


def _retry_after_s(text: str, now_s: float) -> float:
    """Read `Retry-After` (RFC 9110, 10.2.3): seconds, or a date."""
    if text.strip().isdecimal():
        return float(text)
    at_s = parse_http_date(text)
    return 0.0 if at_s is None else max(0.0, at_s - now_s)
