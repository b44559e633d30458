"""The refusals of each part of the API, by status, as responses of the OpenAPI document."""

from collections.abc import Sequence
from typing import Any, Final

from openengagement import errors
from openengagement.api.error_body import Family
from openengagement.api.openapi.schemas import PREFIX
from openengagement.errors import ApiError

Kinds = tuple[type[ApiError], ...]
_ANYWHERE: Final[Kinds] = (
    errors.WrongHost,
    errors.HeadersTooLarge,
    errors.SslRequired,
    errors.InternalError,
)
_WITH_BODY: Final[Kinds] = (
    *_ANYWHERE,
    errors.BodyTooSlow,
    errors.BodyTooLarge,
    errors.UnsupportedBody,
    errors.Unavailable,
    errors.StoreUnavailable,
    errors.StoreDamaged,
    errors.InvalidField,
    errors.MalformedBody,
    errors.UnknownAuthorization,
    errors.MalformedAuthorization,
)
_SIGNED: Final[Kinds] = (
    errors.UnsupportedSignature,
    errors.ConsumerKeyNotFound,
    errors.AccessTokenNotFound,
    errors.BearerTokenNotFound,
    errors.TimestampOutOfBounds,
    errors.InvalidSignature,
    errors.NonceUsed,
    errors.RateLimited,
    errors.AppSuspended,
)
KINDS: Final[dict[Family, Kinds]] = {
    Family.DATA: (
        *_WITH_BODY,
        *_SIGNED,
        errors.UnsupportedTypes,
        errors.UnsupportedGroupBys,
        errors.TweetsUnavailable,
        errors.TweetsTooOld,
        errors.GzipRequired,
        errors.AppNotEnabled,
        errors.ForbiddenTweets,
        errors.ForbiddenMetrics,
    ),
    Family.OAUTH: (
        *_WITH_BODY,
        *_SIGNED,
        errors.RequestTokenMissing,
        errors.RequestTokenNotFound,
        errors.InvalidVerifier,
        errors.DesktopAppsOnlyPin,
        errors.UnverifiedClient,
        errors.CallbackNotApproved,
        errors.UserContextRequired,
    ),
    Family.PLATFORM: (
        *_WITH_BODY,
        errors.PlatformKeyNotFound,
        errors.PlatformKeyExpired,
        errors.ScopeMissing,
        errors.BatchRefused,
        errors.AllRejected,
        errors.KeyReused,
        errors.NotFound,
    ),
}
_TEXTS: Final = {
    400: "The request is wrong as it was sent.",
    401: "The caller is not authenticated.",
    403: "The caller is known, but not allowed to do this.",
    404: "There is no such thing.",
    406: "The client must accept gzip (setting require_gzip).",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The content type or content encoding is not read here.",
    421: "The server does not serve this host name.",
    422: "Every line was rejected, or the idempotency key was used with another body.",
    429: "The rate limit is used up. Try again after the reset.",
    431: "Path, query and headers are too large.",
    500: "A fault of the server.",
    503: "The server cannot do it now. Try again after Retry-After seconds.",
}
_OF_BATCHES: Final = (errors.BatchRefused, errors.AllRejected)  # with counts and reasons
_UNAVAILABLE: Final = 503
_UNAUTHORIZED: Final = 401


def statuses_of(family: Family, *, public: bool = False) -> list[int]:
    """List the statuses of a family's refusals. A `public` call needs no credentials."""
    kinds = _ANYWHERE if public else KINDS[family]
    return sorted({_status(kind, family) for kind in kinds})


def response_name(family: Family, status: int) -> str:
    """Return the name of a response under the document's components."""
    return f"{family.value}_{status}"


def build_responses() -> dict[str, Any]:
    """Build the responses of all refusals, by name."""
    return {
        response_name(family, status): _response(family, status, codes=_codes(family, status))
        for family in KINDS
        for status in statuses_of(family)
    }


def _status(kind: type[ApiError], family: Family) -> int:
    """Return the status that a family answers a refusal with (api.md 3.4, 4.8)."""
    if family is Family.OAUTH and kind is errors.UnknownAuthorization:
        return 400
    if family is Family.DATA and kind is errors.AppSuspended:
        return 403
    return kind.status


def _codes(family: Family, status: int) -> list[str]:
    return [kind.code for kind in KINDS[family] if _status(kind, family) == status]


def _response(family: Family, status: int, *, codes: Sequence[str]) -> dict[str, Any]:
    headers: dict[str, Any] = {
        "x-error-code": {"required": True, "schema": {"type": "string", "enum": list(codes)}},
        "x-request-id": {"$ref": "#/components/headers/x-request-id"},
    }
    if status == _UNAVAILABLE:
        headers["retry-after"] = {"required": True, "schema": {"type": "string"}}
    return {
        "description": _TEXTS[status],
        "headers": headers,
        "content": _content(family, status),
    }


def _content(family: Family, status: int) -> dict[str, Any]:
    if family is Family.OAUTH:
        json = {"schema": {"$ref": f"{PREFIX}OAuthErrors"}}
        # Three errors of oauth/access_token are text with the content type of HTML (api.md 4.6).
        text = {"text/html": {"schema": {"type": "string"}}} if status == _UNAUTHORIZED else {}
        return {"application/json": json, **text}
    schema: dict[str, Any] = {"$ref": f"{PREFIX}Errors"}
    if family is Family.PLATFORM and status in {
        errors.BatchRefused.status,
        errors.AllRejected.status,
    }:
        schema = {"anyOf": [{"$ref": f"{PREFIX}RefusedBatch"}, schema]}
    return {"application/json": {"schema": schema}}
