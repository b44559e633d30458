"""What the document says about each call besides its route: parameters, body, answer, example.

A test compares this table with the table of routes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from openengagement.api.error_body import Family
from openengagement.api.openapi.schemas import ANSWERS, PREFIX, REQUESTS
from openengagement.api.platform import KEY_LENGTH_MAX
from openengagement.engagement.types import Endpoint
from openengagement.ingest.formats.detection import Format

_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_HTML: Final = "text/html"
# The Tweet and the author of all examples.
TWEET_ID: Final = "2124462388521473622"
AUTHOR_ID: Final = "7"


class Tag(StrEnum):
    """A group of calls, as the readable page shows them."""

    METRICS = "Metrics"
    OAUTH = "OAuth"
    PLATFORM = "Platform API"
    HEALTH = "Health"


FAMILIES: Final = {
    Tag.METRICS: Family.DATA,
    Tag.OAUTH: Family.OAUTH,
    Tag.PLATFORM: Family.PLATFORM,
    Tag.HEALTH: Family.OAUTH,  # whose errors have the form of unknown paths
}
TAG_TEXTS: Final = {
    Tag.METRICS: "Counts of Tweets. Every body is JSON, whatever its content type says.",
    Tag.OAUTH: "Tokens for apps and for people, and their limits. Errors have numeric codes.",
    Tag.PLATFORM: "The platform sends its accounts, Tweets and events, and reads usage.",
    Tag.HEALTH: "For operators and load balancers. No credentials.",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a served call: a schema for each media type, none for no body."""

    content: Mapping[str, Any]
    status: int = 200
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """The body of the example, and the parameters of OAuth in its header."""

    media_type: str = ""
    body: str = ""
    oauth: tuple[str, ...] = ()  # `name=value`; a value may be a variable, such as $VERIFIER


@dataclass(frozen=True, slots=True)
class Operation:
    """One call. `body` maps media types to schemas."""

    tag: Tag
    answer: Answer
    description: str = ""
    parameters: tuple[Mapping[str, Any], ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)
    example: Example = field(default_factory=Example)
    unavailable: str = ""  # the schema of a 503 of its own
    accepted: str = ""  # what a 202 means, which has the same body


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"{PREFIX}{name}"}


def _json(name: str, *headers: str) -> Answer:
    return Answer({_JSON: _ref(name)}, headers=headers)


def _query(name: str, description: str, **schema: Any) -> Mapping[str, Any]:  # noqa: ANN401 - JSON
    return {"name": name, "in": "query", "description": description, "schema": schema}


_RATE_LIMITS: Final = tuple(
    f"x-per-{unit}-{value}"
    for unit in ("minute", "second")
    for value in ("limit", "remaining", "reset")
)
_WINDOW_LIMITS: Final = ("x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset")
_PLAIN: Final = {_HTML: {"type": "string", "description": "a form, although the type says HTML"}}


def _metrics(endpoint: Endpoint, *, types: str, more: str = "", description: str) -> Operation:
    body = (
        f'{{"tweet_ids": ["{TWEET_ID}"], "engagement_types": [{types}], '
        f'"groupings": {{"by tweet": {{"group_by": ["tweet.id", "engagement.type"]}}}}{more}}}'
    )
    return Operation(
        Tag.METRICS,
        _json(ANSWERS[endpoint], *_RATE_LIMITS),
        description,
        body={_JSON: _ref(REQUESTS[endpoint])},
        example=Example(_JSON, body),
    )


_PUBLIC: Final = '"favorites", "retweets"'
_OWN: Final = '"impressions", "favorites"'
_METRICS: Final = {
    ("POST", "/insights/engagement/totals"): _metrics(
        Endpoint.TOTALS,
        types=_PUBLIC,
        description="Up to 250 Tweets. A bearer token, or a signature without an access token, "
        "reads the public metrics of any public Tweet. The access token of the author also reads "
        "impressions and engagements, of the author's Tweets of the last 90 days.",
    ),
    ("POST", "/insights/engagement/28hr"): _metrics(
        Endpoint.LAST_28_HOURS,
        types=_OWN,
        description="Up to 25 Tweets, by hour or day if the grouping says so. Needs the access "
        "token of the Tweets' author.",
    ),
    ("POST", "/insights/engagement/historical"): _metrics(
        Endpoint.HISTORICAL,
        types=_OWN,
        more=', "start": "2026-11-01", "end": "2026-11-22"',
        description="Up to 25 Tweets in any window of up to 28 days. Without start and end: the "
        "last 28 days. Needs the access token of the Tweets' author.",
    ),
}

_CALLBACK: Final = _query(
    "oauth_callback",
    "One of the app's callback URLs, character for character, or oob for a PIN. It may stand in "
    "the header, the query or the form.",
    type="string",
)
_VERIFIER: Final = _query(
    "oauth_verifier",
    "The verifier or PIN. It may also stand in the header or the form.",
    type="string",
)
_REQUEST_TOKEN: Final = Operation(
    Tag.OAUTH,
    Answer(_PLAIN),
    "Signed by the app alone. The answer is a form: oauth_token, oauth_token_secret and "
    "oauth_callback_confirmed.",
    (_CALLBACK,),
    example=Example(oauth=("oauth_callback=oob",)),
)
_ACCESS_TOKEN: Final = Operation(
    Tag.OAUTH,
    Answer(_PLAIN),
    "Signed with the request token and its secret. The answer is a form: oauth_token, "
    "oauth_token_secret, user_id and screen_name.",
    (_VERIFIER,),
    example=Example(oauth=("oauth_verifier=$VERIFIER",)),
)
_INVALIDATE: Final = Operation(
    Tag.OAUTH, _json("RevokedToken"), "Ends the access token that signs the call."
)
_OAUTH: Final = {
    ("POST", "/oauth/request_token"): _REQUEST_TOKEN,
    ("GET", "/oauth/request_token"): _REQUEST_TOKEN,
    ("POST", "/oauth/access_token"): _ACCESS_TOKEN,
    ("GET", "/oauth/access_token"): _ACCESS_TOKEN,
    ("POST", "/1.1/oauth/invalidate_token"): _INVALIDATE,
    ("POST", "/1.1/oauth/invalidate_token.json"): _INVALIDATE,
    ("POST", "/oauth2/token"): Operation(
        Tag.OAUTH,
        _json("BearerToken"),
        "An app has one bearer token, and every call returns it until it is revoked.",
        body={
            _FORM: {
                "type": "object",
                "required": ["grant_type"],
                "properties": {"grant_type": {"const": "client_credentials"}},
            }
        },
        example=Example(_FORM, "grant_type=client_credentials"),
    ),
    ("POST", "/oauth2/invalidate_token"): Operation(
        Tag.OAUTH,
        _json("RevokedToken"),
        "Ends the bearer token. The app authenticates with Basic, or its owner signs.",
        body={
            _FORM: {
                "type": "object",
                "required": ["access_token"],
                "properties": {"access_token": {"type": "string"}},
            }
        },
        example=Example(_FORM, "access_token=$BEARER_TOKEN"),
    ),
    ("GET", "/1.1/account/verify_credentials.json"): Operation(
        Tag.OAUTH, _json("UserObject", "x-access-level", *_WINDOW_LIMITS), "75 calls in 15 minutes."
    ),
    ("GET", "/1.1/application/rate_limit_status.json"): Operation(
        Tag.OAUTH,
        _json("RateLimitStatus", *_WINDOW_LIMITS),
        "Counts against no other limit. 180 calls in 15 minutes.",
        (_query("resources", "Families of paths, separated by commas", type="string"),),
    ),
}

_ATOMIC: Final = _query(
    "atomic",
    "true refuses the whole batch if a line is rejected.",
    type="string",
    enum=["true", "false"],
)
_MAP: Final = _query(
    "map",
    "The name of a mapping that the operator has registered. The body has the platform's own rows.",
    type="string",
)
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Makes the batch count once, however often it is sent.",
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH_MAX},
}


_PUBLISHED: Final = (
    "This server publishes events to an event log (`--intake log`). The log has the accepted "
    "events durably. They are counted later, once for each `Idempotency-Key`."
)


def _batch(row: str, *, line: str, description: str, keyed: bool = False) -> Operation:
    one = _ref(row)
    text = {"type": "string", "description": f"one {row.lower()} a line"}
    return Operation(
        Tag.PLATFORM,
        _json("Outcome"),
        description,
        (_ATOMIC, _MAP, _IDEMPOTENCY_KEY) if keyed else (_ATOMIC,),
        body={
            Format.JSON.value: {"anyOf": [{"type": "array", "items": one}, one]},
            Format.NDJSON.value: text,
            Format.CSV.value: {"type": "string", "description": "with a header"},
            Format.PARQUET.value: {},
            Format.ARROW.value: {},
        },
        example=Example(Format.NDJSON.value, line),
        accepted=_PUBLISHED if keyed else "",
    )


def _path_id(of: str) -> tuple[Mapping[str, Any], ...]:
    schema = {"type": "string", "pattern": "^[0-9]+$", "examples": [TWEET_ID]}
    found = {"name": "id", "in": "path", "required": True, "description": f"the id of the {of}"}
    return ({**found, "schema": schema},)


_PLATFORM: Final = {
    ("POST", "/platform/v1/events"): _batch(
        "Event",
        line=f'{{"tweet_id": "{TWEET_ID}", "type": "favorites", "at": "2026-11-22T10:15:00Z"}}',
        description="A 200 means that the accepted events are durable and in every later answer. "
        "Rejected lines come back with their number and reason.",
        keyed=True,
    ),
    ("POST", "/platform/v1/tweets"): _batch(
        "Tweet",
        line=f'{{"id": "{TWEET_ID}", "author_id": "{AUTHOR_ID}"}}',
        description="A field that is left out keeps its value. A Tweet is shown once its author is "
        "registered.",
    ),
    ("POST", "/platform/v1/accounts"): _batch(
        "Account",
        line=f'{{"id": "{AUTHOR_ID}", "screen_name": "lena"}}',
        description="A field that is left out keeps its value.",
    ),
    ("DELETE", "/platform/v1/tweets/{id}"): Operation(
        Tag.PLATFORM, Answer({}, 204), "The counters are kept.", _path_id("Tweet")
    ),
    ("DELETE", "/platform/v1/accounts/{id}"): Operation(
        Tag.PLATFORM,
        _json("Erased"),
        "Cannot be undone. The call may take minutes; after a 503, send it again.",
        _path_id("account"),
    ),
    ("GET", "/platform/v1/usage"): Operation(
        Tag.PLATFORM,
        _json("UsageOfMonth"),
        "Requests by outcome, and unique authors whose Tweets were served.",
        (
            _query(
                "month", "Without it: the current month", type="string", pattern=r"^\d{4}-\d{2}$"
            ),
        ),
    ),
}

_HEALTH: Final = {
    ("GET", "/health"): Operation(
        Tag.HEALTH,
        _json("Alive"),
        "503 with the reasons if something does not work.",
        unavailable="Unhealthy",
    ),
    ("GET", "/livez"): Operation(
        Tag.HEALTH, _json("Alive"), "Over plain HTTP from any address, too."
    ),
    ("GET", "/readyz"): Operation(
        Tag.HEALTH,
        _json("Readiness"),
        "Over plain HTTP from any address, too. 503 if the server cannot serve signed requests.",
        unavailable="Readiness",
    ),
    ("GET", "/openapi.json"): Operation(
        Tag.HEALTH, Answer({_JSON: {"type": "object"}}), "This document."
    ),
}
OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    **_METRICS,
    **_OAUTH,
    **_PLATFORM,
    **_HEALTH,
}
# Pages that belong to the wire: an app sends a person's browser there (api.md 4.5).
_BROWSER: Final = (
    {**_query("oauth_token", "The request token", type="string"), "required": True},
    _query("force_login", "true asks for the password in any case", type="string"),
    _query("screen_name", "Fills in the sign-in form", type="string"),
)
PAGES: Final[Mapping[str, tuple[str, Operation]]] = {
    f"/oauth/{name}": (
        summary,
        Operation(Tag.OAUTH, Answer({_HTML: {"type": "string"}}), text, _BROWSER),
    )
    for name, summary, text in (
        ("authorize", "Ask a person for consent", "The app sends the person's browser here."),
        (
            "authenticate",
            "Sign a person in",
            "As authorize, but redirects at once if the person has authorized the app before.",
        ),
    )
}
