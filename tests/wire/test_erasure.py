"""`DELETE /platform/v1/accounts/{id}` (api.md 6.8): who may call it, and what it answers."""

import itertools

import pytest

from openengagement.auth.credentials import hash_token
from support.calls import Bearer, question, sign_as_user
from support.stores import query_registry

NUMBERS = itertools.count(7_700_000)


@pytest.fixture
def call(server):
    def send(account_id, *, method="DELETE", key=None):
        key = server.world.platform_key if key is None else key
        return server.client.platform(method, f"accounts/{account_id}", key)

    return send


@pytest.fixture
def account(server):
    """A new account with one Tweet that has one like; returns the ids of both."""
    number = next(NUMBERS)
    send, key = server.client.platform, server.world.platform_key
    rows = {
        "accounts": [{"id": number, "screen_name": f"user{number}"}],
        "tweets": [{"id": number, "author_id": number, "created_at": "2026-01-01T00:00:00Z"}],
        "events": [{"tweet_id": number, "type": "favorites", "at": "2026-01-01T00:00:00Z"}],
    }
    for kind, body in rows.items():
        assert send("POST", kind, key, body=body).json()["accepted"] == 1
    return number


def test_an_account_is_erased(server, call, account):
    bearer = server.bearer(server.world.main)
    assert server.client.ask("totals", question(str(account)), bearer).status == 200
    answer = call(account)
    assert (answer.status, answer.json()) == (
        200,
        {"tweets": 1, "apps": 0, "access_tokens": 0, "sessions": 0},
    )
    assert server.client.ask("totals", question(str(account)), bearer).status == 400
    again = call(account)
    assert (again.status, again.code) == (404, "not_found")
    assert again.json() == {"errors": [f"Account {account} is not registered"]}


def test_the_audit_log_names_the_key_and_not_the_account(server, call, account):
    """Who has a leaked key can erase. The log tells which key it was."""
    call(account)
    digest = hash_token(server.world.platform_key).hex()
    rows = query_registry(
        server.data, "SELECT actor, subject FROM audit_log WHERE action = 'erase'"
    )
    assert set(rows) == {(f"platform key {digest[:12]}", "erased account")}


def test_a_tweet_registered_again_begins_at_zero(server, call, account):
    call(account)
    send, key = server.client.platform, server.world.platform_key
    send("POST", "accounts", key, body=[{"id": account, "screen_name": f"user{account}"}])
    rows = [{"id": account, "author_id": account, "created_at": "2026-01-01T00:00:00Z"}]
    send("POST", "tweets", key, body=rows)
    bearer = server.bearer(server.world.main)
    answer = server.client.ask("totals", question(str(account)), bearer)
    assert answer.json() == {"g": {str(account): {"favorites": "0"}}}


def test_the_tweets_of_an_account_that_was_never_registered(server, call):
    number = next(NUMBERS)
    rows = [{"id": number, "author_id": number, "created_at": "2026-01-01T00:00:00Z"}]
    server.client.platform("POST", "tweets", server.world.platform_key, body=rows)
    assert call(number).json()["tweets"] == 1
    assert call(number).status == 404


@pytest.mark.parametrize("account_id", ["0", "-5", "x", "5.0", "", "9223372036854775808", "5/6"])
def test_an_invalid_id_is_refused(call, account_id):
    answer = call(account_id)
    assert (answer.status, answer.code) == (400, "invalid_field"), answer
    assert answer.json()["errors"][0].startswith("id: ")


@pytest.mark.parametrize("account_id", ["5550001", "9223372036854775807"])
def test_an_unknown_account_is_not_found(call, account_id):
    assert call(account_id).status == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "PATCH"])
def test_other_methods_are_refused(call, method):
    answer = call("101", method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "DELETE")


def test_only_a_platform_key_erases(server, call, account):
    bearer = server.bearer(server.world.main).token
    for key in (bearer, "oepk_wrong", ""):
        assert call(account, key=key).status == 401
    path = f"/platform/v1/accounts/{account}"
    assert server.client.send("DELETE", path).status == 401
    signed = sign_as_user(server.world.main)
    assert server.client.send("DELETE", path, auth=signed).status == 401
    answer = server.client.ask("totals", question(str(account)), Bearer(bearer))
    assert answer.json()["g"][str(account)] == {"favorites": "1"}
