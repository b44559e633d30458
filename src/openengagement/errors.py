"""Every error that the server can answer with, and which one is reported when several apply.

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
    │   ├── WrongHost            421  wrong_host
    │   ├── KeyReused            422  idempotency_key_reused
    │   ├── AllRejected          422  all_lines_rejected
    │   └── HeadersTooLarge      431  headers_too_large
    ├── AuthenticationError 401
    │   ├── UnknownAuthorization      unknown_authorization_type
    │   ├── MalformedAuthorization    malformed_authorization
    │   ├── UnsupportedSignature      unsupported_signature_method
    │   ├── ConsumerKeyNotFound       consumer_key_not_found
    │   ├── AccessTokenNotFound       access_token_not_found
    │   ├── BearerTokenNotFound       bearer_token_not_found
    │   ├── PlatformKeyNotFound       platform_key_not_found
    │   ├── PlatformKeyExpired        platform_key_expired
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
    │   ├── ScopeMissing              scope_missing
    │   ├── ForbiddenTweets           forbidden_tweets
    │   └── ForbiddenMetrics          forbidden_metrics
    ├── NotFound 404                  not_found
    ├── MethodNotAllowed 405          method_not_allowed
    ├── RateLimited 429               rate_limited
    ├── InternalError 500             internal_error
    ├── Unavailable 503               unavailable
    └── StoreUnavailable 503          store_unavailable
        └── StoreDamaged 503          store_damaged

The texts are the wire's (api.md 3.4) or follow its style; `api.error_body` renders the answers.
"""

from collections.abc import Mapping, Sequence

from openengagement import api_error

ApiError = api_error.ApiError


class RequestError(ApiError, code="bad_request", status=400):
    """The request is invalid as it was sent."""


class MalformedBody(RequestError, code="malformed_body"):
    """The body cannot be parsed: it is not JSON, or it is JSON of another shape."""


class InvalidField(RequestError, code="invalid_field"):
    """One or more fields break a rule. Each text is ``field: reason``."""


_NOT_SUPPORTED = (
    "One or more of the {} you have specified are not supported: ({}). "
    "Please adjust your request and try again."
)


class UnsupportedTypes(RequestError, code="unsupported_engagement_types"):
    """The endpoint does not serve these engagement types."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(_NOT_SUPPORTED.format("engagement types", ", ".join(names)))


class UnsupportedGroupBys(RequestError, code="unsupported_group_bys"):
    """The endpoint does not group by these dimensions."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(_NOT_SUPPORTED.format("groupBys", ", ".join(names)))


class TweetsUnavailable(RequestError, code="tweets_unavailable"):
    """None of the Tweets may be shown: they are unknown, deleted or protected."""

    def __init__(self, tweet_ids: Sequence[str]) -> None:
        arrays = {"unavailable_tweet_ids": tweet_ids}
        super().__init__(f"{len(tweet_ids)} Tweet ID(s) are unavailable", arrays=arrays)


class TweetsTooOld(RequestError, code="tweets_too_old"):
    """Every Tweet is too old for every engagement type that was requested."""


class BatchRefused(RequestError, code="batch_refused"):
    """An atomic batch has rejected lines. Nothing of it was applied; `details` lists the lines."""

    def __init__(self, rejected: int, *, details: Mapping[str, object]) -> None:
        super().__init__(f"{rejected} line(s) were rejected; nothing was counted", details=details)


class GzipRequired(
    RequestError,
    code="gzip_required",
    status=406,
    text="This request requires gzip compression. Retry the request after setting "
    "'Accept-Encoding' header in the request to 'gzip'.",
):
    """The client does not accept gzip although `require_gzip` is set. This answer is plain."""


class BodyTooSlow(RequestError, code="body_too_slow", status=408):
    """The body did not arrive within the time that the settings allow."""


class BodyTooLarge(RequestError, code="body_too_large", status=413):
    """The body has more bytes or lines than the settings allow."""


class UnsupportedBody(RequestError, code="unsupported_body", status=415):
    """This route does not read bodies with this content type or content encoding."""


class WrongHost(RequestError, code="wrong_host", status=421):
    """The `hosts` setting does not list the request's host."""


class KeyReused(
    RequestError,
    code="idempotency_key_reused",
    status=422,
    text="Idempotency-Key: was used with a different body; send a new key with a new batch",
):
    """An Idempotency-Key was sent again with a different batch."""


class AllRejected(RequestError, code="all_lines_rejected", status=422):
    """Every line of a batch was rejected. Nothing was applied; `details` lists the lines."""

    def __init__(self, rejected: int, *, details: Mapping[str, object]) -> None:
        super().__init__(f"all {rejected} line(s) were rejected", details=details)


class HeadersTooLarge(RequestError, code="headers_too_large", status=431):
    """The headers have more bytes than the settings allow."""


class AuthenticationError(
    ApiError, code="not_authenticated", status=401, text="Unknown Authorization Type"
):
    """The caller could not be authenticated. `text` is the reason within the wire's sentence."""

    def __init__(self, detail: str = "") -> None:
        reason = f"{self.text}: {detail}" if detail else self.text
        super().__init__(f"Your account could not be authenticated. Reason: {reason}")


class UnknownAuthorization(AuthenticationError, code="unknown_authorization_type"):
    """The request has no credentials, or they use a scheme that this route does not support."""


class MalformedAuthorization(
    AuthenticationError, code="malformed_authorization", text="Malformed authorization"
):
    """The credentials cannot be parsed; the detail says why."""


class UnsupportedSignature(
    AuthenticationError,
    code="unsupported_signature_method",
    text="Signature method not supported; use HMAC-SHA1",
):
    """The signature method is not HMAC-SHA1."""


class ConsumerKeyNotFound(
    AuthenticationError, code="consumer_key_not_found", text="Consumer key not found"
):
    """No app has this consumer key."""


class AccessTokenNotFound(
    AuthenticationError, code="access_token_not_found", text="Access token not found"
):
    """The app holds no such access token."""


class BearerTokenNotFound(
    AuthenticationError, code="bearer_token_not_found", text="Bearer token not found"
):
    """No app has this bearer token, or it was revoked."""


class PlatformKeyNotFound(
    AuthenticationError, code="platform_key_not_found", text="Platform key not found"
):
    """The platform has no such key."""


class PlatformKeyExpired(
    AuthenticationError, code="platform_key_expired", text="Platform key expired"
):
    """The time until which the platform key was valid is over."""


class TimestampOutOfBounds(
    AuthenticationError, code="timestamp_out_of_bounds", text="Timestamp out of bounds"
):
    """The signature's timestamp is too far from the server's clock."""


class InvalidSignature(AuthenticationError, code="invalid_signature", text="Invalid signature"):
    """The signature does not match the request and the secrets."""


class NonceUsed(AuthenticationError, code="nonce_used", text="Nonce already used"):
    """A request that was already accepted was sent again."""


class RequestTokenMissing(
    AuthenticationError, code="request_token_missing", text="Request token missing"
):
    """The access token call has no request token (api.md 4.6)."""


class RequestTokenNotFound(
    AuthenticationError, code="request_token_not_found", text="Request token not found"
):
    """The request token is unknown, expired, used, or of another app (api.md 4.6)."""


class InvalidVerifier(
    AuthenticationError, code="invalid_verifier", text="Invalid oauth_verifier parameter"
):
    """The verifier or PIN differs from the one that the user was given (api.md 4.6)."""


class AppSuspended(
    AuthenticationError, code="app_suspended", text="Invalid / suspended application"
):
    """A manager has suspended this App ID."""


class DesktopAppsOnlyPin(
    AuthenticationError,
    code="desktop_apps_only_pin",
    text="Desktop applications only support the oauth_callback value 'oob'",
):
    """The app has no callback URLs but asked for a callback."""


class UnverifiedClient(
    AuthenticationError,
    code="unverified_client",
    status=403,
    text="Unable to verify your credentials",
):
    """The consumer key and secret, or the bearer token, are not valid (api.md 4.7)."""


class AccessError(ApiError, code="forbidden", status=403):
    """The caller is authenticated but may not do this."""


class SslRequired(AccessError, code="ssl_required", text="SSL is required"):
    """The request came from another machine over plain HTTP."""


class AppNotEnabled(AccessError, code="app_not_enabled"):
    """A manager has not enabled this App ID, or has suspended it."""

    def __init__(self, *, suspended: bool = False) -> None:
        # The wire has one text for both cases; only the header tells them apart.
        headers = {"x-error-code": AppSuspended.code} if suspended else None
        super().__init__("Your application ID is not authorized.", headers=headers)


class CallbackNotApproved(
    AccessError,
    code="callback_not_approved",
    text="Callback URL not approved for this client application",
):
    """The callback URL does not exactly equal one of the app's."""


class UserContextRequired(
    AccessError,
    code="user_context_required",
    text="Your credentials do not allow access to this resource",
):
    """The call needs an access token, and the app sent none."""


class ScopeMissing(AccessError, code="scope_missing"):
    """The platform key is valid, but not for this call."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"This platform key lacks the scope {scope}")


class ForbiddenTweets(AccessError, code="forbidden_tweets"):
    """The user of the access token does not own these Tweets."""


class ForbiddenMetrics(AccessError, code="forbidden_metrics"):
    """These metrics need an access token, and the app sent none."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"Forbidden to access metrics: {', '.join(names)}")


class NotFound(ApiError, code="not_found", status=404):
    """There is no such path, or no such resource."""


class MethodNotAllowed(ApiError, code="method_not_allowed", status=405):
    """The path exists, but not with this method."""


class RateLimited(ApiError, code="rate_limited", status=429, text="Rate limit exceeded"):
    """The app has used up its requests of this rate limit window."""


class InternalError(ApiError, code="internal_error", text="internal server error"):
    """The server failed. The log has the cause under the request id; the answer never does."""


class Unavailable(ApiError, code="unavailable", status=503):
    """The server cannot handle the request now. The client should retry later."""

    def __init__(self, text: str, *, retry_after_s: int = 1) -> None:
        super().__init__(text, headers={"retry-after": str(retry_after_s)})


class StoreUnavailable(ApiError, code="store_unavailable", status=503):
    """A store cannot serve a call now. Only operators see its name and the secret-free `reason`."""

    store: str = "counters"  # in an error that the counting process raised
    reason: str = "see the log of the counting process"

    def __init__(self, store: str, reason: str) -> None:
        text = "The data store is not available now. Please try again later."
        super().__init__(text, headers={"retry-after": "1"})
        self.store, self.reason = store, reason

    def __str__(self) -> str:
        return f"the {self.store} store is unavailable: {self.reason}"


class StoreDamaged(StoreUnavailable, code="store_damaged"):
    """Stored data is damaged, so it is not served. `file` is the file's path in the data folder."""

    file = fault = ""

    def __init__(self, store: str, file: str, *, reason: str) -> None:
        super().__init__(store, f"{file} is damaged: {reason}; see `openengagement check`")
        self.file, self.fault = file, reason


# If a request has several errors, the first one here is reported (api.md 3.4, "order of checks",
# with the exception for forms). InvalidField, UnsupportedTypes and UnsupportedGroupBys share a
# rank: the order of the fields decides.
# fmt: off
PRECEDENCE: tuple[type[ApiError], ...] = (
    HeadersTooLarge, WrongHost, NotFound, MethodNotAllowed, SslRequired, GzipRequired,
    AuthenticationError, AppNotEnabled, RateLimited, BodyTooSlow, BodyTooLarge, UnsupportedBody,
    MalformedBody, InvalidField, UnsupportedTypes, UnsupportedGroupBys,
    TweetsUnavailable, ForbiddenTweets, ForbiddenMetrics, TweetsTooOld,
)
