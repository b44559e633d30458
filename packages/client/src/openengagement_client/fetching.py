"""One request of a plan, without I/O: every refusal that concerns only some Tweets is resolved.

If the server refuses a whole request because of Tweets of other authors, the request is sent again
without them, and the response lists them.
"""

from contextlib import suppress
from typing import Final

from openengagement_client.errors import ForbiddenTweets, UnexpectedAnswer
from openengagement_client.http_messages import ApiCall, Steps
from openengagement_client.planning import Request
from openengagement_client.responses import (
    DataResponse,
    empty_response,
    parse_response,
    remaining_ids,
    response_from_refusal,
)
from openengagement_client.retrying import send_with_retries
from openengagement_client.sessions import Session

_JSON: Final = {"content-type": "application/json", "accept": "application/json"}


def fetch(request: Request, session: Session) -> Steps[DataResponse]:
    """Perform a request of a plan and read its response.

    Raises:
        ApiError: the server refused it for a reason that concerns all of its Tweets.
        TransportError: no whole answer arrived.
        UnexpectedAnswer: the answer is not one of the Engagement API.
    """
    tweet_ids, response = request.tweet_ids, empty_response(request)
    while tweet_ids:
        body = request.body(tweet_ids)
        call = ApiCall("POST", request.endpoint.path, body, _JSON, expects_json=True)
        received = yield from send_with_retries(call, session)
        if received.is_success:
            response = parse_response(received.content, request)
        else:
            error = received.error()
            if isinstance(error, ForbiddenTweets):
                tweet_ids = remaining_ids(error, tweet_ids)
                continue
            now = session.clock.now()
            response = response_from_refusal(error, request, tweet_ids=tweet_ids, now=now)
        break
    sent = set(tweet_ids)
    response.forbidden += [each for each in request.tweet_ids if each not in sent]
    return response


def fetch_clock(session: Session) -> Steps[None]:
    """Ask for the server's clock, unless an answer told it. Any answer has the `Date` header."""
    if not session.clock.is_known:
        with suppress(UnexpectedAnswer):  # a redirect has the header too
            yield from send_with_retries(ApiCall("GET", "/"), session)
