"""The JSON Schemas of requests and answers, made from the types that parse and encode them."""

import copy
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from openengagement.api import answers
from openengagement.api.openapi.webhooks import DATA_TYPES
from openengagement.engagement.access import ACCESS, AGE_ARRAYS
from openengagement.engagement.request import TWEET_IDS_MAX, RequestBody, WindowBody
from openengagement.engagement.types import EVENT_TYPES, ID_MAX, Dimension, Endpoint
from openengagement.erasure import Erased
from openengagement.ingest.batch import Outcome
from openengagement.ingest.rows import (
    ACCOUNTS,
    EVENTS,
    TWEETS,
    VIDEO_ID_LENGTH_MAX,
    DropReason,
    Kind,
)
from openengagement.ingest.values import COUNT_MAX

Schema = dict[str, Any]
PREFIX: Final = "#/components/schemas/"
# The names of the schemas that belong to an endpoint.
REQUESTS: Final = {
    Endpoint.TOTALS: "TotalsRequest",
    Endpoint.LAST_28_HOURS: "Last28HoursRequest",
    Endpoint.HISTORICAL: "HistoricalRequest",
}
ANSWERS: Final = {
    Endpoint.TOTALS: "TotalsAnswer",
    Endpoint.LAST_28_HOURS: "Last28HoursAnswer",
    Endpoint.HISTORICAL: "HistoricalAnswer",
}
_TYPES: Final = (
    answers.BearerToken,
    answers.RevokedToken,
    answers.UserObject,
    answers.RateLimitStatus,
    answers.UsageOfMonth,
    answers.Alive,
    answers.Unhealthy,
    answers.Readiness,
    Erased,
    Outcome,
    *DATA_TYPES,
)
_ID: Final[Schema] = {
    "description": "1 to 2^63-1, as text or as a number",
    "anyOf": [
        {"type": "string", "pattern": "^[0-9]+$"},
        {"type": "integer", "minimum": 1, "maximum": ID_MAX},
    ],
}
_IDS: Final[Schema] = {"type": "array", "items": {"type": "string", "pattern": "^[0-9]+$"}}
_TIME: Final[Schema] = {"type": "string", "description": "RFC 3339, with Z or an offset"}
_FLAG: Final[Schema] = {"type": "boolean"}
_FIELDS: Final[Mapping[str, Schema]] = {  # what a kind of row says of its fields besides their type
    "type": {"type": "string", "enum": list(EVENT_TYPES)},
    "screen_name": {"type": "string", "minLength": 1, "maxLength": 64},
    "mail": {"type": "string", "minLength": 0, "maxLength": 254},
    "video_id": {"type": "string", "minLength": 1, "maxLength": VIDEO_ID_LENGTH_MAX},
}
_COUNTS: Final[Schema] = {
    "description": "A count as text, or counts by the next dimension of the grouping.",
    "anyOf": [
        {"type": "string", "pattern": "^-?[0-9]+$"},
        {"type": "object", "additionalProperties": {"$ref": f"{PREFIX}Counts"}},
    ],
}
_TEXTS: Final[Schema] = {
    "type": "array",
    "items": {"type": "string"},
    "minItems": 1,
    "description": "what is wrong, in words; the name of the refusal is in x-error-code",
}
_CODED: Final[Schema] = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "integer"},
        "message": {"type": "string"},
        "label": {"type": "string"},
    },
}


def build_schemas(*, groupings_max: int) -> dict[str, Schema]:
    """Build all schemas, by the names under which the document refers to them."""
    _, found = msgspec.json.schema_components(_TYPES, ref_template=f"{PREFIX}{{name}}")
    for schema in found.values():
        schema.pop("title", None)
        schema.pop("description", None)
    found["Outcome"]["required"].append("duplicate")  # always encoded, although it has a default
    found["Rejection"]["properties"]["reason"]["enum"] = [str(reason) for reason in DropReason]
    rows = {"Event": EVENTS, "Tweet": TWEETS, "Account": ACCOUNTS}
    return {
        **{
            name: _request_schema(endpoint, groupings_max=groupings_max)
            for endpoint, name in REQUESTS.items()
        },
        **{name: _answer_schema(endpoint) for endpoint, name in ANSWERS.items()},
        "Counts": _COUNTS,
        **{name: _row_schema(kind) for name, kind in rows.items()},
        **found,
        "RefusedBatch": _refused_batch(found["Outcome"]),
        "Errors": _errors_schema(),
        "OAuthErrors": _oauth_errors_schema(),
    }


def _request_schema(endpoint: Endpoint, *, groupings_max: int) -> Schema:
    """Build the schema of a request body: the type that decodes it, and the rules of its fields."""
    kind = WindowBody if endpoint is Endpoint.HISTORICAL else RequestBody
    _, found = msgspec.json.schema_components([kind], ref_template="{name}")
    fields = {
        name: _without_null(schema) for name, schema in found[kind.__name__]["properties"].items()
    }
    group_by = _without_null(found["Grouping"]["properties"]["group_by"])
    dimensions = tuple(Dimension) if endpoint.timed else (Dimension.TWEET, Dimension.TYPE)
    fields["tweet_ids"] |= {"minItems": 1, "maxItems": TWEET_IDS_MAX[endpoint], "items": _ID}
    fields["engagement_types"] |= {"minItems": 1}
    fields["engagement_types"]["items"]["enum"] = list(ACCESS[endpoint])
    group_by |= {"minItems": 1, "maxItems": len(dimensions), "uniqueItems": True}
    group_by["items"]["enum"] = [str(dimension) for dimension in dimensions]
    fields["groupings"] |= {
        "description": "names of your choice, each with group_by: its dimensions, outermost first "
        f"({', '.join(dimensions)})",
        "minProperties": 1,
        "maxProperties": groupings_max,
        "additionalProperties": {
            "type": "object",
            "required": ["group_by"],
            "properties": {"group_by": group_by},
        },
    }
    for name in ("start", "end"):
        if name in fields:
            fields[name]["description"] = "RFC 3339, or a date; at most 28 days apart"
    required = [name for name in fields if name not in ("start", "end")]
    return {"type": "object", "required": required, "properties": fields}


def _without_null(schema: Schema) -> Schema:
    """Return the schema of an optional field for the case that it is given."""
    (given,) = (each for each in schema["anyOf"] if each != {"type": "null"})
    return copy.deepcopy(given)


def _answer_schema(endpoint: Endpoint) -> Schema:
    """Build the schema of an answer: reserved keys, and one key for each grouping."""
    window = ("start", "end") if endpoint.timed else ()
    lists = ("unavailable_tweet_ids", *sorted(AGE_ARRAYS))
    return {
        "type": "object",
        "required": list(window),
        "properties": {
            **{name: {"type": "string", "format": "date-time"} for name in window},
            **dict.fromkeys(lists, _IDS),
            "errors": {**_TEXTS, "description": "why the answer is partial"},
        },
        "additionalProperties": {
            "description": "a grouping of the request",
            "type": "object",
            "additionalProperties": {"$ref": f"{PREFIX}Counts"},
        },
    }


def _row_schema(kind: Kind) -> Schema:
    """Build the schema of an event, a Tweet or an account from the declaration of its rows."""
    by_kind: dict[str, Schema] = {
        **dict.fromkeys(kind.times, _TIME),
        **dict.fromkeys(kind.counts, _count_schema()),
        **dict.fromkeys(kind.flags, _FLAG),
        **dict.fromkeys(kind.ids, _ID),
    }
    text: Schema = {"type": "string"}
    fields = {name: by_kind.get(name) or _FIELDS.get(name, text) for name in kind.fields}
    return {"type": "object", "required": list(kind.required), "properties": fields}


def _count_schema() -> Schema:
    return {"type": "integer", "minimum": -COUNT_MAX, "maximum": COUNT_MAX, "default": 1}


def _errors_schema() -> Schema:
    lists = ("unavailable_tweet_ids", *sorted(AGE_ARRAYS))
    properties = {"errors": _TEXTS, **dict.fromkeys(lists, _IDS)}
    return {"type": "object", "required": ["errors"], "properties": properties}


def _refused_batch(outcome: Schema) -> Schema:
    return {
        "type": "object",
        "required": ["errors"],
        "properties": {"errors": _TEXTS, **outcome["properties"]},
    }


def _oauth_errors_schema() -> Schema:
    errors = {"type": "array", "items": _CODED, "minItems": 1}
    return {"type": "object", "required": ["errors"], "properties": {"errors": errors}}
