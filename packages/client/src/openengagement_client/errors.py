"""Every exception of this package. Catch `EngagementError` to catch all of them.

EngagementError
├── InvalidQuery              the call cannot be sent: ids, groupings or times are wrong
├── ConfigurationError        credentials, URL, profile or file are missing or unusable
├── TransportError            no whole answer arrived, and the retries are used up
├── UnexpectedAnswer          the answer is not one of the Engagement API
└── ApiError                  the server refused: status, messages, error code, request id
├── BadRequest            400 and other 4xx
├── Unauthorized          401
├── Forbidden             403
│   ├── ForbiddenTweets   403, Tweets of another author
│   └── ForbiddenMetrics  403, metrics that these credentials may not read
├── NotFound              404
├── GzipRequired          406
├── RateLimited           429, after waiting as long as the policy allows
└── ServerError           5xx, after the retries
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

Json = Any  # decoded JSON of any shape


class EngagementError(Exception):
    """Anything that this package raises on purpose."""


class InvalidQuery(EngagementError, ValueError):
    """The arguments of a call cannot be turned into requests."""


class ConfigurationError(EngagementError):
    """Credentials, a URL, a profile or a file is missing or unusable."""


class TransportError(EngagementError):
    """No whole answer arrived: the connection failed, timed out, or the body was cut off."""


class UnexpectedAnswer(EngagementError):
    """The answer has the status of success, and is not the JSON of the Engagement API."""


class ApiError(EngagementError):
    """The server answered with an error.

    Attributes:
        status: the HTTP status.
        messages: the texts of `errors`, or the body if it is plain text.
        codes: the numeric codes of `errors`. Only OAuth calls have them.
        error_code: the stable name in `x-error-code`, or "".
        request_id: `x-request-id`, or "". The server's log has the same id.
        body: the decoded JSON of the body, or None.
    """

    status: int
    messages: tuple[str, ...]
    codes: tuple[int, ...]
    error_code: str
    request_id: str
    body: Any

    @classmethod
    def from_response(cls, status: int, headers: Mapping[str, str], *, body: bytes) -> Self:
        """Build the exception from an answer. `headers` have names in lower case."""
        decoded = _decode(body)
        found = decoded.get("errors") if isinstance(decoded, dict) else None
        entries = found if isinstance(found, list) else []
        messages = tuple(_message_of(each) for each in entries)
        if not messages and decoded is None and body.strip():
            messages = (body.decode(errors="replace").strip()[:_TEXT_MAX],)
        error_code, request_id = headers.get("x-error-code", ""), headers.get("x-request-id", "")
        said = "; ".join(messages)[:_TEXT_MAX] or "no message"
        names = [name for name in (error_code, request_id and f"request {request_id}") if name]
        error = cls(f"{status}: {said}" + (f" ({', '.join(names)})" if names else ""))
        error.status, error.messages, error.body = status, messages, decoded
        error.error_code, error.request_id = error_code, request_id
        error.codes = tuple(
            each["code"]
            for each in entries
            if isinstance(each, dict) and isinstance(each.get("code"), int)
        )
        return error


class BadRequest(ApiError):
    """400, or another 4xx without a class of its own: the request breaks a rule."""


class Unauthorized(ApiError):
    """401: the credentials or the signature are wrong."""


class Forbidden(ApiError):
    """403: the caller is known, but not allowed."""


class ForbiddenTweets(Forbidden):
    """403: the Tweets belong to another author than the access token's user."""

    MARK: ClassVar[str] = "forbidden to access tweets"


class ForbiddenMetrics(Forbidden):
    """403: these credentials may not read the metrics."""

    MARK: ClassVar[str] = "forbidden to access metrics"


class NotFound(ApiError):
    """404: no such path, or no such Tweet."""


class GzipRequired(ApiError):
    """406: the server demands a client that accepts gzip."""


class RateLimited(ApiError):
    """429, although the client waited as long as its policy allows."""


class ServerError(ApiError):
    """5xx, although the client retried as often as its policy allows."""


_TEXT_MAX: Final = 500
_STATUSES: Final[dict[int, type[ApiError]]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    406: GzipRequired,
    429: RateLimited,
}


def make_error(status: int, headers: Mapping[str, str], *, body: bytes) -> ApiError:
    """Build the exception of the class that fits the status and the messages."""
    if status >= 500:  # noqa: PLR2004 - the class of a status is its first digit
        return ServerError.from_response(status, headers, body=body)
    error = _STATUSES.get(status, BadRequest).from_response(status, headers, body=body)
    for kind in (ForbiddenTweets, ForbiddenMetrics):
        if isinstance(error, Forbidden) and kind.MARK in " ".join(error.messages).lower():
            return kind.from_response(status, headers, body=body)
    return error


def _decode(body: bytes) -> Json:
    try:
        return json.loads(body)
    except (RecursionError, ValueError):
        return None


def _message_of(entry: object) -> str:
    return str(entry["message"]) if isinstance(entry, dict) and "message" in entry else str(entry)
