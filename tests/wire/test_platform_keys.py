"""Scopes and expiry of platform keys, on a real server."""

import time

import pytest

from openengagement.auth.credentials import hash_token
from openengagement.registry.opening import open_registry
from openengagement.registry.platform_keys import PlatformKey
from support.server import Server

EVENT = {"tweet_id": "111", "type": "replies", "at": "2026-11-20T10:00:00Z"}
# Each call of the platform API: method, path, body, the scope that it needs, and its status.
CALLS = [
    ("POST", "events", [EVENT], "events", 200),
    ("POST", "tweets", [{"id": "111", "author_id": "1"}], "events", 200),
    ("DELETE", "tweets/4711", None, "events", 404),
    ("POST", "accounts", [{"id": "71", "screen_name": "x71"}], "accounts", 200),
    ("DELETE", "accounts/4711", None, "accounts", 404),
    ("GET", "usage", None, "usage", 200),
]
SCOPES = [("events",), ("accounts",), ("usage",), ("events", "usage"), ("accounts", "events")]


@pytest.fixture(scope="module")
def keyed(world):
    with Server(world, workers=2) as server:
        yield server


def issue(server, *options):
    key = server.command("platform-key", "issue", "test", *options)["platform_key"]
    server.secrets.append(key)
    return key


def call(server, key, method, path, body):
    return server.client.platform(method, path, key, body=body)


@pytest.mark.parametrize("scopes", SCOPES, ids="+".join)
def test_a_key_may_do_what_its_scopes_say(keyed, scopes):
    key = issue(keyed, *(word for scope in scopes for word in ("--scope", scope)))
    for method, path, body, scope, status in CALLS:
        answer = call(keyed, key, method, path, body)
        if scope in scopes:
            assert answer.status == status, (path, answer)
        else:
            assert (answer.status, answer.code) == (403, "scope_missing"), (path, answer)
            assert answer.json() == {"errors": [f"This platform key lacks the scope {scope}"]}


def test_a_key_has_all_scopes_by_default(keyed):
    key = issue(keyed)
    for method, path, body, _, status in CALLS:
        assert call(keyed, key, method, path, body).status == status, path


def test_a_refused_scope_reads_no_body_and_is_no_use(keyed):
    key = issue(keyed, "--scope", "usage")
    answer = keyed.client.platform("POST", "events", key, body=b"not events")
    assert answer.code == "scope_missing"
    (found,) = [
        each
        for each in keyed.command("platform-key", "list")["platform_keys"]
        if each["scopes"] == ["usage"] and each["id"] == hash_token(key).hex()[:12]
    ]
    assert found["last_used_at"] is None


@pytest.mark.embedded
@pytest.mark.parametrize("left_s", [-3600, 0])
def test_an_expired_key_is_refused_for_everything(keyed, left_s):
    key = f"oepk_expired_{left_s}"
    now_s = int(time.time())
    add(keyed, PlatformKey(hash_token(key), "x", now_s - 9999, expires_at_s=now_s + left_s))
    for method, path, body, *_ in CALLS:
        answer = call(keyed, key, method, path, body)
        assert (answer.status, answer.code) == (401, "platform_key_expired"), path
        assert answer.json()["errors"][0].endswith("Reason: Platform key expired")


@pytest.mark.embedded
def test_a_key_expires_while_workers_have_it_in_their_caches(keyed):
    for seconds in (3, 30, 90):  # a slow machine needs longer to make the key
        key, expires_at_s = f"oepk_expires_in_{seconds}", int(time.time()) + seconds
        add(keyed, PlatformKey(hash_token(key), "x", 0, expires_at_s=expires_at_s))
        codes = {call(keyed, key, "GET", "usage", None).status}
        if codes == {200}:
            break
    while codes == {200} or time.time() < expires_at_s + 1:
        began_s = time.time()
        answer = call(keyed, key, "GET", "usage", None)
        if answer.status == 200:
            assert began_s < expires_at_s
        else:
            assert answer.code == "platform_key_expired"
            assert time.time() >= expires_at_s
        codes.add(answer.status)
        keyed.client.close()  # another worker may answer the next request
        time.sleep(0.05)
    assert codes == {200, 401}


def add(server, key):
    registry = open_registry(server.data)
    try:
        registry.platform_keys.add_platform_key(key)
    finally:
        registry.close()


ALL_BAD = [{**EVENT, "type": "claps"}, {**EVENT, "tweet_id": "x"}]
BAD = {
    "events": (ALL_BAD, {"invalid_id": 1, "unknown_type": 1}),
    "one event": ([{**EVENT, "at": "yesterday"}], {"invalid_time": 1}),
    "tweets": ([{"id": "0", "author_id": "1"}], {"invalid_id": 1}),
    "accounts": ([{"id": "72", "screen_name": "a b"}], {"invalid_name": 1}),
    "taken": ([{"id": "73", "screen_name": "alice"}], {"name_taken": 1}),
    "not JSON": (b"{\n", {"malformed": 1}),
}


@pytest.mark.parametrize("name", BAD)
def test_a_batch_whose_every_line_is_rejected(keyed, name):
    rows, reasons = BAD[name]
    path = {"one event": "events", "taken": "accounts", "not JSON": "events"}.get(name, name)
    headers = {"Content-Type": "application/x-ndjson"} if name == "not JSON" else {}
    answer = keyed.client.platform(
        "POST", path, keyed.world.platform_key, body=rows, headers=headers
    )
    assert (answer.status, answer.code) == (422, "all_lines_rejected"), answer
    found = answer.json()
    count = sum(reasons.values())
    assert found["errors"] == [f"all {count} line(s) were rejected"]
    assert (found["accepted"], found["rejected"], found["duplicate"]) == (0, count, False)
    assert found["reasons"] == reasons
    assert len(found["rejections"]) == count


def test_the_key_of_a_rejected_batch_is_not_used_up(keyed):
    def send(rows):
        headers = {"Idempotency-Key": "rejected"}
        key = keyed.world.platform_key
        return keyed.client.platform("POST", "events", key, body=rows, headers=headers)

    assert send(ALL_BAD).code == "all_lines_rejected"
    assert send(ALL_BAD).code == "all_lines_rejected"
    assert send([EVENT]).json()["accepted"] == 1
    assert send(ALL_BAD).code == "all_lines_rejected"  # refused before its key is known
    assert send([EVENT]).json()["duplicate"] is True


@pytest.mark.parametrize("rows", [[], b"\n", b""])
def test_a_batch_without_lines_is_no_error(keyed, rows):
    headers = {} if rows == [] else {"Content-Type": "application/x-ndjson"}
    key = keyed.world.platform_key
    answer = keyed.client.platform("POST", "events", key, body=rows, headers=headers)
    assert (answer.status, answer.json()["accepted"]) == (200, 0)


def test_an_atomic_batch_has_its_own_refusal(keyed):
    key = keyed.world.platform_key
    answer = keyed.client.platform("POST", "events?atomic=true", key, body=ALL_BAD)
    assert (answer.status, answer.code) == (400, "batch_refused")
