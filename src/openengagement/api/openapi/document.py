"""The OpenAPI 3.1 document of the whole API, built from the table of routes."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from openengagement.api.authentication import Authentication
from openengagement.api.openapi.operations import (
    FAMILIES,
    OPERATIONS,
    PAGES,
    TAG_TEXTS,
    Operation,
    Tag,
)
from openengagement.api.openapi.refusals import build_responses, response_name, statuses_of
from openengagement.api.openapi.samples import make_samples
from openengagement.api.openapi.schemas import PREFIX, build_schemas
from openengagement.api.openapi.webhooks import build_webhooks

_NOT_FOUND: Final = 404
_OAUTH: Final[dict[str, list[str]]] = {"oauth1": []}
_BEARER: Final[dict[str, list[str]]] = {"bearer": []}
_BASIC: Final[dict[str, list[str]]] = {"basic": []}
# The alternatives of each kind of credentials, by the names of _SCHEMES.
_SECURITY: Final[Mapping[Authentication, list[dict[str, list[str]]]]] = {
    Authentication.NONE: [],
    Authentication.CALLER: [_BEARER, _OAUTH],
    Authentication.CONSUMER: [_OAUTH],
    Authentication.REQUEST_TOKEN: [_OAUTH],
    Authentication.ACCESS_TOKEN: [_OAUTH],
    Authentication.BASIC: [_BASIC],
    Authentication.PLATFORM_KEY: [{"platform_key": []}],
}
_SCHEMES: Final = {
    "oauth1": {
        "type": "http",
        "scheme": "OAuth",
        "description": "OAuth 1.0a (RFC 5849) with HMAC-SHA1. Each call says which token signs it.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The app's bearer token, for the app alone.",
    },
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The app's consumer key and secret.",
    },
    "platform_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key that the platform's operator has issued.",
    },
}
_NUMBER: Final = {"type": "string", "pattern": "^[0-9]+$"}
_HEADERS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "x-request-id": (
        "The request's id. The server's log has the same.",
        {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    ),
    "x-access-level": ("The permission of the access token", {"type": "string"}),
    **{
        f"x-{window}-{value}": (f"{text} of the window", _NUMBER)
        for window in ("per-minute", "per-second", "rate-limit")
        for value, text in (
            ("limit", "Requests"),
            ("remaining", "Requests that are left"),
            ("reset", "End, in Unix seconds,"),
        )
    },
}


class Route(Protocol):
    """What the document needs of a route."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def authentication(self) -> Authentication: ...
    @property
    def summary(self) -> str: ...


def build_document(routes: Iterable[Route], *, version: str, groupings_max: int) -> dict[str, Any]:
    """Build the document.

    Raises:
        KeyError: a route is not described in `openapi.operations`.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        described = _describe(route, OPERATIONS[route.method, route.path])
        paths.setdefault(route.path, {})[route.method.lower()] = described
    for path, (summary, operation) in PAGES.items():
        paths[path] = {"get": _describe_page(path, operation, summary=summary)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Open Engagement",
            "version": version,
            "summary": "Engagement metrics on the wire of Twitter's Engagement API",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag, "description": TAG_TEXTS[tag]} for tag in Tag],
        "paths": paths,
        "webhooks": build_webhooks(PREFIX),
        "components": {
            "securitySchemes": _SCHEMES,
            "schemas": build_schemas(groupings_max=groupings_max),
            "responses": build_responses(),
            "headers": {
                name: {"description": text, "required": True, "schema": schema}
                for name, (text, schema) in _HEADERS.items()
            },
        },
    }


def _describe(route: Route, operation: Operation) -> dict[str, Any]:
    family = FAMILIES[operation.tag]
    public = route.authentication is Authentication.NONE
    refusals: dict[str, Any] = {
        str(status): {"$ref": f"#/components/responses/{response_name(family, status)}"}
        for status in statuses_of(family, public=public)
        if status != _NOT_FOUND or "{" in route.path
    }
    if operation.unavailable:
        content = {"application/json": {"schema": {"$ref": f"{PREFIX}{operation.unavailable}"}}}
        unavailable = {"description": "Something does not work.", "content": content}
        refusals |= {"503": unavailable}
    answers = {str(operation.answer.status): _success(operation)}
    if operation.accepted:
        answers["202"] = {**_success(operation), "description": operation.accepted}
    described = {
        "operationId": _operation_id(route.method, route.path),
        "tags": [operation.tag],
        "summary": route.summary,
        "description": _with_credentials(operation, route.authentication.value),
        "security": _SECURITY[route.authentication],
        "parameters": list(operation.parameters),
        "responses": {**answers, **refusals},
        "x-codeSamples": make_samples(
            route.method,
            route.path,
            authentication=route.authentication,
            example=operation.example,
        ),
    }
    if operation.body:
        described["requestBody"] = _request_body(operation)
    return described


def _with_credentials(operation: Operation, credentials: str) -> str:
    return f"{operation.description} Credentials: {credentials}.".strip()


def _request_body(operation: Operation) -> dict[str, Any]:
    content = {kind: {"schema": schema} for kind, schema in operation.body.items()}
    if operation.example.media_type in content:
        example = operation.example
        content[example.media_type]["examples"] = {"example": {"value": _shown(example.body)}}
    return {"required": True, "content": content}


def _shown(body: str) -> object:
    """Return the body of an example: decoded if it is JSON, else its text."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body


def _success(operation: Operation) -> dict[str, Any]:
    names = ("x-request-id", *operation.answer.headers)
    return {
        "description": "The call is served.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {kind: {"schema": each} for kind, each in operation.answer.content.items()},
    }


def _describe_page(path: str, operation: Operation, *, summary: str) -> dict[str, Any]:
    """Describe a page for a browser. Its errors are pages, too."""
    refused = {"description": "A page that says why", "content": {"text/html": {"schema": {}}}}
    return {
        "operationId": _operation_id("GET", path),
        "tags": [operation.tag],
        "summary": summary,
        "description": _with_credentials(operation, "a person in a browser"),
        "security": [],
        "parameters": list(operation.parameters),
        "responses": {
            "200": {**_success(operation), "description": "A form to decide, or to sign in"},
            "302": {"description": "Back to the app, with a verifier"},
            "default": refused,
        },
    }


def _operation_id(method: str, path: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", path)
    return "_".join([method.lower(), *words])
