"""Log failures of the server, and for developers every refused API call (`log_refusals`).

The line of a refused call says why it was refused and what to change. It contains no credential:
long words of the reason and of the path are replaced, and headers, query and body are not logged.
"""

import re
from collections.abc import Mapping
from typing import Final

from openengagement import errors
from openengagement.api.access_log import hide_path
from openengagement.auth.signature import parse_header
from openengagement.errors import ApiError
from openengagement.http.forms import MalformedParameters
from openengagement.http.message import scheme_and_rest
from openengagement.http.request import Request
from openengagement.telemetry import WARNING, log_event, log_failure

_TEXT_MAX: Final = 400
# Consumer keys, tokens and secrets are longer than the words of a reason.
_LONG_WORD: Final = re.compile(r"[\w%+=~-]{24,}")
_SIGN_AS_OWNER: Final = "Sign with OAuth 1.0a and the access token of the Tweets' owner."
_CREDENTIALS: Final = "The sandbox prints its credentials at the start; /portal shows the others."

# The remedy for each class of errors. A class without an entry has the remedy of its base class.
REMEDIES: Final[Mapping[type[ApiError], str]] = {
    ApiError: "The log line before this one, with the same request_id, says what failed.",
    errors.RequestError: "docs/api.md lists the fields and their limits: sections 1 to 3 for the "
    "data API, section 6 for the platform API.",
    errors.MalformedBody: "To the data API, send one JSON object, complete and in UTF-8 "
    "(docs/api.md, section 1.1). To the platform API, send a format of section 6.2.",
    errors.UnsupportedTypes: "docs/api.md, section 2.1, lists the types of each endpoint.",
    errors.UnsupportedGroupBys: "docs/api.md, section 1.2, lists the dimensions of each endpoint.",
    errors.TweetsUnavailable: "Ask for Tweets that this server has; the sandbox prints some.",
    errors.TweetsTooOld: "Ask for newer Tweets, or ask /historical for their past weeks.",
    errors.GzipRequired: "Send Accept-Encoding: gzip, or turn off OPENENGAGEMENT_REQUIRE_GZIP and "
    "OPENENGAGEMENT_FAITHFUL.",
    errors.BodyTooSlow: "Send the body without pauses, or raise OPENENGAGEMENT_BODY_TIMEOUT_S.",
    errors.BodyTooLarge: "Send less at once, or raise OPENENGAGEMENT_BODY_MAX_BYTES; for batches "
    "OPENENGAGEMENT_BATCH_MAX_BYTES.",
    errors.UnsupportedBody: "Send another Content-Type or Content-Encoding; the reason lists them.",
    errors.HeadersTooLarge: "Send fewer headers, or raise OPENENGAGEMENT_HEADER_MAX_BYTES.",
    errors.KeyReused: "Send a new Idempotency-Key with every new batch.",
    errors.AuthenticationError: _CREDENTIALS,
    errors.UnknownAuthorization: "Send Authorization: OAuth with a signature, or Bearer with a "
    "token; docs/api.md, section 4.3, says which call accepts which.",
    errors.MalformedAuthorization: "docs/api.md, section 4.1, shows a complete OAuth header.",
    errors.UnsupportedSignature: "Set the client's signature method to HMAC-SHA1.",
    errors.ConsumerKeyNotFound: f"Use the consumer key of an app of this server. {_CREDENTIALS}",
    errors.AccessTokenNotFound: "Use an access token that this server issued for this consumer "
    f"key, or let the person authorize the app again. {_CREDENTIALS}",
    errors.BearerTokenNotFound: "Get the bearer token from POST /oauth2/token with the app's "
    "consumer key and secret.",
    errors.PlatformKeyNotFound: "Create a key with: openengagement platform-key issue NAME",
    errors.PlatformKeyExpired: "Issue a new key with: openengagement platform-key rotate NAME",
    errors.TimestampOutOfBounds: "Set the client's clock: oauth_timestamp is in Unix seconds, and "
    "the Date header of the answer shows the server's time. OPENENGAGEMENT_TIMESTAMP_WINDOW_S "
    "allows a larger difference.",
    errors.NonceUsed: "Sign every request anew, also when it is repeated after a failure. "
    "OPENENGAGEMENT_REPLAY_PROTECTION=oauth accepts repeats on the data API.",
    errors.RequestTokenMissing: "Send the request token as oauth_token, and sign with its secret.",
    errors.RequestTokenNotFound: "Begin again with /oauth/request_token: a request token is valid "
    "for 15 minutes, for one app and for one exchange.",
    errors.InvalidVerifier: "Send the oauth_verifier of the redirect, or the PIN of the page, in "
    "the header, in the query or in a form (Content-Type: application/x-www-form-urlencoded).",
    errors.AppSuspended: "A manager suspended this app; lift the suspension at /manage.",
    errors.DesktopAppsOnlyPin: "Register a callback URL for the app in /portal, or send "
    "oauth_callback=oob.",
    errors.UnverifiedClient: "Send consumer key and secret as Authorization: Basic, and "
    "grant_type=client_credentials in a form (Content-Type: application/x-www-form-urlencoded).",
    errors.SslRequired: "Use https. Behind a proxy set OPENENGAGEMENT_TRUSTED_PROXIES; to allow "
    "plain HTTP set OPENENGAGEMENT_ALLOW_PLAIN_HTTP=true.",
    errors.AppNotEnabled: "Enable the app at /manage, or with: openengagement app enable APP_ID",
    errors.CallbackNotApproved: "Register the callback URL in /portal, or send a registered one.",
    errors.UserContextRequired: "Sign this call with OAuth 1.0a and an access token.",
    errors.ScopeMissing: "Use another key, or issue one with the scope: openengagement "
    "platform-key issue NAME --scope SCOPE",
    errors.ForbiddenTweets: "Ask for Tweets of the access token's user only. Without an access "
    "token, /totals has the public metrics of any Tweet.",
    errors.ForbiddenMetrics: _SIGN_AS_OWNER,
    errors.NotFound: "docs/api.md lists every path of this server.",
    errors.MethodNotAllowed: "Use a method of the answer's Allow header.",
    errors.RateLimited: "Wait until the reset time in the answer's headers, or raise the app's "
    "limit at /manage.",
    errors.Unavailable: "Send the same request again after the seconds of Retry-After.",
}  # fmt: skip


def log_error(
    error: Exception, request: Request, *, request_id: str, refused_with: int | None = None
) -> None:
    """Log an error of the server itself, and a refused call if its status is given."""
    if not isinstance(error, ApiError):
        log_failure("request_failed", error, request_id=request_id, path=hide_path(request.path))
        return
    if isinstance(error, errors.StoreUnavailable):
        log_failure("store_unavailable", error, request_id=request_id)
    if refused_with is not None:
        _log_refusal(error, request, request_id=request_id, status=refused_with)


def _log_refusal(error: ApiError, request: Request, *, request_id: str, status: int) -> None:
    reason = "; ".join(error.texts) or error.code.replace("_", " ")
    log_event(
        "call_refused",
        level=WARNING,
        status=status,
        code=error.headers.get("x-error-code", error.code),
        method=request.method[:20],
        path=_hide(request.path),
        reason=_hide(reason),
        remedy=find_remedy(error, request),
        request_id=request_id,
    )


def find_remedy(error: ApiError, request: Request) -> str:
    """Return what the client or the operator can change.

    Notes of the error precede the remedy of its class. For a wrong signature they replace it.
    """
    general = next(REMEDIES[kind] for kind in type(error).__mro__ if kind in REMEDIES)
    if isinstance(error, errors.NonceUsed) and _nonce_is_timestamp(request):
        return (
            "The client uses the current second as its nonce, so a call that is repeated within a "
            "second has the same signature: wait a second between such calls, or set "
            "OPENENGAGEMENT_REPLAY_PROTECTION=oauth."
        )
    is_batch = request.path.startswith("/platform/")
    if isinstance(error, errors.MalformedBody) and not is_batch and request.message(b"").is_form:
        return (
            "The content type is that of a form. Send the fields as one JSON object, with "
            "Content-Type: application/json."
        )
    notes: list[str] = getattr(error, "__notes__", [])
    if isinstance(error, errors.InvalidSignature) and notes:
        return notes[0]
    return " ".join([*notes, general])


def _nonce_is_timestamp(request: Request) -> bool:
    try:
        pairs = dict(parse_header(scheme_and_rest(request.message(b""))[1]))
    except MalformedParameters:
        return False
    return pairs.get("oauth_nonce") == pairs.get("oauth_timestamp") is not None


def _hide(text: str) -> str:
    """Shorten a text and replace its long words, which could be credentials."""
    return _LONG_WORD.sub("...", text[:_TEXT_MAX])
