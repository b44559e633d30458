"""One call with all its attempts, without I/O: a generator of steps for a client to perform.

The synchronous and the asynchronous client both drive this generator. They send what it yields as
`Send`, sleep as long as a `Wait` says, and pass back what happened.
"""

import json
import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from openengagement_client.authorization import make_stamp
from openengagement_client.clock import ServerClock
from openengagement_client.errors import (
    ApiError,
    ConfigurationError,
    TransportError,
    UnexpectedAnswer,
    make_error,
)
from openengagement_client.rate_limits import RateLimitWindows
from openengagement_client.retrying import (
    TOO_MANY_REQUESTS,
    RetryPolicy,
    is_transient,
    wait_after,
)

_UNAUTHORIZED: Final = 401
_OUT_OF_BOUNDS: Final = "timestamp out of bounds"
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Send:
    """A step: send this request. Headers have names in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Wait:
    """A step: do nothing for so many seconds, because of `reason`."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole answer to one attempt. The body is decompressed.

    `content` is the decoded JSON of a success, for calls that expect JSON.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    content: Any = None

    @property
    def is_success(self) -> bool:
        """Tell whether the status is 2xx."""
        return self.status // 100 == 2  # noqa: PLR2004 - the class of a status

    def error(self) -> ApiError:
        """Build the exception for a refusal."""
        return make_error(self.status, self.headers, body=self.body)


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt without an answer: why."""

    reason: str


Outcome = Reply | Failure | None
Steps = Generator[Send | Wait, Outcome, Reply]


@dataclass(frozen=True, slots=True)
class Call:
    """One call, whatever the number of attempts. `path` begins with a slash.

    With `expects_json`, a success whose JSON is cut off is a failed attempt.
    """

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    expects_json: bool = False


@dataclass(frozen=True)
class Session:
    """What the calls to one server share.

    `make_authorization(method, url=..., stamp=...)` returns the header of an attempt.
    `chance()` returns a number from 0 to 1, for the jitter.
    """

    url: str
    make_authorization: Callable[..., str]
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    clock: ServerClock = field(default_factory=ServerClock)
    windows: RateLimitWindows = field(default_factory=RateLimitWindows)
    chance: Callable[[], float] = random.random

    def attempt(self, call: Call) -> Send:
        """Build a request with a new nonce and the server's time."""
        url = self.url + call.path
        stamp = make_stamp(self.clock.now_s())
        authorization = self.make_authorization(call.method, url=url, stamp=stamp)
        headers = {"accept-encoding": "gzip", **call.headers, "authorization": authorization}
        return Send(call.method, url, headers, call.body)

    def observe(self, reply: Reply) -> None:
        """Learn the server's clock and the rate limits from an answer."""
        self.clock.observe(reply.headers.get("date"))
        self.windows.observe(reply.headers)


def check_url(url: str, *, allow_plain_http: bool = False) -> str:
    """Return the URL without a slash at its end.

    Raises:
        ConfigurationError: it is not a URL of a server, or would send secrets in the clear to
            another machine.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(f"{url!r} is not the URL of a server, such as https://example.com")
    if parts.username or parts.password:
        raise ConfigurationError("the URL must not contain a password")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and not allow_plain_http:
        raise ConfigurationError(
            f"{url} would send credentials unencrypted; use https, or allow_plain_http=True"
        )
    return url.rstrip("/")


class _Attempts:
    """Counts the failures and waits of one call, and decides whether to go on."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._failures = 0
        self._waited_s = 0.0
        self.was_corrected = False

    def wait_to_send(self) -> float:
        """Return the wait until the rate limits allow a request."""
        return self._session.windows.reserve(self._session.clock.now_s())

    def wait_to_repeat(self, outcome: Outcome) -> float | None:
        """Return the wait before the next attempt, or None to give up."""
        policy, is_limit, asked_s = self._session.policy, False, 0.0
        if isinstance(outcome, Reply):
            now_s = self._session.clock.now_s()
            is_limit = outcome.status == TOO_MANY_REQUESTS
            asked_s = wait_after(outcome.status, outcome.headers, now_s=now_s)
        self._failures += not (is_limit and asked_s)
        if self._failures >= policy.attempts_max:
            return None
        backoff_s = policy.wait_s(max(1, self._failures), chance=self._session.chance())
        # After a reset, the clients that waited for it should not all come back at once.
        return asked_s + backoff_s if asked_s else backoff_s

    def may_wait(self, seconds: float) -> bool:
        """Tell whether the policy allows another wait, and count it."""
        self._waited_s += seconds
        return self._waited_s <= self._session.policy.wait_max_s

    def corrects_clock(self, reply: Reply) -> bool:
        """Tell whether to repeat a request that was refused for its timestamp. Once is enough."""
        if reply.status != _UNAUTHORIZED or self.was_corrected:
            return False
        said = reply.headers.get("x-error-code", "") + reply.body.decode(errors="replace")
        self.was_corrected = True
        return _OUT_OF_BOUNDS in said.lower().replace("_", " ")


def exchange(call: Call, session: Session) -> Steps:
    """Perform a call: send it, wait as the rate limits say, and repeat it after transient failures.

    Returns the answer, which may be a refusal. The last answer of 429 or 5xx is returned if the
    policy allows no further attempt.

    Raises:
        TransportError: no attempt got a whole answer.
        UnexpectedAnswer: JSON is expected, and a success is something else.
    """
    attempts = _Attempts(session)
    while True:
        while (pause_s := attempts.wait_to_send()) and attempts.may_wait(pause_s):
            yield Wait(pause_s, "rate limit")
        outcome = yield session.attempt(call)
        if isinstance(outcome, Reply):
            session.observe(outcome)
            if attempts.corrects_clock(outcome):
                continue
            if call.expects_json and outcome.is_success:
                outcome = _decode(outcome)
            if isinstance(outcome, Reply) and not is_transient(outcome.status, outcome.headers):
                return outcome
        wait_s = attempts.wait_to_repeat(outcome)
        if wait_s is None or not attempts.may_wait(wait_s):
            return _give_up(outcome)
        yield Wait(wait_s, _reason_of(outcome))


def _decode(reply: Reply) -> Reply | Failure:
    """Decode the JSON of a success.

    Raises:
        UnexpectedAnswer: it is something else, such as the page of a proxy.
    """
    try:
        return replace(reply, content=json.loads(reply.body))
    except ValueError:
        if reply.body.lstrip().startswith(b"{"):
            return Failure("the JSON of the answer is cut off")
        raise UnexpectedAnswer(f"the answer is not JSON: {reply.body[:100]!r}") from None


def _give_up(outcome: Outcome) -> Reply:
    if isinstance(outcome, Reply):
        return outcome
    raise TransportError(outcome.reason if outcome else "no answer")


def _reason_of(outcome: Outcome) -> str:
    if isinstance(outcome, Reply):
        return "rate limit" if outcome.status == TOO_MANY_REQUESTS else f"status {outcome.status}"
    return outcome.reason if outcome else ""
