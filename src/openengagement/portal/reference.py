"""`/docs`: the API reference as a page, made from the OpenAPI document."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from starlette.responses import Response

from openengagement.language.current import gettext as _
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer

DOCS_PATH: Final = "/docs"
Document = dict[str, Any]
_ERROR_CODE: Final = "x-error-code"


class ApiReference:
    """The handler of the page. `read_document` returns the OpenAPI document."""

    def __init__(self, renderer: PageRenderer, read_document: Callable[[], Document]) -> None:
        self._renderer = renderer
        self._read_document = read_document

    def show(self, request: PageRequest) -> Response:
        """`GET /docs`."""
        document = self._read_document()
        context = {
            "title": _("API reference"),
            "scripts": ("page.js",),
            "version": document["info"]["version"],
            "schemes": document["components"]["securitySchemes"],
            "groups": [_describe_group(document, tag) for tag in document["tags"]],
        }
        return self._renderer.render(request, "reference", context=context)


def _describe_group(document: Document, tag: Mapping[str, str]) -> dict[str, Any]:
    return {
        **tag,
        "calls": [
            _describe_call(document, method, path=path, operation=operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if tag["name"] in operation["tags"]
        ],
    }


def _describe_call(
    document: Document, method: str, *, path: str, operation: Mapping[str, Any]
) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {})
    return {
        **operation,
        "method": method.upper(),
        "path": path,
        "kinds": [kind for kind in body if kind],
        "fields": list(_fields_of(document, _first_schema(body))),
        "answers": [
            _describe_answer(document, status, answer=found)
            for status, found in operation["responses"].items()
        ],
        "samples": operation.get("x-codeSamples", []),
    }


def _describe_answer(
    document: Document, status: str, *, answer: Mapping[str, Any]
) -> dict[str, Any]:
    answer = _resolve(document, answer)
    content = answer.get("content", {})
    codes = answer.get("headers", {}).get(_ERROR_CODE, {}).get("schema", {}).get("enum", [])
    schema = {} if codes else _first_schema(content)
    return {
        "status": status,
        "description": answer["description"],
        "codes": codes,
        "fields": list(_fields_of(document, schema)),
    }


def _first_schema(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of the first media type; empty for no body."""
    return next((each.get("schema", {}) for each in content.values()), {})


def _fields_of(document: Document, schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the fields of an object: name, type, whether it is required, and what it is."""
    schema = _resolve(document, schema)
    for alternative in schema.get("anyOf", ()):  # a batch is an array of rows, or one
        resolved = _resolve(document, alternative)
        if "properties" in resolved:
            schema = resolved
    required = schema.get("required", ())
    for name, given in schema.get("properties", {}).items():
        field = _resolve(document, given)
        yield {
            "name": name,
            "type": _type_of(document, field),
            "required": name in required,
            "description": _limits_of(field),
            "values": field.get("enum") or field.get("items", {}).get("enum", []),
        }


def _type_of(document: Document, schema: Mapping[str, Any]) -> str:
    """Name the type of a value as a reader would."""
    schema = _resolve(document, schema)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type_of(document, each) for each in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"array of {_type_of(document, schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _limits_of(field: Mapping[str, Any]) -> str:
    """Write the description of a field, and how much it may hold."""
    words = [field["description"]] if "description" in field else []
    for low, high, unit in (
        ("minItems", "maxItems", "items"),
        ("minProperties", "maxProperties", "names"),
        ("minLength", "maxLength", "characters"),
        ("minimum", "maximum", ""),
    ):
        if high in field:
            range_ = f"{field[low]} to {field[high]}" if low in field else f"up to {field[high]}"
            words.append(f"{range_} {unit}".strip())
    if "default" in field:
        words.append(f"default {field['default']}")
    return "; ".join(words)


def _resolve(document: Document, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference within the document."""
    while "$ref" in schema:
        found: Any = document
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        schema = found
    return schema
