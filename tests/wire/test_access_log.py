"""The access log of a real server: every `x-request-id` that a client holds is found in it."""

import hashlib
import json

import pytest

from support.calls import Bearer, question, sign_as_app, sign_as_user
from support.cases import cases
from support.server import Server
from support.waiting import wait_for

LONG = "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw"


@pytest.fixture(scope="module")
def logged(world):
    with Server(world, workers=2, settings={"access_log": "on"}) as server:
        yield server


def line_of(server, request_id):
    """The line with this request id. It is written a moment after the answer."""

    def find():
        lines = [line for line in server.log().splitlines() if line.startswith("{")]
        found = [each for each in map(json.loads, lines) if each.get("request_id") == request_id]
        return [each for each in found if each["event"] == "request"]

    (line,) = wait_for(find, pause_s=0.05)
    return line


CALLS = {
    "served": ("POST", "/insights/engagement/totals", question("111"), "user", 200, None),
    "refused": ("POST", "/insights/engagement/totals", {}, "user", 400, "invalid_field"),
    "unknown": ("POST", "/insights/engagement/totals", {}, "nobody", 401, "consumer_key_not_found"),
    "anonymous": ("POST", "/oauth/request_token", None, None, 400, "unknown_authorization_type"),
    "forbidden": ("POST", "/insights/engagement/28hr", question("111"), "app", 403, None),
    "no path": ("GET", "/nothing", None, None, 404, "not_found"),
    "method": ("DELETE", "/health", None, None, 405, "method_not_allowed"),
    "platform": ("POST", "/platform/v1/events", b"{}", None, 401, None),
    "page": ("GET", "/sign-in", None, None, 200, None),
    "redirect": ("GET", "/portal", None, None, 303, None),
    "static": ("GET", "/static/nothing.css", None, None, 404, None),
    "health": ("GET", "/livez", None, None, 200, None),
}


@cases("name", CALLS)
def test_each_answer_has_a_line(logged, name):
    method, path, body, signer, status, code = CALLS[name]
    main = logged.world.main
    auth = {"user": sign_as_user(main), "app": sign_as_app(main), "nobody": nobody(main)}
    answer = logged.client.send(method, path, body=body, auth=auth.get(signer))
    assert answer.status == status, answer
    line = line_of(logged, answer.headers["x-request-id"])
    assert (line["status"], line["method"], line["path"]) == (status, method, path)
    assert line.get("code") == (code or answer.headers.get("x-error-code"))
    assert line["process"] == "worker"
    assert line["level"] == ("warning" if status >= 400 else "info")


def nobody(app):
    from dataclasses import replace

    return sign_as_user(replace(app, consumer_key="nobody"))


@cases("place", ["path", "query", "header", "body", "bearer", "cookie", "agent"])
def test_secrets_anywhere_are_not_logged(logged, place):
    headers = {"Content-Type": "application/json"}
    path, body, auth = "/insights/engagement/totals", question("111"), None
    match place:
        case "path":
            path += f"/{LONG}"
        case "query":
            path += f"?oauth_token={LONG}"
        case "header":
            headers["Authorization"] = f'OAuth oauth_consumer_key="{LONG}", oauth_token="{LONG}"'
        case "body":
            body = {"tweet_ids": [LONG], "engagement_types": [LONG], "groupings": {LONG: {}}}
        case "bearer":
            auth = Bearer(LONG)
        case "cookie":
            headers["Cookie"] = f"oe_session={LONG}"
        case "agent":
            headers |= {"User-Agent": LONG, "Referer": f"https://x.example/{LONG}"}
    answer = logged.client.send("POST", path, body=body, headers=headers, auth=auth)
    line_of(logged, answer.headers["x-request-id"])
    assert LONG[:24] not in logged.log()
    for secret in logged.secrets:
        assert secret not in logged.log()


EVENT = {"tweet_id": "111", "type": "replies", "at": "2026-11-20T10:00:00Z"}
BATCHES = {
    "events": ("events", [EVENT, EVENT], {"accepted": 2, "rejected": 0}),
    "rejected": (
        "events",
        [EVENT, {**EVENT, "type": "claps"}, {**EVENT, "tweet_id": "x"}, {**EVENT, "type": "?"}],
        {"accepted": 1, "rejected": 3, "reasons": "invalid_id:1 unknown_type:2"},
    ),
    "tweets": ("tweets", [{"id": "119", "author_id": "1"}], {"accepted": 1, "rejected": 0}),
    "accounts": ("accounts", [{"id": "1", "screen_name": "x"}], {"accepted": 1, "rejected": 0}),
    "empty": ("events", [], {"accepted": 0, "rejected": 0}),
}


@pytest.fixture
def send_batch(logged):
    def send(kind, rows, **headers):
        call, key = logged.client.platform, logged.world.platform_key
        headers = {name.replace("_", "-"): text for name, text in headers.items()}
        answer = call("POST", kind, key, body=rows, headers=headers)
        request_id = answer.headers["x-request-id"]
        line_of(logged, request_id)
        lines = [json.loads(line) for line in logged.log().splitlines() if request_id in line]
        return answer, [line for line in lines if line["event"] == "batch"]

    return send


@pytest.mark.parametrize("name", BATCHES)
def test_each_batch_has_a_line(send_batch, name):
    kind, rows, expected = BATCHES[name]
    answer, (line,) = send_batch(kind, rows)
    assert answer.status == 200
    given = {field: line.get(field) for field in ("accepted", "rejected", "reasons")}
    assert given == {"reasons": None, **expected}
    assert (line["kind"], line["key"], line["duplicate"]) == (kind, None, False)
    assert line["level"] == ("warning" if expected["rejected"] else "info")
    assert line["bytes"] > 0
    assert 0 < line["ms"] < 60_000


@pytest.mark.parametrize("key", [LONG, "a", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "x" * 255])
def test_a_batch_is_found_by_the_hash_of_its_key(send_batch, logged, key):
    """An operator finds it with `printf %s KEY | sha256sum`. The key itself is not logged."""
    sent = key.encode().decode("latin-1")
    lines = [send_batch("events", [EVENT], idempotency_key=sent)[1][0] for _ in range(2)]
    assert {line["key"] for line in lines} == {hashlib.sha256(key.encode()).hexdigest()[:16]}
    assert [line["duplicate"] for line in lines] == [False, True]
    assert len(key) < 2 or key not in logged.log()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        ([{"tweet_id": "x"}], {"idempotency_key": "k" * 256}, 400),
        ([EVENT], {"content_encoding": "br"}, 415),
    ],
)
def test_a_refused_batch_has_a_line_of_its_refusal_only(send_batch, body, headers, status):
    answer, lines = send_batch("events", body, **headers)
    assert (answer.status, lines) == (status, [])


def test_the_log_of_a_whole_life(world):
    with Server(world, settings={"log_format": "text"}) as server:
        answer = server.client.send("GET", "/nothing")
        server.client.platform(
            "POST", "events", server.world.platform_key, body=[{"tweet_id": "x"}, EVENT]
        )
        server.stop()
        text = server.log()
        server.start()
    for words in (
        "supervisor[",
        " server_starting ",
        " worker_started version=",
        f" request request_id={answer.headers['x-request-id']} method=GET path=/nothing status=404",
        " batch request_id=",
        " kind=events key=None accepted=1 rejected=1 reasons=",
        " counting_process_started",
        " server_stopped",
    ):
        assert words in text, words
