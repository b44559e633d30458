"""One call with all its attempts, without I/O: a generator of steps for a transport to perform.

Both transports drive this generator. They send each `HttpRequest` that it yields, sleep as long as
a `Wait` says, and pass back what happened.
"""

import json
from dataclasses import replace
from typing import Final

from openengagement_client.errors import TransportError, UnexpectedAnswer
from openengagement_client.http_messages import (
    ApiCall,
    HttpResponse,
    Outcome,
    Steps,
    TransportFailure,
    Wait,
)
from openengagement_client.retry_policy import TOO_MANY_REQUESTS, is_transient, wait_after
from openengagement_client.sessions import Session

_UNAUTHORIZED: Final = 401
_OUT_OF_BOUNDS: Final = "timestamp out of bounds"


class _Attempts:
    """Counts the failures and waits of one call, and decides whether to go on."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._failures = 0
        self._waited_s = 0.0
        self._was_corrected = False

    def wait_to_send(self) -> float:
        """Return the wait until the rate limits allow a request."""
        return self._session.rate_limits.reserve(self._session.clock.now_s())

    def wait_to_repeat(self, outcome: Outcome) -> float | None:
        """Return the wait before the next attempt, or None to give up."""
        policy, is_limit, asked_s = self._session.policy, False, 0.0
        if isinstance(outcome, HttpResponse):
            now_s = self._session.clock.now_s()
            is_limit = outcome.status == TOO_MANY_REQUESTS
            asked_s = wait_after(outcome.status, outcome.headers, now_s=now_s)
        self._failures += not (is_limit and asked_s)
        if self._failures >= policy.attempts_max:
            return None
        backoff_s = policy.wait_s(max(1, self._failures), jitter=self._session.jitter())
        # After a reset, the clients that waited for it should not all come back at once.
        return asked_s + backoff_s if asked_s else backoff_s

    def may_wait(self, seconds: float) -> bool:
        """Tell whether the policy allows another wait. Count it if so."""
        if self._waited_s + seconds > self._session.policy.wait_max_s:
            return False
        self._waited_s += seconds
        return True

    def corrects_clock(self, response: HttpResponse) -> bool:
        """Tell whether to repeat a request that was refused for its timestamp. Once is enough."""
        if response.status != _UNAUTHORIZED or self._was_corrected:
            return False
        said = response.headers.get("x-error-code", "") + response.body.decode(errors="replace")
        self._was_corrected = True
        return _OUT_OF_BOUNDS in said.lower().replace("_", " ")


def send_with_retries(call: ApiCall, session: Session) -> Steps[HttpResponse]:
    """Perform a call: send it, wait as the rate limits say, and repeat it after transient failures.

    Returns the answer, which may be a refusal. The last answer of 429 or 5xx is returned if the
    policy allows no further attempt.

    Raises:
        TransportError: no attempt got a whole answer.
        UnexpectedAnswer: the answer is a redirect or too large, or JSON is expected and a success
            is something else.
    """
    attempts = _Attempts(session)
    while True:
        while (pause_s := attempts.wait_to_send()) and attempts.may_wait(pause_s):
            yield Wait(pause_s, "rate limit")
        outcome = yield session.attempt(call)
        if isinstance(outcome, HttpResponse):
            session.observe(outcome)
            if attempts.corrects_clock(outcome):
                continue
            outcome = _check(outcome, call)
            if isinstance(outcome, HttpResponse) and not is_transient(
                outcome.status, outcome.headers
            ):
                return outcome
        elif outcome is not None and outcome.is_lasting:
            raise UnexpectedAnswer(outcome.reason)
        wait_s = attempts.wait_to_repeat(outcome)
        if wait_s is None or not attempts.may_wait(wait_s):
            return _give_up(outcome, session.url)
        yield Wait(wait_s, _reason_of(outcome))


def send(call: ApiCall, session: Session) -> Steps[HttpResponse]:
    """Perform a call whose refusal is an exception.

    Raises:
        ApiError: the server refused it.
        TransportError, UnexpectedAnswer: as `send_with_retries`.
    """
    response = yield from send_with_retries(call, session)
    if not response.is_success:
        raise response.error()
    return response


def _check(response: HttpResponse, call: ApiCall) -> HttpResponse | TransportFailure:
    """Decode the JSON of a success.

    Raises:
        UnexpectedAnswer: it is something else, such as the page of a proxy, or a redirect. No
            redirect is followed: credentials and signatures are for the configured server alone.
    """
    if response.status // 100 == 3:  # noqa: PLR2004 - the class of a status
        target = response.headers.get("location", "elsewhere")[:200]
        raise UnexpectedAnswer(
            f"{response.status}: the server redirects to {target!r}, which is not followed; "
            "configure the URL of the server itself"
        )
    if not (call.expects_json and response.is_success):
        return response
    try:
        return replace(response, content=json.loads(response.body))
    except (ValueError, RecursionError):
        if response.body.lstrip().startswith(b"{"):
            return TransportFailure("the JSON of the answer is cut off or damaged")
        raise UnexpectedAnswer(f"the answer is not JSON: {response.body[:100]!r}") from None


def _give_up(outcome: Outcome, url: str) -> HttpResponse:
    if isinstance(outcome, HttpResponse):
        return outcome
    raise TransportError(f"no answer from {url}: {_reason_of(outcome)}")


def _reason_of(outcome: Outcome) -> str:
    if isinstance(outcome, HttpResponse):
        return "rate limit" if outcome.status == TOO_MANY_REQUESTS else f"status {outcome.status}"
    return outcome.reason if outcome else ""
