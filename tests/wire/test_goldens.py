"""Golden pairs of requests and responses, sent to a real server (see goldens/README.md)."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from requests.auth import HTTPBasicAuth

from support.calls import RATE_HEADERS, Answer, Bearer, sign_as_app, sign_as_user
from support.cases import cases
from support.server import Server

GOLDENS = Path(__file__).with_name("goldens")
ANSWER_KEYS = {
    "start",
    "end",
    "errors",
    "unavailable_tweet_ids",
    "unsupported_for_impressions_engagements_tweet_ids",
    "unsupported_for_video_views_tweet_ids",
}
DAY_OR_HOUR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}")


def auth_for(name: str, server: Server) -> Any:
    """Map the goldens' names of credentials to credentials."""
    world = server.world
    users = {
        "owner": world.main,
        "another user": world.bobs,
        "protected owner": world.carols,
        "owner, app not enabled": world.pending,
    }
    if name in users:
        return sign_as_user(users[name])
    if name in {"bearer", "bearer, app not enabled"}:
        return server.bearer(world.pending if "not enabled" in name else world.main)
    if name == "basic":
        return HTTPBasicAuth(world.main.consumer_key, world.main.consumer_secret)
    return {
        "nobody": None,
        "consumer": sign_as_app(world.main),
        "consumer, empty token": sign_as_app(world.main, resource_owner_key=""),
        "consumer, app not enabled": sign_as_app(world.pending),
        "unknown bearer": Bearer("AAAA-nobodys"),
    }[name]


def expand(value: Any) -> Any:
    """`{"$ids": [first, count]}` stands for that many Tweet IDs in a row."""
    if isinstance(value, dict):
        if "$ids" in value:
            first, count = value["$ids"]
            return [str(first + step) for step in range(count)]
        return {key: expand(each) for key, each in value.items()}
    if isinstance(value, list):
        parts = [expand(each) if isinstance(each, dict) else [expand(each)] for each in value]
        if any(isinstance(each, dict) and "$ids" in each for each in value):
            return [each for part in parts for each in part]
        return [expand(each) for each in value]
    return value


def assert_matches(found: Any, expected: Any, place: str = "$") -> None:
    """Check equality, except for texts given as `{"$matches": pattern}`."""
    if isinstance(expected, dict) and "$matches" in expected:
        assert isinstance(found, str), place
        assert re.fullmatch(expected["$matches"], found), f"{place}: {found!r}"
    elif isinstance(expected, dict):
        assert isinstance(found, dict), f"{place}: {found!r}"
        assert found.keys() == expected.keys(), place
        for key, value in expected.items():
            assert_matches(found[key], value, f"{place}.{key}")
    elif isinstance(expected, list):
        assert isinstance(found, list), f"{place}: {found!r}"
        assert len(found) == len(expected), f"{place}: {found!r}"
        for at, value in enumerate(expected):
            assert_matches(found[at], value, f"{place}[{at}]")
    else:
        assert type(found) is type(expected), f"{place}: {found!r}"
        assert found == expected, place


def assert_in_order(found: Any) -> None:
    """Check that days and hours ascend wherever they are keys (api.md 2.3)."""
    if isinstance(found, dict):
        keys = list(found)
        if keys and all(DAY_OR_HOUR.fullmatch(key) for key in keys):
            assert keys == sorted(keys)
        for each in found.values():
            assert_in_order(each)


def assert_data_answer(answer: Answer, request: dict[str, Any]) -> None:
    """Check the properties of every data API answer."""
    assert [name for name in RATE_HEADERS if name not in answer.headers] == []
    assert "date" in answer.headers
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])
    assert (answer.status >= 400) == bool(answer.code)
    if answer.status == 200:
        found = answer.json()
        asked = request["body"] if "body" in request else json.loads(request["text"])
        assert found.keys() - ANSWER_KEYS == asked["groupings"].keys()
        assert ("start" in found) == (not request["path"].endswith("totals"))
        assert_in_order(found)


@pytest.mark.parametrize("path", sorted(GOLDENS.glob("*.json")), ids=lambda path: path.stem)
def test_goldens(servers, path):
    file = json.loads(path.read_text())
    names = [case["name"] for case in file["cases"]]
    check_all = cases("case", file["cases"], ids=names)(check_golden)
    check_all(server=servers(**file.get("settings", {})))


def check_golden(server, case):
    request, expected = case["request"], case["response"]
    headers = request.get("headers", {})
    answer = server.client.send(
        request.get("method", "POST"),
        request["path"],
        body=request["text"] if "text" in request else expand(request.get("body")),
        headers=headers,
        auth=auth_for(request["as"], server),
    )

    assert answer.status == expected["status"], answer
    accepts = headers.get("Accept-Encoding", "gzip")
    assert answer.is_gzip == (accepts == "gzip" and answer.status != 204)
    for name, value in expected.get("headers", {}).items():
        assert_matches(answer.headers.get(name.lower()), value, name)
    if "text" in expected:
        assert answer.body.decode() == expected["text"]
    elif "body" in expected:
        assert_matches(answer.json(), expand(expected["body"]))
    if request["path"].startswith("/insights/"):
        assert_data_answer(answer, request)
