"""The shapes of JSON answers that are built as dictionaries. `/openapi.json` is made of them."""

from typing import Literal, TypedDict


class BearerToken(TypedDict):
    """`POST /oauth2/token`."""

    token_type: Literal["bearer"]
    access_token: str


class RevokedToken(TypedDict):
    """The token that a call has revoked."""

    access_token: str


class UserObject(TypedDict):
    """An account as sign-in libraries read it (api.md 4.7); unknown fields are null."""

    id: int
    id_str: str
    name: str
    screen_name: str
    location: str
    description: str
    url: None
    protected: bool
    followers_count: None
    friends_count: None
    statuses_count: None
    created_at: str
    verified: bool
    lang: None
    profile_image_url: None
    profile_image_url_https: None


class RateLimit(TypedDict):
    """A rate window. `reset` is in Unix seconds."""

    limit: int
    remaining: int
    reset: int


class RateLimitStatus(TypedDict):
    """The caller's rate limits: family of paths, path, window.

    The context has `access_token`, or the consumer key as `application`.
    """

    rate_limit_context: dict[str, str]
    resources: dict[str, dict[str, RateLimit]]


class UsageOfApp(TypedDict):
    """The usage of an app in a month (api.md 6.7)."""

    app_id: str
    name: str | None
    owner: str | None
    requests: int
    errors: dict[str, int]
    handles: int
    handles_contracted: int | None


class UsageOfMonth(TypedDict):
    """The usage of every app in a month, `YYYY-MM`."""

    month: str
    apps: list[UsageOfApp]


class Alive(TypedDict):
    """The server, or a worker of it, works."""

    status: Literal["ok"]


class Unhealthy(TypedDict):
    """What does not work."""

    status: Literal["unavailable"]
    reasons: list[str]


class Readiness(TypedDict):
    """Each part of the server: `ok`, or what does not work."""

    status: Literal["ready", "degraded", "not ready"]
    checks: dict[str, str]
