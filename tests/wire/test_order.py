"""The order of checks (api.md 3.4): of two faults, the earlier one is reported.

A fault changes a valid request. Every pair of faults that can occur in one request is tried. The
order is that of api.md, compared with `errors.PRECEDENCE`.
"""

import json
from dataclasses import dataclass, field
from itertools import combinations

import pytest

from openengagement.errors import PRECEDENCE, BodyTooSlow
from support.calls import question, sign_as_app, sign_as_user
from support.cases import cases
from support.world import LIMIT

SETTINGS = {
    "require_gzip": "true",
    "trusted_proxies": "127.0.0.1/32",
    "body_max_bytes": "4096",
    "header_max_bytes": "8192",
    "hosts": "127.0.0.1",
}


@dataclass
class Draft:
    """A request that faults can change before it is sent."""

    method: str = "POST"
    path: str = "/insights/engagement/totals"
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, object] = field(
        default_factory=lambda: question("111", types=("favorites", "impressions"))
    )
    who: str = "owner"
    text: str = ""  # instead of the body
    padding: int = 0


def too_many_headers(draft):
    draft.headers["X-Padding"] = "x" * 9000


def wrong_host(draft):
    draft.headers["X-Forwarded-Host"] = "api.example"


def wrong_path(draft):
    draft.path = "/insights/engagement/nothing"


def wrong_method(draft):
    draft.method = "PUT"


def plain_http(draft):
    draft.headers |= {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"}


def no_gzip(draft):
    draft.headers["Accept-Encoding"] = "identity"


def too_large(draft):
    draft.padding = 5000


def unknown_encoding(draft):
    draft.headers["Content-Encoding"] = "br"


def no_credentials(draft):
    draft.who = "nobody"


def never_enabled(draft):
    draft.who = "never enabled"


def over_the_limit(draft):
    draft.who = "over the limit"


def no_json(draft):
    draft.text = '{"tweet_ids": '


def no_field(draft):
    draft.body["tweet_ids"] = []


def unknown_type(draft):
    draft.body["engagement_types"] = ["favorites", "likes"]


def unknown_dimension(draft):
    draft.body["groupings"] = {"g": {"group_by": ["user.id"]}}


def all_unavailable(draft):
    draft.body["tweet_ids"] = ["999"]


def not_owned(draft):
    draft.body["tweet_ids"] = ["211"]


def private_metrics(draft):
    draft.who = "consumer"


def too_old(draft):
    draft.body["tweet_ids"] = ["113"]
    draft.body["engagement_types"] = ["impressions"]


# api.md 3.4, in its order: fault, status, name.
FAULTS = [
    (too_many_headers, 431, "headers_too_large"),
    (wrong_host, 421, "wrong_host"),
    (wrong_path, 404, "not_found"),
    (wrong_method, 405, "method_not_allowed"),
    (plain_http, 403, "ssl_required"),
    (no_gzip, 406, "gzip_required"),
    (no_credentials, 401, "unknown_authorization_type"),
    (never_enabled, 403, "app_not_enabled"),
    (over_the_limit, 429, "rate_limited"),
    (too_large, 413, "body_too_large"),
    (unknown_encoding, 415, "unsupported_body"),
    (no_json, 400, "malformed_body"),
    (no_field, 400, "invalid_field"),
    (unknown_type, 400, "unsupported_engagement_types"),
    (unknown_dimension, 400, "unsupported_group_bys"),
    (all_unavailable, 400, "tweets_unavailable"),
    (not_owned, 403, "forbidden_tweets"),
    (private_metrics, 403, "forbidden_metrics"),
    (too_old, 400, "tweets_too_old"),
]
# Pairs that one request cannot have: both change the same part, or they exclude each other.
WHO = {no_credentials, never_enabled, over_the_limit, private_metrics}
IDS = {no_field, all_unavailable, not_owned, too_old}
APART = [
    WHO,
    IDS,
    {too_large, no_json},
    {no_json, *IDS, unknown_type, unknown_dimension},
    {unknown_type, too_old},
    {not_owned, private_metrics},
    {private_metrics, too_old},
]


def fits(first, second):
    return not any({first[0], second[0]} <= apart for apart in APART)


PAIRS = [pair for pair in combinations(FAULTS, 2) if fits(*pair)]


def name(fault):
    return fault[0].__name__


def send(server, draft):
    world = server.world
    auth = {
        "owner": sign_as_user(world.main),
        "consumer": sign_as_app(world.main),
        "nobody": None,
        "never enabled": sign_as_user(world.pending),
        "over the limit": sign_as_user(world.limited),
    }[draft.who]
    text = draft.text or json.dumps(draft.body) + " " * draft.padding
    # The signature covers the URL that the client sees, which the forwarded headers preserve.
    return server.client.send(draft.method, draft.path, body=text, headers=draft.headers, auth=auth)


def answer_of(server, *faults):
    draft = Draft()
    for fault in faults:
        fault(draft)
    answer = send(server, draft)
    if draft.who == "over the limit":
        for _ in range(2 * LIMIT + 1):  # even if a new minute begins between two of these
            if answer.code != "rate_limited" and answer.status in {200, 400, 403, 413, 415}:
                answer = send(server, draft)
    return answer


@pytest.fixture(scope="module")
def strict(servers):
    return servers(**SETTINGS)


def test_the_unchanged_draft_is_accepted(strict):
    assert answer_of(strict).status == 200


@cases("fault", FAULTS, ids=name)
def test_a_single_fault_is_reported(strict, fault):
    answer = answer_of(strict, fault[0])
    assert (answer.status, answer.code) == fault[1:], answer


@cases(("first", "second"), PAIRS, ids=name)
def test_the_earlier_of_two_faults_is_reported(strict, first, second):
    answer = answer_of(strict, first[0], second[0])
    assert (answer.status, answer.code) == first[1:], answer


def test_the_order_matches_the_declared_precedence():
    names = [code for _, _, code in FAULTS]
    codes = []
    for kind in PRECEDENCE:
        leaves = {each.code for each in kind.__subclasses__()} | {kind.code}
        codes += [code for code in names if code in leaves]
    assert codes == names


def test_every_declared_error_is_tested():
    tried = {code for _, _, code in FAULTS}
    for kind in set(PRECEDENCE) - {
        BodyTooSlow
    }:  # slow; covered by the unit tests of the ASGI application
        assert tried & ({each.code for each in kind.__subclasses__()} | {kind.code}), kind
