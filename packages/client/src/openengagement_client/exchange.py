"""One call with all its attempts, without I/O: a generator of steps for a client to perform.

The synchronous and the asynchronous client both drive this generator. They send what it yields as
`Send`, sleep as long as a `Wait` says, and pass back what happened.
"""

import json
from dataclasses import replace
from typing import Final

from openengagement_client.calls import Call, Failure, Outcome, Reply, Steps, Wait
from openengagement_client.errors import TransportError, UnexpectedAnswer
from openengagement_client.retrying import TOO_MANY_REQUESTS, is_transient, wait_after
from openengagement_client.sessions import Session

_UNAUTHORIZED: Final = 401
_OUT_OF_BOUNDS: Final = "timestamp out of bounds"


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
