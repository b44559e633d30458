"""The OpenAPI document: complete, valid, and made of the tables that the server uses."""

import json
import re

import jsonschema_rs
import pytest

from openengagement.api.openapi.operations import OPERATIONS, PAGES
from openengagement.api.openapi.samples import LANGUAGES
from openengagement.api.routes import Calls, build_routes
from openengagement.engagement.access import ACCESS
from openengagement.engagement.request import TWEET_IDS_MAX
from openengagement.engagement.types import Endpoint
from openengagement.errors import ApiError
from openengagement.ingest.rows import ACCOUNTS, EVENTS, TWEETS
from openengagement.notifications.message import Message, sign_message
from openengagement.portal.routes import Handlers, build_page_routes
from openengagement.registry.notifications import NotificationType
from support.api_document import find_path, problems_of, read_document, resolve, validator_at
from support.cases import cases

# Not about one call: an unknown path, and a method that a path does not have.
OF_NO_CALL = {"method_not_allowed"}
ABSTRACT = {"bad_request", "not_authenticated", "forbidden"}

_APP = {"app_id": "10000001", "name": "Tide Charts", "owner": "ana"}
_CONTRACT = {**_APP, "month": "2026-11", "handles": 8, "handles_contracted": 10}
NOTIFICATION_DATA = {  # as tests/contract/registry/test_notifications.py finds it stored
    NotificationType.APP_WAITING: _APP,
    NotificationType.LIMIT_REACHED: {**_APP, "day": "2026-11-22"},
    NotificationType.CONTRACT_NEAR: _CONTRACT,
    NotificationType.CONTRACT_REACHED: _CONTRACT,
    NotificationType.DAMAGE_FOUND: {"file": "x.segment", "reason": "wrong checksum"},
    NotificationType.TEST: {},
}


class Anything:
    """Stands for the handlers, which are not called."""

    def __getattr__(self, name):
        return self

    def __call__(self, *arguments):
        return self


def operations():
    return [
        (method.upper(), path, operation)
        for path, methods in read_document()["paths"].items()
        for method, operation in methods.items()
    ]


def everything_in(value):
    yield value
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, (list, type({}.values()))):
        for each in value:
            yield from everything_in(each)


def test_every_route_is_described_and_every_description_has_a_route():
    calls = Calls(**dict.fromkeys(Calls.__dataclass_fields__, Anything()))
    routes = build_routes(calls, Anything(), page_prefixes=()).routes
    assert {(route.method, route.path) for route in routes} == set(OPERATIONS)
    handlers = Handlers(**dict.fromkeys(Handlers.__dataclass_fields__, Anything()))
    pages = {route.path for route in build_page_routes(handlers) if route.method == "GET"}
    assert set(PAGES) == {path for path in pages if path.startswith("/oauth/")}
    described = {(method, path) for method, path, _ in operations()}
    assert described == set(OPERATIONS) | {("GET", path) for path in PAGES}


def test_every_reference_leads_somewhere():
    found = [
        each for each in everything_in(read_document()) if isinstance(each, dict) and "$ref" in each
    ]
    assert len(found) > 100
    for each in found:
        assert resolve(each)


def test_every_schema_is_valid_and_used():
    document = read_document()
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    text = json.dumps(document)
    for part in ("schemas", "responses", "headers"):
        for name in document["components"][part]:
            assert f'"#/components/{part}/{name}"' in text, name


def test_ids_are_unique_names():
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z]\w+", each) for each in ids)


def test_parameters_of_paths_are_described():
    for _, path, operation in operations():
        named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path))


def kinds(kind):
    return [kind, *(each for below in kind.__subclasses__() for each in kinds(below))]


def test_every_refusal_is_described_with_a_status():
    described = {
        code
        for answer in read_document()["components"]["responses"].values()
        for code in answer["headers"]["x-error-code"]["schema"]["enum"]
    }
    assert described == {kind.code for kind in kinds(ApiError)} - ABSTRACT - OF_NO_CALL


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        (Endpoint.TOTALS, "TotalsRequest"),
        (Endpoint.LAST_28_HOURS, "Last28HoursRequest"),
        (Endpoint.HISTORICAL, "HistoricalRequest"),
    ],
)
def test_requests_have_the_fields_and_limits_of_the_parser(endpoint, name):
    schema = read_document()["components"]["schemas"][name]
    fields = schema["properties"]
    assert schema["required"] == ["tweet_ids", "engagement_types", "groupings"]
    assert fields["tweet_ids"]["maxItems"] == TWEET_IDS_MAX[endpoint]
    assert fields["engagement_types"]["items"]["enum"] == list(ACCESS[endpoint])
    assert fields["groupings"]["maxProperties"] == 3
    assert ("start" in fields) == (endpoint is Endpoint.HISTORICAL)


@pytest.mark.parametrize(
    ("name", "kind"), [("Event", EVENTS), ("Tweet", TWEETS), ("Account", ACCOUNTS)]
)
def test_rows_have_the_fields_of_their_kind(name, kind):
    schema = read_document()["components"]["schemas"][name]
    assert tuple(schema["properties"]) == kind.fields
    assert tuple(schema["required"]) == kind.required


def test_examples_fit_their_schemas():
    for method, path, operation in operations():
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            for example in content.get("examples", {}).values():
                where = ("paths", path, method.lower(), "requestBody", "content", media_type)
                value = example["value"]
                if media_type == "application/json":
                    validator_at(*where, "schema").validate(value)
                else:
                    assert value


def test_every_call_of_the_api_has_an_example_in_each_language():
    for method, path, operation in operations():
        if path in PAGES:
            continue
        samples = {each["lang"]: each["source"] for each in operation["x-codeSamples"]}
        assert list(samples) == list(LANGUAGES)
        for source in samples.values():
            assert path.partition("{")[0] in source
            assert "$" not in re.sub(
                r"\$[A-Z_]+|\$\{|\$\(|\$(url|base|key|parameters|signature)|\$/", "", source
            )
            assert method.lower() in source.lower()


def test_a_wrong_answer_is_noticed():
    """The checks of other tests would pass if the checker accepted everything."""
    good = {"content-type": "application/json;charset=utf-8", "x-request-id": "0f2a1b6c7d8e9f00"}
    ask = ("POST", "/platform/v1/accounts")
    body = {"accepted": 1, "rejected": 0, "rejections": [], "reasons": {}, "duplicate": False}

    def problems(status, headers, answer):
        return problems_of(*ask, status=status, headers=headers, body=json.dumps(answer).encode())

    assert problems(200, good, body) == []
    assert problems(200, good, body | {"accepted": "1"})
    assert problems(200, good, {"accepted": 1})
    assert problems(200, {**good, "content-type": "text/plain"}, body)
    assert problems(200, {"content-type": "application/json"}, body)
    assert problems(302, good, body)
    refused = good | {"x-error-code": "platform_key_not_found"}
    assert problems(401, refused, {"errors": ["no"]}) == []
    assert problems(401, good, {"errors": ["no"]})
    assert problems(401, refused | {"x-error-code": "other"}, {"errors": ["no"]})
    assert problems(401, refused, {"errors": "no"})


def test_paths_are_found():
    assert find_path("/platform/v1/tweets/5?x=1") == "/platform/v1/tweets/{id}"
    assert find_path("/platform/v1/tweets") == "/platform/v1/tweets"
    assert find_path("/nowhere") is None


def test_every_type_of_notification_is_a_webhook():
    webhooks = read_document()["webhooks"]
    assert list(webhooks) == list(NotificationType)


@cases("kind", NotificationType)
def test_a_notification_fits_its_schema(kind):
    data = json.dumps(NOTIFICATION_DATA[kind])
    body = json.loads(Message("msg_1", kind, 0, data).body)
    operation = read_document()["webhooks"][kind]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body["type"] == schema["properties"]["type"]["const"]
    described = resolve(schema["properties"]["data"])
    assert set(described["properties"]) == set(body["data"])
    jsonschema_rs.validate(described, body["data"])
    sent = sign_message(Message("msg_1", kind, 0, data), ["whsec_QQ=="], now_s=0)
    assert {each["name"] for each in operation["parameters"]} == set(sent)
