"""The developer's console: the request that its form makes, and a remedy for each refusal."""

import json

import pytest

from openengagement import errors
from openengagement.portal.api_console import build_body, read_endpoint
from openengagement.portal.remedies import _REMEDIES, explain

FIELDS = {
    "endpoint": "historical",
    "tweet_ids": " 1, 2\n3,,",
    "type_favorites": "on",
    "type_impressions": "on",
    "type_unknown": "on",
    "group_1": "engagement.type",
    "group_2": "",
    "group_3": "tweet.id",
    "start": " 2026-11-01 ",
    "end": "",
}
# Of calls that the pages never send, or that no app of its own can cause.
ELSEWHERE = {
    *("batch_refused", "idempotency_key_reused", "all_lines_rejected", "scope_missing"),
    *("platform_key_not_found", "platform_key_expired", "unverified_client"),
    *("request_token_missing", "request_token_not_found", "invalid_verifier"),
    *("not_found", "method_not_allowed", "bad_request", "forbidden", "not_authenticated"),
}


def test_the_body_follows_the_form():
    assert json.loads(build_body(FIELDS)) == {
        "tweet_ids": ["1", "2", "3"],
        "engagement_types": ["impressions", "favorites"],
        "groupings": {"result": {"group_by": ["engagement.type", "tweet.id"]}},
        "start": "2026-11-01",
    }


def test_only_historical_has_a_window():
    assert "start" not in json.loads(build_body(FIELDS | {"endpoint": "28hr"}))


def test_a_written_body_is_sent_as_it_is():
    assert build_body(FIELDS | {"body": " {nothing "}) == "{nothing"


@pytest.mark.parametrize("text", ["", "nowhere", "../platform", "TOTALS"])
def test_an_unknown_endpoint_is_totals(text):
    assert read_endpoint({"endpoint": text}) == "totals"


def codes_in(kind):
    yield kind.code
    for each in kind.__subclasses__():
        yield from codes_in(each)


def test_each_refusal_has_a_remedy():
    known = {code for code in codes_in(errors.ApiError) if code} - ELSEWHERE
    assert known - set(_REMEDIES) <= {"error"}, known - set(_REMEDIES)
    assert set(_REMEDIES) <= known
    assert explain("new_one").advice
