"""One request of a plan, without I/O: every refusal that concerns only some Tweets is resolved.

If the server refuses a whole request because of Tweets of other authors, the request is sent again
without them, and the answer lists them.
"""

import json
from collections.abc import Generator
from typing import Any, Final

from openengagement_client.answers import (
    Answer,
    answer_from_refusal,
    empty_answer,
    parse_answer,
    remaining_ids,
)
from openengagement_client.errors import ForbiddenTweets, TransportError, UnexpectedAnswer
from openengagement_client.exchange import Call, Outcome, Reply, Send, Session, Wait, exchange
from openengagement_client.planning import Request

_JSON: Final = {"content-type": "application/json", "accept": "application/json"}
# A 200 that is no JSON was cut off on the way, for example by a proxy.
_BROKEN_MAX: Final = 3


def ask(request: Request, session: Session) -> Generator[Send | Wait, Outcome, Answer]:
    """Perform a request of a plan and read its answer.

    Raises:
        ApiError: the server refused it for a reason that concerns all of its Tweets.
        TransportError: no whole answer arrived.
        UnexpectedAnswer: the answer is not one of the Engagement API.
    """
    tweet_ids, forbidden = request.tweet_ids, []
    while tweet_ids:
        call = Call("POST", request.endpoint.path, request.body(tweet_ids), _JSON)
        reply, body = yield from _exchange_json(call, session)
        if reply.is_success:
            answer = parse_answer(body, request)
        else:
            error = reply.error()
            if isinstance(error, ForbiddenTweets):
                remaining = remaining_ids(error, tweet_ids)
                forbidden += [each for each in tweet_ids if each not in set(remaining)]
                tweet_ids = remaining
                continue
            now = session.clock.now()
            answer = answer_from_refusal(error, request, tweet_ids=tweet_ids, now=now)
        answer.forbidden += forbidden
        return answer
    answer = empty_answer(request)
    answer.forbidden = forbidden
    return answer


def _exchange_json(
    call: Call, session: Session
) -> Generator[Send | Wait, Outcome, tuple[Reply, Any]]:
    """Perform a call whose success is JSON. Repeat it if a success is not."""
    for _ in range(_BROKEN_MAX):
        reply = yield from exchange(call, session)
        if not reply.is_success:
            return reply, None
        try:
            return reply, json.loads(reply.body)
        except ValueError:
            broken = reply
    if broken.body.lstrip().startswith(b"{"):
        raise TransportError("the JSON of the answer is cut off")
    raise UnexpectedAnswer(f"the answer is not JSON: {broken.body[:100]!r}")


def learn_clock(session: Session) -> Generator[Send | Wait, Outcome, None]:
    """Ask for the server's clock, unless an answer told it. Any answer has the `Date` header."""
    if not session.clock.is_known:
        yield from exchange(Call("GET", "/"), session)
