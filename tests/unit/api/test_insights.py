"""The handlers of the three endpoints: order of steps, headers, threads (api.md 3.4, 3.5)."""

import asyncio
import json
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from openengagement.api.authentication import RequestAuthenticator
from openengagement.api.insights import Insights, default_headers, rate_headers
from openengagement.engagement.types import Endpoint, Tweet
from openengagement.errors import (
    ApiError,
    AppNotEnabled,
    BodyTooLarge,
    InvalidField,
    InvalidSignature,
    MalformedAuthorization,
    NonceUsed,
    RateLimited,
    StoreUnavailable,
)
from openengagement.http.request import Request
from openengagement.limits.contract import RateWindow
from openengagement.query import Query
from openengagement.settings import Settings
from openengagement.stores.contract import Stores
from support.waiting import PATIENCE_S

NOW_S = 1_800_000_029.5
REQUEST = Request("POST", "/", "", (), {}, "https", "host", peer="", secure=True)
FORM = Request(
    "POST",
    "/",
    "",
    (),
    {b"content-type": "application/x-www-form-urlencoded"},
    "https",
    "host",
    peer="",
    secure=True,
)
MINUTE, SECOND = (
    RateWindow(60, 3, 1_800_000_060),
    RateWindow(2, 1, 1_800_000_001),
)


class World:
    """A fake authenticator, query and usage meter that records every step."""

    def __init__(self):
        self.blocking = False
        self.windows = [MINUTE]
        self.cells = 1
        self.whole = False  # only a form's body can authenticate the request
        self.fails = {}
        self.steps = []
        self.counted = []

    def _step(self, name, *facts):
        self.steps.append((name, *facts))
        if name in self.fails:
            raise self.fails[name]

    def authenticate_head(self, message):
        self._step("authenticate_head", message.body)
        return None if self.whole else self._caller()

    def authenticate(self, message):
        self._step("authenticate", message.body)
        return self._caller()

    def _caller(self):
        return SimpleNamespace(user_id=7, app=SimpleNamespace(id=5))

    def enforce_limits(self, caller):
        self._step("enforce_limits", caller.user_id)
        return self.windows

    @property
    def in_flight(self):
        return nullcontext()

    def count_answer(self, app_id, author_ids):
        self.counted.append((app_id, "ok", sorted(author_ids)))

    def count_refusal(self, app_id, reason):
        self.counted.append((app_id, reason))

    def prepare(self, endpoint, body, *, user_id):
        self._step("prepare", endpoint, body, user_id)
        decision = SimpleNamespace(author_ids=frozenset({7, 8}))
        return SimpleNamespace(request=SimpleNamespace(cells=self.cells), decision=decision)

    def prepare_and_answer(self, endpoint, body, *, user_id):
        plan = self.prepare(endpoint, body, user_id=user_id)
        return plan, self.answer(plan)

    def answer(self, plan):
        self._step("answer", threading.current_thread() is threading.main_thread())
        return b'{"all":{}}'


def build(world, pool=None, **settings):
    return Insights(
        RequestAuthenticator(world, None),
        world,
        meter=world,
        settings=Settings(**settings),
        pool=pool,
    )


@pytest.fixture
def world():
    return World()


@pytest.fixture
def call(world):
    """Call an endpoint's handler with a body."""

    def made(endpoint="totals", body=b"{}", request=REQUEST, **settings):
        async def read_body(limit, *, counted=False):
            world._step("read", limit, counted)
            return body

        with ThreadPoolExecutor(1) as pool:
            insights = build(world, pool, **settings)
            return asyncio.run(getattr(insights, endpoint)(request, read_body))

    return made


def refused(call, **kwargs):
    with pytest.raises(ApiError) as caught:
        call(**kwargs)
    return caught.value


# --- rate-limit headers --------------------------------------------------------------------------


def test_without_a_limit_per_second_all_headers_show_the_minute():
    assert rate_headers([MINUTE]) == {
        "x-per-minute-limit": "60", "x-per-minute-remaining": "57",
        "x-per-minute-reset": "1800000060", "x-per-second-limit": "60",
        "x-per-second-remaining": "57", "x-per-second-reset": "1800000060",
    }  # fmt: skip


def test_with_a_limit_per_second_both_windows_have_headers():
    assert rate_headers([MINUTE, SECOND]) == {
        "x-per-minute-limit": "60", "x-per-minute-remaining": "57",
        "x-per-minute-reset": "1800000060", "x-per-second-limit": "2",
        "x-per-second-remaining": "1", "x-per-second-reset": "1800000001",
    }  # fmt: skip


def test_remaining_never_falls_below_zero():
    assert rate_headers([RateWindow(5, 9, 60)])["x-per-minute-remaining"] == "0"


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "endpoint"),
    [
        ("totals", Endpoint.TOTALS),
        ("last_28_hours", Endpoint.LAST_28_HOURS),
        ("historical", Endpoint.HISTORICAL),
    ],
)
def test_each_handler_queries_its_endpoint_as_the_caller(call, world, handler, endpoint):
    reply = call(handler, b'{"x":1}')
    assert (reply.status, reply.body) == (200, b'{"all":{}}')
    assert world.steps[3] == ("prepare", endpoint, b'{"x":1}', 7)


def test_an_answer_is_json_with_six_rate_limit_headers(call):
    reply = call()
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.headers.items() >= rate_headers([MINUTE]).items()


def test_only_large_answers_are_made_in_a_thread(call, world):
    for cells, on_the_spot in {8: True, 9: False}.items():
        world.cells = cells
        call(inline_cells_max=8)
        assert world.steps[-1] == ("answer", on_the_spot)


@pytest.mark.parametrize("blocking", [False, True])
def test_as_many_large_answers_are_made_at_once_as_there_are_threads(world, blocking):
    """Otherwise finished answers wait in memory for the event loop, one for each client."""
    world.cells, world.blocking = 10**6, blocking
    futures = []

    class Pool:
        def submit(self, _work, *_arguments):
            futures.append(Future())
            return futures[-1]

    async def read_body(_limit, *, counted=False):
        return b"{}"

    async def ask():
        insights = build(world, Pool(), threads=2)
        asked = [asyncio.create_task(insights.totals(REQUEST, read_body)) for _ in range(5)]
        for done in range(5):
            for _ in range(20):  # more turns of the event loop than a request needs
                await asyncio.sleep(0)
            assert len(futures) == min(done + 2, 5)
            answer = b"x"
            futures[done].set_result(
                (world.prepare(0, 0, user_id=0), answer) if blocking else answer
            )
        assert [(await each).body for each in asked] == [b"x"] * 5

    asyncio.run(ask())


class SlowStores:
    """Counters and Tweets whose every read waits until the test releases it."""

    name, blocking = "slow", True

    def __init__(self):
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.threads = []

    def _wait(self):
        self.threads.append(threading.current_thread())
        self.entered.set()
        assert self.go_on.wait(PATIENCE_S)

    def read_tweets(self, tweet_ids):
        self._wait()
        return {each: Tweet(each, 7, int(NOW_S), deleted=False) for each in tweet_ids}

    def read_totals(self, tweet_ids, types):
        self._wait()
        return np.ones((len(tweet_ids), len(types)), np.int64)


def test_the_event_loop_stays_free_while_a_store_blocks(world):
    stores = SlowStores()
    query = Query(
        Stores(stores, stores),
        lambda accounts: dict.fromkeys(accounts, False),
        blocking=False,
        settings=Settings(),
        now_s=lambda: NOW_S,
    )
    group_by = {"group_by": ["engagement.type"]}
    body = {"tweet_ids": ["1"], "engagement_types": ["favorites"], "groupings": {"all": group_by}}

    async def read_body(_limit, *, counted):
        return json.dumps(body).encode()

    async def call():
        with ThreadPoolExecutor(1) as pool:
            insights = Insights(
                RequestAuthenticator(world, None),
                query,
                meter=world,
                settings=Settings(),
                pool=pool,
            )
            answer = asyncio.create_task(insights.totals(REQUEST, read_body))
            # The event loop keeps running while the read waits.
            assert await asyncio.to_thread(stores.entered.wait, PATIENCE_S)
            assert not answer.done()
            stores.go_on.set()
            return await answer

    reply = asyncio.run(call())
    assert json.loads(reply.body) == {"all": {"favorites": "1"}}
    assert len(stores.threads) == 2
    assert threading.main_thread() not in stores.threads


def test_an_unavailable_store_is_reported_and_metered(call, world):
    world.fails = {"prepare": StoreUnavailable("remote", "connection refused by 10.0.0.3")}
    error = refused(call)
    assert (error.status, error.code) == (503, "store_unavailable")
    assert error.headers.items() >= {"retry-after": "1", **rate_headers([MINUTE])}.items()
    assert not any("10.0.0.3" in text for text in error.texts)
    assert world.counted == [(5, "store_unavailable")]


# --- refusals ------------------------------------------------------------------------------------


def test_without_a_known_app_the_headers_show_an_unused_limit():
    assert default_headers(5, lambda: NOW_S) == rate_headers([RateWindow(5, 0, 1_800_000_060)])


@pytest.mark.parametrize("step", ["authenticate_head", "enforce_limits"])
def test_an_error_before_authentication_has_no_rate_limit_headers(call, world, step):
    world.fails = {step: InvalidSignature()}
    error = refused(call)
    assert isinstance(error, InvalidSignature)
    assert dict(error.headers) == {}


def test_an_error_after_authentication_has_the_apps_rate_limit_headers(call, world):
    world.fails = {"prepare": InvalidField("x: y")}
    assert dict(refused(call).headers) == rate_headers([MINUTE])


def test_an_error_keeps_its_own_headers(call, world):
    world.fails = {"prepare": ApiError("x", headers={"retry-after": "3"})}
    assert refused(call).headers["retry-after"] == "3"


@pytest.mark.parametrize("step", ["authenticate_head", "enforce_limits"])
def test_no_body_is_read_before_authentication_and_limits(call, world, step):
    world.fails = {step: InvalidSignature()}
    refused(call)
    assert "read" not in [step for step, *_ in world.steps]


def test_an_authenticated_body_may_have_the_whole_limit_and_is_counted(call, world):
    call(body_max_bytes=100_000)
    assert world.steps[2] == ("read", 100_000, True)


@pytest.mark.parametrize(("most", "limit"), [(100_000, 16_384), (1024, 1024)])
def test_a_form_that_authenticates_the_request_is_small(call, world, most, limit):
    """Strangers may send one over every connection."""
    world.whole = True
    call(body=b"oauth_signature=x", body_max_bytes=most)
    assert [step[:2] for step in world.steps[:4]] == [
        ("authenticate_head", b""),
        ("read", limit),
        ("authenticate", b"oauth_signature=x"),
        ("enforce_limits", 7),
    ]
    assert world.steps[1][2] is False


@pytest.mark.parametrize(
    ("body", "again"),
    [(b"a=b", True), (b"{}&oauth_token", True), (b"{}", False), (b'{"tweet_ids":["1"]}', False)],
)
def test_a_form_is_authenticated_again_if_it_may_hold_parameters(call, world, body, again):
    """Its head alone is authentic, but the body may contradict it."""
    call(body=body, request=FORM)
    assert (("authenticate", body) in world.steps) is again


def test_a_contradicting_form_is_refused(call, world):
    world.fails = {"authenticate": MalformedAuthorization("oauth_token is given twice")}
    assert isinstance(refused(call, body=b"oauth_token=x", request=FORM), MalformedAuthorization)


def test_authentication_precedes_parsing(call, world):
    world.fails = {"enforce_limits": NonceUsed(), "prepare": InvalidField("x: y")}
    assert isinstance(refused(call, body=b"rubbish"), NonceUsed)
    assert [step for step, *_ in world.steps] == ["authenticate_head", "enforce_limits"]


@pytest.mark.parametrize(
    "windows",
    [
        [RateWindow(60, 61, 1_800_000_060)],
        [RateWindow(60, 61, 1_800_000_060), SECOND],
        [MINUTE, RateWindow(2, 3, 1_800_000_001)],
    ],
)
def test_rate_limits_precede_parsing(call, world, windows):
    world.windows = windows
    world.fails = {"prepare": InvalidField("x: y")}
    error = refused(call)
    assert isinstance(error, RateLimited)
    assert dict(error.headers) == rate_headers(windows)
    assert "0" in {error.headers["x-per-minute-remaining"], error.headers["x-per-second-remaining"]}


def test_the_last_request_of_a_window_is_served(call, world):
    world.windows = [RateWindow(60, 60, 1_800_000_060)]
    reply = call()
    assert (reply.status, reply.headers["x-per-minute-remaining"]) == (200, "0")


# --- usage ---------------------------------------------------------------------------------------


def test_an_answer_is_metered_with_the_authors_it_served(call, world):
    call()
    assert world.counted == [(5, "ok", [7, 8])]


@pytest.mark.parametrize(
    ("step", "error", "reason"),
    [
        ("enforce_limits", AppNotEnabled(), "app_not_enabled"),
        ("enforce_limits", AppNotEnabled(suspended=True), "app_suspended"),
        ("read", BodyTooLarge("x"), "body_too_large"),
        ("prepare", InvalidField("x"), "invalid_field"),
        ("answer", OSError("disk"), "internal_error"),
    ],
)
def test_an_error_is_metered_by_its_code(call, world, step, error, reason):
    world.fails[step] = error
    with pytest.raises(type(error)):
        call()
    assert world.counted == [(5, reason)]


def test_rate_limited_requests_are_metered(call, world):
    world.windows = [RateWindow(5, 6, 60)]
    assert isinstance(refused(call), RateLimited)
    assert world.counted == [(5, "rate_limited")]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("authenticate_head", InvalidSignature()),
        ("enforce_limits", NonceUsed()),  # anybody who saw a request can repeat it
    ],
)
def test_unauthenticated_requests_are_not_metered(call, world, step, error):
    world.fails[step] = error
    refused(call)
    assert world.counted == []
