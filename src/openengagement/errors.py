"""Every refusal the server can make, and the order in which refusals win.

The tree (status, stable name sent as ``x-error-code``)::

    ApiError
    ├── RequestError 400
    │   ├── MalformedBody             malformed_body
    │   ├── InvalidField              invalid_field
    │   ├── UnsupportedTypes          unsupported_engagement_types
    │   ├── UnsupportedGroupBys       unsupported_group_bys
    │   ├── TweetsUnavailable         tweets_unavailable
    │   ├── TweetsTooOld              tweets_too_old
    │   ├── GzipRequired         406  gzip_required
    │   ├── BodyTooLarge         413  body_too_large
    │   ├── UnsupportedBody      415  unsupported_body
    │   ├── KeyReused            422  idempotency_key_reused
    │   └── HeadersTooLarge      431  headers_too_large
    ├── AuthenticationError 401
    │   ├── UnknownAuthorization      unknown_authorization_type
    │   ├── MalformedAuthorization    malformed_authorization
    │   ├── UnsupportedSignature      unsupported_signature_method
    │   ├── ConsumerKeyNotFound       consumer_key_not_found
    │   ├── AccessTokenNotFound       access_token_not_found
    │   ├── BearerTokenNotFound       bearer_token_not_found
    │   ├── PlatformKeyNotFound       platform_key_not_found
    │   ├── TimestampOutOfBounds      timestamp_out_of_bounds
    │   ├── InvalidSignature          invalid_signature
    │   ├── NonceUsed                 nonce_used
    │   └── UnverifiedClient     403  unverified_client
    ├── AccessError 403
    │   ├── SslRequired               ssl_required
    │   ├── AppNotEnabled             app_not_enabled
    │   ├── ForbiddenTweets           forbidden_tweets
    │   └── ForbiddenMetrics          forbidden_metrics
    ├── NotFound 404                  not_found
    ├── MethodNotAllowed 405          method_not_allowed
    ├── RateLimited 429               rate_limited
    ├── InternalError 500             internal_error
    └── Unavailable 503               unavailable

The texts are the wire's (contract 3.4); where the wire has none they follow its voice. How a
refusal looks on the OAuth calls, which answer in objects with numeric codes, is `api.error_body`'s.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar


class ApiError(Exception):
    """A refusal: its HTTP status, stable name, wire texts, ID arrays and extra headers."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        *texts: str,
        arrays: Mapping[str, Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(*texts)
        self.texts: tuple[str, ...] = texts
        self.arrays: Mapping[str, Sequence[str]] = arrays or {}
        self.headers: Mapping[str, str] = headers or {}


class RequestError(ApiError):
    """The request itself cannot be served as it stands."""

    status = 400
    code = "bad_request"


class MalformedBody(RequestError):
    code = "malformed_body"


class InvalidField(RequestError):
    """One or more fields break a rule; each text is ``field: reason``."""

    code = "invalid_field"


class UnsupportedTypes(RequestError):
    code = "unsupported_engagement_types"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            "One or more of the engagement types you have specified are not supported: "
            f"({', '.join(names)}). Please adjust your request and try again."
        )


class UnsupportedGroupBys(RequestError):
    code = "unsupported_group_bys"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            "One or more of the groupBys you have specified are not supported: "
            f"({', '.join(names)}). Please adjust your request and try again."
        )


class TweetsUnavailable(RequestError):
    code = "tweets_unavailable"

    def __init__(self, tweet_ids: Sequence[str]) -> None:
        super().__init__(
            f"{len(tweet_ids)} Tweet ID(s) are unavailable",
            arrays={"unavailable_tweet_ids": tweet_ids},
        )


class TweetsTooOld(RequestError):
    code = "tweets_too_old"


class GzipRequired(RequestError):
    status = 406
    code = "gzip_required"

    def __init__(self) -> None:
        super().__init__(
            "This request requires gzip compression. Retry the request after setting "
            "'Accept-Encoding' header in the request to 'gzip'."
        )


class BodyTooLarge(RequestError):
    status = 413
    code = "body_too_large"


class UnsupportedBody(RequestError):
    """A content type or content encoding that this route does not read."""

    status = 415
    code = "unsupported_body"


class KeyReused(RequestError):
    status = 422
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            "Idempotency-Key: was already used with a different body; send a new key with a new batch"
        )


class HeadersTooLarge(RequestError):
    status = 431
    code = "headers_too_large"


class AuthenticationError(ApiError):
    """Who is asking could not be established. `reason` completes the wire's sentence."""

    status = 401
    code = "not_authenticated"
    reason: ClassVar[str] = "Unknown Authorization Type"

    def __init__(self, detail: str = "") -> None:
        reason = f"{self.reason}: {detail}" if detail else self.reason
        super().__init__(f"Your account could not be authenticated. Reason: {reason}")


class UnknownAuthorization(AuthenticationError):
    code = "unknown_authorization_type"


class MalformedAuthorization(AuthenticationError):
    code = "malformed_authorization"
    reason = "Malformed authorization"


class UnsupportedSignature(AuthenticationError):
    code = "unsupported_signature_method"
    reason = "Signature method not supported; use HMAC-SHA1"


class ConsumerKeyNotFound(AuthenticationError):
    code = "consumer_key_not_found"
    reason = "Consumer key not found"


class AccessTokenNotFound(AuthenticationError):
    code = "access_token_not_found"
    reason = "Access token not found"


class BearerTokenNotFound(AuthenticationError):
    code = "bearer_token_not_found"
    reason = "Bearer token not found"


class PlatformKeyNotFound(AuthenticationError):
    code = "platform_key_not_found"
    reason = "Platform key not found"


class TimestampOutOfBounds(AuthenticationError):
    code = "timestamp_out_of_bounds"
    reason = "Timestamp out of bounds"


class InvalidSignature(AuthenticationError):
    code = "invalid_signature"
    reason = "Invalid signature"


class NonceUsed(AuthenticationError):
    code = "nonce_used"
    reason = "Nonce already used"


class UnverifiedClient(AuthenticationError):
    """An app's key and secret, or its bearer token, do not check out on `/oauth2/*` (contract 4.7)."""

    status = 403
    code = "unverified_client"
    reason = "Unable to verify your credentials"


class AccessError(ApiError):
    """Known, but not allowed."""

    status = 403
    code = "forbidden"


class SslRequired(AccessError):
    code = "ssl_required"

    def __init__(self) -> None:
        super().__init__("SSL is required")


class AppNotEnabled(AccessError):
    code = "app_not_enabled"

    def __init__(self) -> None:
        super().__init__("Your application ID is not authorized.")


class ForbiddenTweets(AccessError):
    code = "forbidden_tweets"


class ForbiddenMetrics(AccessError):
    code = "forbidden_metrics"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"Forbidden to access metrics: {', '.join(names)}")


class NotFound(ApiError):
    status = 404
    code = "not_found"


class MethodNotAllowed(ApiError):
    status = 405
    code = "method_not_allowed"


class RateLimited(ApiError):
    status = 429
    code = "rate_limited"

    def __init__(self) -> None:
        super().__init__("Rate limit exceeded")


class InternalError(ApiError):
    """Our own fault; the cause is in the log under the request id, never in the answer."""

    def __init__(self) -> None:
        super().__init__("internal server error")


class Unavailable(ApiError):
    """The server cannot take this now; trying again later is right."""

    status = 503
    code = "unavailable"

    def __init__(self, text: str, *, retry_after_s: int = 1) -> None:
        super().__init__(text, headers={"retry-after": str(retry_after_s)})


# Contract 3.4, "order of checks": of two faults in one request the earlier one is reported.
PRECEDENCE: tuple[type[ApiError], ...] = (
    HeadersTooLarge,
    NotFound,
    MethodNotAllowed,
    SslRequired,
    GzipRequired,
    BodyTooLarge,
    UnsupportedBody,
    AuthenticationError,
    AppNotEnabled,
    RateLimited,
    MalformedBody,
    InvalidField,
    UnsupportedTypes,
    UnsupportedGroupBys,
    TweetsUnavailable,
    ForbiddenTweets,
    ForbiddenMetrics,
    TweetsTooOld,
)
