"""Check answers against the OpenAPI document: status, headers, content type and body."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

from jsonschema_rs import Draft202012Validator, Registry

from openengagement.api.reference import Reference
from openengagement.api.routes import Calls, build_routes
from openengagement.settings import Settings
from support.calls import Answer, Client

_URI = "urn:openapi"


class _Handlers:
    """Stands for the handlers, which are not called."""

    def __getattr__(self, name: str) -> Any:
        return self


@cache
def read_document() -> dict[str, Any]:
    """Return the document of a server with default settings."""
    calls = Calls(**dict.fromkeys(Calls.__dataclass_fields__, _Handlers()))
    reference = Reference(groupings_max=Settings().groupings_max)
    reference.routes = build_routes(calls, _Handlers(), page_prefixes=()).routes
    return json.loads(json.dumps(reference.document))


def resolve(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference within the document."""
    while "$ref" in value:
        found: Any = read_document()
        for name in value["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        value = found
    return value


@cache
def _registry() -> Registry:
    return Registry([(_URI, read_document())])


@cache
def validator_at(*pointer: str) -> Draft202012Validator:
    """Return a validator of the schema at a place in the document."""
    escaped = "/".join(quote(name.replace("~", "~0").replace("/", "~1")) for name in pointer)
    return Draft202012Validator({"$ref": f"{_URI}#/{escaped}"}, registry=_registry())


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    found = []
    for path in read_document()["paths"]:
        parts = re.split(r"\{\w+\}", path)
        found.append((re.compile(".+".join(map(re.escape, parts))), path))
    return found


def find_path(path: str) -> str | None:
    """Return the path of the document that a request's path matches."""
    plain = path.partition("?")[0]
    return next((known for pattern, known in _patterns() if pattern.fullmatch(plain)), None)


def problems_of(
    method: str, path: str, *, status: int, headers: Mapping[str, str], body: bytes
) -> list[str]:
    """List how an answer differs from the document. None for calls that it does not describe."""
    known = find_path(path)
    operation = read_document()["paths"].get(known, {}).get(method.lower())
    if operation is None or status == 405:
        return []
    responses = operation["responses"]
    if str(status) not in responses:
        return [f"{method} {known}: no response {status} ({headers.get('x-error-code')})"]
    where = ["paths", known, method.lower(), "responses", str(status)]
    if "$ref" in responses[str(status)]:
        where = responses[str(status)]["$ref"].removeprefix("#/").split("/")
    answer = resolve(responses[str(status)])
    return [
        f"{method} {known} {status}: {problem}"
        for problem in [
            *_header_problems(answer, headers),
            *_body_problems(answer, where, headers=headers, body=body),
        ]
    ]


def _header_problems(answer: Mapping[str, Any], headers: Mapping[str, str]) -> list[str]:
    problems = []
    for name, given in answer.get("headers", {}).items():
        header = resolve(given)
        if name not in headers:
            if header.get("required"):
                problems.append(f"no header {name}")
        elif not Draft202012Validator(header["schema"]).is_valid(headers[name]):
            problems.append(f"header {name}: {headers[name]}")
    return problems


def _body_problems(
    answer: Mapping[str, Any], where: list[str], *, headers: Mapping[str, str], body: bytes
) -> list[str]:
    content = answer.get("content", {})
    if not content:
        return ["a body"] if body else []
    kind = headers.get("content-type", "").partition(";")[0]
    if kind not in content:
        return [f"content type {kind}"]
    if kind != "application/json":
        return []
    validator = validator_at(*where, "content", kind, "schema")
    found = validator.iter_errors(json.loads(body))
    return [f"{error.instance_path}: {error.message[:300]}" for error in found]


@contextmanager
def answers_checked() -> Iterator[None]:
    """Fail at every answer that a `Client` gets and the document does not describe."""
    send = Client.send

    def checked(client: Client, method: str, path: str, **options: Any) -> Answer:
        answer = send(client, method, path, **options)
        found = problems_of(
            method, path, status=answer.status, headers=answer.headers, body=answer.body
        )
        assert found == [], f"{answer} is not as in openapi.json: {found}"
        return answer

    with patch.object(Client, "send", checked):
        yield
