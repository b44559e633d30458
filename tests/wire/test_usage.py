"""Usage: every request of an app is counted once by its outcome (api.md 6.7)."""

import json
import time
from contextlib import closing

import pytest

from openengagement.registry.opening import open_registry
from support.calls import Bearer, Client, question, sign_as_app, sign_as_user
from support.cases import cases
from support.oauth_server import connected_clients
from support.server import Server
from support.signing import signed_header
from support.stores import registry_url
from support.waiting import PATIENCE_S, within_one
from support.world import LIMIT

TOTALS = "/insights/engagement/totals"


@pytest.fixture(scope="module")
def server(world):
    """Two workers without any requests so far."""
    with Server(world, workers=2) as running:
        yield running


@pytest.fixture
def usage(server):
    """Call `GET /platform/v1/usage`."""

    def read(query=""):
        key = server.world.platform_key
        answer = server.client.platform("GET", f"usage{query}", key)
        assert answer.status == 200, answer
        return answer.json()

    return read


def by_app(body):
    return {app.pop("app_id"): app for app in body["apps"]}


def written(read, wanted):
    """Return the usage once it is complete, or after a timeout."""
    give_up = time.monotonic() + PATIENCE_S
    while (found := read()) != wanted and time.monotonic() < give_up:
        time.sleep(0.2)
    return found


def test_every_outcome_is_counted_as_usage(server, usage):
    main, limited, pending, bobs = (
        server.world.main,
        server.world.limited,
        server.world.pending,
        server.world.bobs,
    )
    bearer = server.bearer(main)
    server.command("app", "enable", main.app_id, "--handles", "1")
    server.command("app", "suspend", bobs.app_id)
    bearer_of_bobs = Bearer(server.command("token", "bearer", bobs.app_id)["access_token"])

    def ask(client, auth, *tweet_ids, endpoint="totals", **body):
        answer = client.ask(endpoint, question(*tweet_ids, **body), auth)
        return answer.code or answer.status

    with connected_clients(server) as clients:
        # Answered requests on both workers: Tweets of alice, of bob and of a protected author.
        got = [ask(each, bearer, "111", "211", "311") for each in clients]
        got += [ask(each, sign_as_user(main), "112") for each in clients]
        assert got == [200] * 2 * len(clients)
        answered = len(got)
        # Refused requests.
        client = clients[0]
        assert ask(client, sign_as_app(main), "311") == "tweets_unavailable"
        assert ask(client, sign_as_user(main), "111", "211") == "forbidden_tweets"
        assert ask(client, bearer, "111", types=("claps",)) == "unsupported_engagement_types"
        assert ask(client, bearer, "111", endpoint="28hr") == "forbidden_metrics"
        header = {"Authorization": signed_header("POST", server.url + TOTALS, main)}
        body = json.dumps(question("111"))
        replay = [each.send("POST", TOTALS, body=body, headers=header) for each in clients[:3]]
        assert sorted(each.status for each in replay) == [200, 401, 401]
        assert ask(client, sign_as_user(pending), "111") == "app_not_enabled"
        assert ask(client, bearer_of_bobs, "111") == "app_suspended"
        codes = []  # of one minute, and of one more if that ended meanwhile

        def ask_too_often():
            found = [ask(each, sign_as_user(limited), "111") for each in clients[: LIMIT + 3]]
            codes.extend(found)
            return found

        assert within_one(60, ask_too_often) == [200] * LIMIT + ["rate_limited"] * 3
        served = codes.count(200)
        limits = {"rate_limited": len(codes) - served}
        # Requests that fail authentication.
        wrong = header["Authorization"].replace("oauth_signature=", "oauth_signature=x")
        for headers in ({"Authorization": wrong}, {}):
            assert client.send("POST", TOTALS, body=body, headers=headers).status == 401
        assert ask(client, Bearer("unknown"), "111") == "bearer_token_not_found"

    refused = {
        "tweets_unavailable": 1,
        "forbidden_tweets": 1,
        "unsupported_engagement_types": 1,
        "forbidden_metrics": 1,
    }
    apps = {
        main.app_id: row("main", "alice", answered + 1, refused, handles=2, contracted=1),
        limited.app_id: row("limited", "alice", served, limits, handles=1),
        pending.app_id: row("pending", "alice", 0, {"app_not_enabled": 1}),
        bobs.app_id: row("bobs", "bob", 0, {"app_suspended": 1}),
    }
    found = written(lambda: by_app(usage()), apps)
    assert found == apps
    assert usage(f"?month={usage()['month']}") == usage()
    assert [each["app_id"] for each in usage()["apps"]] == sorted(apps, key=int)


def row(name, owner, answered, errors, *, handles=0, contracted=None):
    return {
        "name": name,
        "owner": owner,
        "requests": answered + sum(errors.values()),
        "errors": errors,
        "handles": handles,
        "handles_contracted": contracted,
    }


def test_usage_is_counted_by_month(usage, server):
    body = usage("?month=2025-01")
    assert body["month"] == "2025-01"
    assert all(app["requests"] == app["handles"] == 0 for app in body["apps"])


@cases(
    ("query", "says"),
    [
        ("?month=", "month: '' is not a month; write one as 2026-11"),
        ("?month=2026-13", "month: '2026-13' is not a month; write one as 2026-11"),
        ("?month=november", "write one as 2026-11"),
        ("?month=2026-11&month=2026-10", "query: the only parameter is month, once"),
        ("?year=2026", "query: the only parameter is month, once"),
        ("?month=%ff", "query: "),
    ],
)
def test_an_invalid_month_is_refused(server, query, says):
    answer = server.client.platform("GET", f"usage{query}", server.world.platform_key)
    assert (answer.status, answer.code) == (400, "invalid_field")
    assert says in answer.json()["errors"][0]


def test_usage_needs_a_platform_key(server):
    ask = server.client.send
    path = "/platform/v1/usage"
    assert ask("GET", path).code == "unknown_authorization_type"
    for auth in (Bearer("oepk_wrong"), server.bearer(server.world.main)):
        answer = ask("GET", path, auth=auth)
        assert (answer.status, answer.code) == (401, "platform_key_not_found")
    key = server.world.platform_key
    answer = server.client.platform("POST", "usage", key)
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


def test_usage_is_written_at_a_clean_stop(world):
    with Server(world) as server:
        with closing(Client(server.url)) as client:
            for _ in range(3):
                assert client.ask("totals", question("111"), sign_as_user(world.main)).status == 200
        month = time.strftime("%Y-%m", time.gmtime())
        server.stop()
        with closing(open_registry(server.data, registry_url(server.data))) as registry:
            used = registry.usage.read_app_usage(int(world.main.app_id), [month])[month]
            names = registry.usage.list_handles(int(world.main.app_id), month, limit=10)
        assert (used.requests, used.errors, used.handles) == (3, {}, 1)
        assert names == ["alice"]
