"""Rate limits (api.md 3.5): six headers on every response, counted per app and minute."""

import math
import time

import pytest

from support.calls import RATE_HEADERS, Bearer, question, sign_as_app, sign_as_user
from support.signing import as_header, protocol_parameters, signed_header
from support.sockets import exchange, request_bytes
from support.waiting import within_one
from support.world import LIMIT

PATH = "/insights/engagement/totals"
BODY = question("111")


@pytest.fixture(scope="module")
def limited(servers):
    """A server on which no other test uses the limited app."""
    return servers(require_gzip="true")


def rates(answer):
    return {name: int(answer.headers[name]) for name in RATE_HEADERS}


def limits_of(answer, unit="minute"):
    found = rates(answer)
    return tuple(found[f"x-per-{unit}-{what}"] for what in ("limit", "remaining", "reset"))


def strange_requests(server):
    """Requests with every kind of outcome, as (status, request)."""
    world, client = server.world, server.client
    owner, bearer = sign_as_user(world.main), server.bearer(world.main)
    signed = as_header([*protocol_parameters(world.main), ("oauth_signature", "AAAA")])
    return {
        "200": lambda: client.ask("totals", BODY, owner),
        "400 malformed": lambda: client.ask("totals", "{", owner),
        "400 unavailable": lambda: client.ask("28hr", question("999"), owner),
        "401 without credentials": lambda: client.ask("totals", BODY, None),
        "401 unknown bearer": lambda: client.ask("historical", BODY, Bearer("AAAA")),
        "401 bad signature": lambda: client.ask("totals", BODY, None, {"Authorization": signed}),
        "403 not enabled": lambda: client.ask("totals", BODY, sign_as_user(world.pending)),
        "403 not owned": lambda: client.ask("totals", question("211"), owner),
        "403 private": lambda: client.ask("28hr", BODY, bearer),
        "404 no endpoint": lambda: client.ask("nothing", BODY, owner),
        "405 wrong method": lambda: client.send("GET", PATH),
        "413 too large": lambda: client.ask("totals", b"x" * 2_000_000, owner),
        "415 encoding": lambda: client.ask("totals", BODY, owner, {"Content-Encoding": "br"}),
        "431 headers": lambda: client.ask("totals", BODY, None, {"X-Padding": "x" * 40_000}),
    }


KINDS = (
    "200",
    "400 malformed",
    "400 unavailable",
    "401 without credentials",
    "401 unknown bearer",
    "401 bad signature",
    "403 not enabled",
    "403 not owned",
    "403 private",
    "404 no endpoint",
    "405 wrong method",
    # A balancer may lose an answer that is sent before the end of the body.
    pytest.param("413 too large", marks=pytest.mark.embedded),
    "415 encoding",
    "431 headers",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_all_six_headers_on_every_answer(server, kind, encoding, monkeypatch):
    send = server.client.send

    def sending(*arguments, headers=None, **more):
        headers = {"Accept-Encoding": encoding, **(headers or {})}
        return send(*arguments, headers=headers, **more)

    monkeypatch.setattr(server.client, "send", sending)
    answer = strange_requests(server)[kind]()
    assert answer.status == int(kind[:3]), answer
    found = rates(answer)
    assert all(value >= 0 for value in found.values())
    assert found["x-per-minute-remaining"] <= found["x-per-minute-limit"]
    assert found["x-per-minute-remaining"] > 0
    assert answer.is_gzip == (encoding == "gzip")
    assert not [name for name in answer.headers if name.lower().startswith("x-rate-limit")]


@pytest.mark.parametrize("kind", KINDS)
def test_the_reset_is_always_the_end_of_this_minute(server, kind):
    before = time.time()
    reset = limits_of(strange_requests(server)[kind]())[2]
    assert reset in {(math.floor(now / 60) + 1) * 60 for now in (before, time.time())}


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_headers_on_odd_methods(server, method):
    answer = exchange(server.port, request_bytes(method, PATH))
    assert [name for name in RATE_HEADERS if name not in answer.headers] == []


def test_remaining_counts_down_and_then_429(limited):
    app = limited.world.limited

    def ask():
        calls = range(LIMIT + 2)
        return time.time(), [limited.client.ask("totals", BODY, sign_as_user(app)) for _ in calls]

    now, answers = within_one(60, ask)
    assert [answer.status for answer in answers] == [200] * LIMIT + [429] * 2
    reset = (math.floor(now / 60) + 1) * 60
    remaining = [*range(LIMIT - 1, -1, -1), 0, 0]
    assert [limits_of(answer) for answer in answers] == [(LIMIT, left, reset) for left in remaining]
    for answer in answers[LIMIT:]:
        assert answer.json() == {"errors": ["Rate limit exceeded"]}
        assert answer.code == "rate_limited"
        assert answer.is_gzip


def test_every_kind_of_call_counts_for_the_app(limited):
    """Perhaps in another minute than the test before; its requests are used up first."""
    world, client = limited.world, limited.client
    app = world.limited
    bearer = limited.bearer(app)

    def ask():
        for _ in range(LIMIT):
            client.ask("totals", BODY, bearer)
        return {
            client.ask(endpoint, BODY, auth).status
            for auth in (sign_as_user(app), sign_as_app(app), bearer)
            for endpoint in ("totals", "28hr", "historical")
        }

    assert within_one(60, ask) == {429}
    assert client.ask("totals", BODY, sign_as_user(world.main)).status == 200


def counted(limited, send):
    """How many requests of the main app are counted: those that `send` sends, and one more."""
    auth = sign_as_user(limited.world.main)

    def ask():
        before = limits_of(limited.client.ask("totals", BODY, auth))
        send()
        return before[1] - limits_of(limited.client.ask("totals", BODY, auth))[1]

    return within_one(60, ask)


def test_refused_requests_count_once_the_app_is_known(limited):
    def send():
        for body in ("{", question("999"), question("211")):
            limited.client.ask("totals", body, sign_as_user(limited.world.main))

    assert counted(limited, send) == 4


def test_unauthenticated_requests_are_not_counted(limited):
    main = limited.world.main

    def send():
        bad = as_header([*protocol_parameters(main), ("oauth_signature", "AAAA")])
        for _ in range(5):
            limited.client.ask("totals", BODY, None, {"Authorization": bad})
        replayed = {"Authorization": signed_header("POST", limited.url + PATH, main)}
        for _ in range(3):
            limited.client.ask("totals", BODY, None, replayed)

    assert counted(limited, send) == 2  # the first of the three, and one more


def test_the_default_limit_is_6000_a_minute(server):
    answer = server.client.ask("totals", BODY, sign_as_user(server.world.main))
    assert limits_of(answer)[0] == 6000


def test_without_a_limit_per_second_those_headers_have_the_minutes_figures(server):
    answer = server.client.ask("totals", BODY, sign_as_user(server.world.main))
    assert limits_of(answer, "second") == limits_of(answer, "minute")


@pytest.mark.heavy
def test_a_new_minute_resets(limited):
    """Waits for the next minute."""
    app = limited.world.limited
    while (answer := limited.client.ask("totals", BODY, sign_as_user(app))).status == 200:
        pass
    reset = limits_of(answer)[2]
    time.sleep(max(0, reset - time.time()) + 0.05)
    answer = limited.client.ask("totals", BODY, sign_as_user(app))
    assert answer.status == 200
    assert limits_of(answer) == (LIMIT, LIMIT - 1, reset + 60)


def test_a_limit_per_second(servers):
    server = servers(rate_limit_per_second="3", rate_limit_per_minute="500")
    main = server.world.main

    def ask():
        return time.time(), [
            server.client.ask("totals", BODY, sign_as_user(main)) for _ in range(5)
        ]

    time.sleep(1.01 - time.time() % 1)
    now, answers = within_one(1, ask)
    assert [answer.status for answer in answers] == [200] * 3 + [429] * 2
    assert [limits_of(answer, "second") for answer in answers] == [
        (3, left, int(now) + 1) for left in (2, 1, 0, 0, 0)
    ]
    assert limits_of(answers[0])[0] == 500
    time.sleep(1.01 - time.time() % 1)
    assert server.client.ask("totals", BODY, sign_as_user(main)).status == 200
