"""`GET /1.1/application/rate_limit_status.json` (api.md 4.7): what the server limits, by path."""

import math
import time

import pytest

from support.calls import Bearer, question, sign_as_app, sign_as_user
from support.waiting import within_one
from support.world import LIMIT

PATH = "/1.1/application/rate_limit_status.json"
IDENTITY = "/1.1/account/verify_credentials.json"
DATA = [f"/insights/engagement/{name}" for name in ("28hr", "historical", "totals")]
QUARTER_S = 900


@pytest.fixture(scope="module")
def fresh(servers):
    """A server on which no other test uses these limits."""
    return servers(request_tokens_per_minute="77")


def resources_of(server, auth, query=""):
    answer = server.client.send("GET", PATH + query, auth=auth)
    assert answer.status == 200, answer
    return answer.json()["resources"]


def test_a_users_limits(fresh):
    app = fresh.world.main

    def ask():
        before = fresh.client.send("GET", PATH, auth=sign_as_user(app))
        return time.time(), before, fresh.client.send("GET", PATH, auth=sign_as_user(app))

    now, before, answer = within_one(60, ask)
    minute, quarter = ((math.floor(now / size) + 1) * size for size in (60, QUARTER_S))
    left = int(before.headers["x-rate-limit-remaining"]) - 1
    own = {"limit": 180, "remaining": left, "reset": quarter}
    data = {"limit": 6000, "remaining": 6000, "reset": minute}
    assert answer.json() == {
        "rate_limit_context": {"access_token": app.access_token},
        "resources": {
            "account": {
                "/account/verify_credentials": {"limit": 75, "remaining": 75, "reset": quarter}
            },
            "application": {"/application/rate_limit_status": own},
            "insights": dict.fromkeys(DATA, data),
            "oauth": {"/oauth/request_token": {"limit": 77, "remaining": 77, "reset": minute}},
        },
    }
    names = {"limit": "180", "remaining": str(left), "reset": str(quarter)}
    assert {name: answer.headers[f"x-rate-limit-{name}"] for name in names} == names
    assert answer.headers["cache-control"] == "no-store"
    assert "x-per-minute-limit" not in answer.headers


@pytest.mark.parametrize("kind", ["bearer token", "consumer key"])
def test_an_apps_limits(fresh, kind):
    app = fresh.world.main
    auth = fresh.bearer(app) if kind == "bearer token" else sign_as_app(app)
    body = fresh.client.send("GET", PATH, auth=auth).json()
    assert body["rate_limit_context"] == {"application": app.consumer_key}
    assert list(body["resources"]) == ["application", "insights", "oauth"]


def test_the_figures_are_those_of_the_calls(fresh):
    app = fresh.world.limited
    owner = sign_as_user(app)

    def ask():
        before = resources_of(fresh, owner)
        used = fresh.client.ask("totals", question("111"), fresh.bearer(app))
        fresh.client.send("GET", IDENTITY, auth=owner)
        fresh.client.send("POST", "/oauth/request_token", auth=sign_as_app(app, callback_uri="oob"))
        return used, before, resources_of(fresh, owner)

    used, before, after = within_one(60, ask)
    for path in DATA:
        found = after["insights"][path]
        assert found["limit"] == LIMIT
        assert found["remaining"] == before["insights"][path]["remaining"] - 1
        assert found["remaining"] == int(used.headers["x-per-minute-remaining"])
        assert found["reset"] == int(used.headers["x-per-minute-reset"])
    for family, path in (
        ("account", "/account/verify_credentials"),
        ("application", "/application/rate_limit_status"),
        ("oauth", "/oauth/request_token"),
    ):
        assert after[family][path]["remaining"] == before[family][path]["remaining"] - 1


@pytest.mark.parametrize(
    ("query", "families"),
    [
        ("?resources=account", ["account"]),
        ("?resources=insights,account", ["account", "insights"]),
        ("?resources=insights%2C%20oauth", ["insights", "oauth"]),
        ("?resources=statuses,friends,trends,help", []),
        ("?resources=", []),
        ("?resources=account&resources=oauth", ["account", "oauth"]),
        ("?other=1", ["account", "application", "insights", "oauth"]),
    ],
)
def test_resources_selects_families(fresh, query, families):
    assert list(resources_of(fresh, sign_as_user(fresh.world.main), query)) == families


def test_its_own_limit(servers):
    """As Twitter documented it: 180 calls in 15 minutes for a token, and as many for an app."""
    server = servers(rate_limit_per_minute="4242")
    bearer, owner = server.bearer(server.world.main), sign_as_user(server.world.main)

    answers = []
    while not answers or answers[-1].status == 200:
        answers.append(server.client.send("GET", PATH, auth=bearer))
    *served, answer = answers
    resets = [each.headers["x-rate-limit-reset"] for each in served]
    assert resets.count(resets[-1]) == 180  # a window may have ended meanwhile
    assert len(served) < 360
    assert answer.status == 429
    assert answer.json() == {"errors": [{"code": 88, "message": "Rate limit exceeded"}]}
    found = resources_of(server, owner)
    assert found["application"]["/application/rate_limit_status"]["remaining"] == 179
    assert found["insights"][DATA[0]]["remaining"] == 4242


def test_credentials_are_verified(fresh):
    for auth, code in (
        (None, 215),
        (Bearer("AAAA"), 89),
        (sign_as_user(fresh.world.main, signature_method="PLAINTEXT"), 32),
    ):
        answer = fresh.client.send("GET", PATH, auth=auth)
        assert answer.json()["errors"][0]["code"] == code
        assert answer.status in {400, 401}
    assert fresh.client.send("POST", PATH, auth=fresh.bearer(fresh.world.main)).status == 405


def test_a_captured_call_is_refused(fresh):
    signed = sign_as_user(fresh.world.main, nonce="once", timestamp=str(int(time.time())))
    calls = [fresh.client.send("GET", PATH, auth=signed) for _ in range(2)]
    assert [(answer.status, answer.code) for answer in calls] == [(200, ""), (401, "nonce_used")]
