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
    │   ├── BatchRefused              batch_refused
    │   ├── GzipRequired         406  gzip_required
    │   ├── BodyTooSlow          408  body_too_slow
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
    │   ├── RequestTokenMissing       request_token_missing
    │   ├── RequestTokenNotFound      request_token_not_found
    │   ├── InvalidVerifier           invalid_verifier
    │   ├── AppSuspended              app_suspended
    │   ├── DesktopAppsOnlyPin        desktop_apps_only_pin
    │   └── UnverifiedClient     403  unverified_client
    ├── AccessError 403
    │   ├── SslRequired               ssl_required
    │   ├── AppNotEnabled             app_not_enabled
    │   ├── CallbackNotApproved       callback_not_approved
    │   ├── UserContextRequired       user_context_required
    │   ├── ForbiddenTweets           forbidden_tweets
    │   └── ForbiddenMetrics          forbidden_metrics
    ├── NotFound 404                  not_found
    ├── MethodNotAllowed 405          method_not_allowed
    ├── RateLimited 429               rate_limited
    ├── InternalError 500             internal_error
    └── Unavailable 503               unavailable

The texts are the wire's (api.md 3.4); where the wire has none they follow its voice. How a
refusal looks on the OAuth calls, which answer in objects with numeric codes, is `api.error_body`'s.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar


class ApiError(Exception):
    """A refusal: its HTTP status, stable name, wire texts, ID arrays and extra headers."""

    details: Mapping[str, object] = {}  # more of the body, where a refusal hands something back

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
    """The body cannot be read: not JSON, or JSON of another shape."""

    code = "malformed_body"


class InvalidField(RequestError):
    """One or more fields break a rule; each text is ``field: reason``."""

    code = "invalid_field"


class UnsupportedTypes(RequestError):
    """Engagement types that the endpoint does not serve, or nobody does."""

    code = "unsupported_engagement_types"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            "One or more of the engagement types you have specified are not supported: "
            f"({', '.join(names)}). Please adjust your request and try again."
        )


class UnsupportedGroupBys(RequestError):
    """Dimensions that the endpoint does not serve, or nobody does."""

    code = "unsupported_group_bys"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            "One or more of the groupBys you have specified are not supported: "
            f"({', '.join(names)}). Please adjust your request and try again."
        )


class TweetsUnavailable(RequestError):
    """Not one of the Tweets may be shown: unknown, deleted, or protected."""

    code = "tweets_unavailable"

    def __init__(self, tweet_ids: Sequence[str]) -> None:
        super().__init__(
            f"{len(tweet_ids)} Tweet ID(s) are unavailable",
            arrays={"unavailable_tweet_ids": tweet_ids},
        )


class TweetsTooOld(RequestError):
    """All that was asked for is older than its type allows."""

    code = "tweets_too_old"


class BatchRefused(RequestError):
    """An atomic batch with bad lines: nothing of it counted, and its lines are handed back."""

    code = "batch_refused"

    def __init__(self, rejected: int, *, details: Mapping[str, object]) -> None:
        super().__init__(f"{rejected} line(s) are not acceptable; nothing was counted")
        self.details = details


class GzipRequired(RequestError):
    """Upstream's demand, on request (`require_gzip`); this answer itself goes out plain."""

    status = 406
    code = "gzip_required"

    def __init__(self) -> None:
        super().__init__(
            "This request requires gzip compression. Retry the request after setting "
            "'Accept-Encoding' header in the request to 'gzip'."
        )


class BodyTooSlow(RequestError):
    """The body did not come within the time that the settings allow."""

    status = 408
    code = "body_too_slow"


class BodyTooLarge(RequestError):
    """More bytes or lines than the settings allow."""

    status = 413
    code = "body_too_large"


class UnsupportedBody(RequestError):
    """A content type or content encoding that this route does not read."""

    status = 415
    code = "unsupported_body"


class KeyReused(RequestError):
    """An Idempotency-Key came back with a different batch."""

    status = 422
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            "Idempotency-Key: was used with a different body; send a new key with a new batch"
        )


class HeadersTooLarge(RequestError):
    """More header bytes than the settings allow."""

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
    """No credentials, or a scheme that this route does not know."""

    code = "unknown_authorization_type"


class MalformedAuthorization(AuthenticationError):
    """Credentials that cannot be read; the detail says what is wrong with them."""

    code = "malformed_authorization"
    reason = "Malformed authorization"


class UnsupportedSignature(AuthenticationError):
    """A signature method other than HMAC-SHA1."""

    code = "unsupported_signature_method"
    reason = "Signature method not supported; use HMAC-SHA1"


class ConsumerKeyNotFound(AuthenticationError):
    """No app has this consumer key."""

    code = "consumer_key_not_found"
    reason = "Consumer key not found"


class AccessTokenNotFound(AuthenticationError):
    """The app holds no such access token."""

    code = "access_token_not_found"
    reason = "Access token not found"


class BearerTokenNotFound(AuthenticationError):
    """No app has this bearer token now."""

    code = "bearer_token_not_found"
    reason = "Bearer token not found"


class PlatformKeyNotFound(AuthenticationError):
    """The platform has issued no such key."""

    code = "platform_key_not_found"
    reason = "Platform key not found"


class TimestampOutOfBounds(AuthenticationError):
    """The request was signed too long ago, or too far ahead."""

    code = "timestamp_out_of_bounds"
    reason = "Timestamp out of bounds"


class InvalidSignature(AuthenticationError):
    """The signature is not this request's under these secrets."""

    code = "invalid_signature"
    reason = "Invalid signature"


class NonceUsed(AuthenticationError):
    """A request that was served before, sent again."""

    code = "nonce_used"
    reason = "Nonce already used"


class RequestTokenMissing(AuthenticationError):
    """The third leg without a request token (api.md 4.6)."""

    code = "request_token_missing"
    reason = "Request token missing"


class RequestTokenNotFound(AuthenticationError):
    """A request token that is unknown, expired, used up, or another app's (api.md 4.6)."""

    code = "request_token_not_found"
    reason = "Request token not found"


class InvalidVerifier(AuthenticationError):
    """Not the verifier or PIN that the person was given (api.md 4.6)."""

    code = "invalid_verifier"
    reason = "Invalid oauth_verifier parameter"


class AppSuspended(AuthenticationError):
    """The platform's manager has suspended this App ID."""

    code = "app_suspended"
    reason = "Invalid / suspended application"


class DesktopAppsOnlyPin(AuthenticationError):
    """An app without callback URLs asked for one."""

    code = "desktop_apps_only_pin"
    reason = "Desktop applications only support the oauth_callback value 'oob'"


class UnverifiedClient(AuthenticationError):
    """An app's key and secret, or its bearer token, do not check out (api.md 4.7)."""

    status = 403
    code = "unverified_client"
    reason = "Unable to verify your credentials"


class AccessError(ApiError):
    """Known, but not allowed."""

    status = 403
    code = "forbidden"


class SslRequired(AccessError):
    """Plain HTTP from another machine."""

    code = "ssl_required"

    def __init__(self) -> None:
        super().__init__("SSL is required")


class AppNotEnabled(AccessError):
    """The platform's manager has not enabled this App ID, or has suspended it."""

    code = "app_not_enabled"

    def __init__(self, *, suspended: bool = False) -> None:
        # The wire has one text for both; whoever reads headers learns which it is.
        headers = {"x-error-code": AppSuspended.code} if suspended else None
        super().__init__("Your application ID is not authorized.", headers=headers)


class CallbackNotApproved(AccessError):
    """A callback URL that is not, letter for letter, one of the app's."""

    code = "callback_not_approved"

    def __init__(self) -> None:
        super().__init__("Callback URL not approved for this client application")


class UserContextRequired(AccessError):
    """An app alone asked for what only an access token may."""

    code = "user_context_required"

    def __init__(self) -> None:
        super().__init__("Your credentials do not allow access to this resource")


class ForbiddenTweets(AccessError):
    """Tweets that are not the access token's user's."""

    code = "forbidden_tweets"


class ForbiddenMetrics(AccessError):
    """Metrics that an app alone may not read."""

    code = "forbidden_metrics"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"Forbidden to access metrics: {', '.join(names)}")


class NotFound(ApiError):
    """No such path, or no such thing."""

    status = 404
    code = "not_found"


class MethodNotAllowed(ApiError):
    """The path is there, but not for this method."""

    status = 405
    code = "method_not_allowed"


class RateLimited(ApiError):
    """The app has used up its window."""

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


def refusal_of(
    code: str,
    texts: Sequence[str],
    *,
    headers: Mapping[str, str],
    details: Mapping[str, object],
) -> ApiError:
    """The refusal with this stable name, as another process made it."""
    kind = _BY_CODE[code]
    error = kind.__new__(kind)
    ApiError.__init__(error, *texts, headers=headers)
    error.details = details
    return error


def _with_code(kind: type[ApiError]) -> dict[str, type[ApiError]]:
    below = [_with_code(each) for each in kind.__subclasses__()]
    return {kind.code: kind} | {code: each for some in below for code, each in some.items()}


_BY_CODE = _with_code(ApiError)

# api.md 3.4, "order of checks": of two faults in one request the earlier one is reported. What is
# wrong with fields (InvalidField and the two after it) shares a rank: there the order of the fields
# decides, tweet_ids, engagement_types, groupings, start, end.
PRECEDENCE: tuple[type[ApiError], ...] = (
    HeadersTooLarge,
    NotFound,
    MethodNotAllowed,
    SslRequired,
    GzipRequired,
    BodyTooSlow,
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
