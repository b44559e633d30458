"""One request of a plan, without I/O: every refusal that concerns only some Tweets is resolved.

If the server refuses a whole request because of Tweets of other authors, the request is sent again
without them, and the answer lists them.
"""

from collections.abc import Generator
from typing import Final

from openengagement_client.answers import (
    Answer,
    answer_from_refusal,
    empty_answer,
    parse_answer,
    remaining_ids,
)
from openengagement_client.calls import Call, Outcome, Send, Wait
from openengagement_client.errors import ForbiddenTweets
from openengagement_client.exchange import exchange
from openengagement_client.planning import Request
from openengagement_client.sessions import Session

_JSON: Final = {"content-type": "application/json", "accept": "application/json"}


def ask(request: Request, session: Session) -> Generator[Send | Wait, Outcome, Answer]:
    """Perform a request of a plan and read its answer.

    Raises:
        ApiError: the server refused it for a reason that concerns all of its Tweets.
        TransportError: no whole answer arrived.
        UnexpectedAnswer: the answer is not one of the Engagement API.
    """
    tweet_ids, answer = request.tweet_ids, empty_answer(request)
    while tweet_ids:
        body = request.body(tweet_ids)
        call = Call("POST", request.endpoint.path, body, _JSON, expects_json=True)
        reply = yield from exchange(call, session)
        if reply.is_success:
            answer = parse_answer(reply.content, request)
        else:
            error = reply.error()
            if isinstance(error, ForbiddenTweets):
                tweet_ids = remaining_ids(error, tweet_ids)
                continue
            now = session.clock.now()
            answer = answer_from_refusal(error, request, tweet_ids=tweet_ids, now=now)
        break
    asked = set(tweet_ids)
    answer.forbidden += [each for each in request.tweet_ids if each not in asked]
    return answer


def learn_clock(session: Session) -> Generator[Send | Wait, Outcome, None]:
    """Ask for the server's clock, unless an answer told it. Any answer has the `Date` header."""
    if not session.clock.is_known:
        yield from exchange(Call("GET", "/"), session)
