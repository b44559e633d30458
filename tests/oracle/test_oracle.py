"""The server answers like the model: random worlds, random requests, whole answers compared."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import requests

from oracle import wire
from oracle.compare import find_difference
from oracle.generator import OWNER_IDS, Size, World, apply_phase, make_world, new_model
from oracle.invalid_requests import make_request
from oracle.model import Answer, Model
from oracle.request_maker import ApiRequest, RequestMaker
from oracle.sending import send_phase
from oracle.server import Server

CLIENTS = 4
SEEDS = int(os.environ.get("ORACLE_SEEDS", "10"))
CACHE_TTL_S = 1.2
WINDOWS = 75  # of four weeks each: they reach back before the oldest event of any world


def utc_now() -> datetime:
    """Read the clock that the server uses."""
    return datetime.now(UTC)


def moments(before: datetime, after: datetime) -> Iterator[datetime]:
    """Yield the times that the server may have used as now, one per second."""
    yield before
    second = before.replace(microsecond=500_000)
    while second < after:
        if second > before:
            yield second
        second += timedelta(seconds=1)
    yield after


def check_request(server: Server, model: Model, request: ApiRequest) -> str | None:
    """Send a request to the server and the model, and describe the difference."""
    before = utc_now()
    answer = server.request(request)
    after = utc_now()
    fault = find_wrong_headers(request, answer)
    if fault is not None:
        return describe(request, fault)
    try:
        body = answer.json()
    except ValueError:
        return describe(request, f"{answer.status_code}, no JSON: {answer.text[:300]}")
    difference: str | None = None
    for now in moments(before, after):
        difference = find_difference(expected(model, request, now), answer.status_code, body)
        if difference is None:
            return None
    return describe(request, str(difference))


def find_wrong_headers(request: ApiRequest, answer: requests.Response) -> str | None:
    """Check the headers that every answer must have."""
    required = [*wire.RATE_HEADERS, "x-request-id", *(["x-error-code"] if not answer.ok else [])]
    missing = [name for name in required if name not in answer.headers]
    if missing:
        return f"{answer.status_code} without the headers {missing}"
    if not re.fullmatch("[a-z0-9_]+", answer.headers.get("x-error-code", "none")):
        return f"x-error-code {answer.headers['x-error-code']}"
    encoding = answer.headers.get("Content-Encoding")
    gzip_accepted = "gzip" in request.headers.get("Accept-Encoding", "gzip")
    if (encoding == "gzip") != gzip_accepted:
        return f"{answer.status_code} with Content-Encoding {encoding}"
    kind = answer.headers.get("Content-Type", "")
    return None if kind.startswith("application/json") else f"Content-Type {kind}"


def expected(model: Model, request: ApiRequest, now: datetime) -> Answer:
    """Compute the model's answer."""
    return model.answer(request.endpoint, request.caller(), request.raw, now)


def describe(request: ApiRequest, difference: str) -> str:
    """Describe a request and the difference of its answer."""
    who = f"{request.endpoint} as {request.auth} of {request.owner_id}"
    return f"{who} {request.headers} {request.raw[:1200]!r}\n    {difference}"


def check_world(
    server: Server, seed: int, size: Size, *, request_count: int, killed_between: bool = False
) -> list[str]:
    """Make a world, send it in two phases, and check requests about it after each phase."""
    world = make_world(seed, utc_now(), size)
    model, wrong = new_model(), list[str]()
    cells_max = 4_000 if size == Size() else 200_000
    for number, phase in enumerate(world.phases):
        apply_phase(model, phase)
        begun = time.monotonic()
        wrong += send_phase(server, random.Random(f"send {seed} {number}"), phase)
        if killed_between:
            server.kill_and_restart()
        else:  # caches of accounts may be this old; accounts change first in a phase
            spent = 0 if phase.deletions else time.monotonic() - begun
            time.sleep(max(0, CACHE_TTL_S - spent))
        maker = RequestMaker(world, seed * 10 + number, cells_max=cells_max)
        api_requests = [make_request(maker) for _ in range(request_count)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            wrong += filter(None, pool.map(partial(check_request, server, model), api_requests))
    return wrong + find_unequal_sums(server, world)


def find_unequal_sums(server: Server, world: World) -> list[str]:
    """Compare `/totals` with the sum of `/historical` over windows that cover all events."""
    types = ["favorites", "retweets", "replies"]
    ids = [t for t, (tweet, _) in world.tweets.items() if tweet.author_id == OWNER_IDS[0]][:25]
    now, sums = utc_now(), Counter[tuple[str, str]]()
    grouped = {"g": {"group_by": [wire.TWEET, wire.TYPE]}}
    body: dict[str, Any] = {"tweet_ids": ids, "engagement_types": types, "groupings": grouped}
    last = wire.ceil_hour(now)
    for weeks in range(4, 4 * WINDOWS + 1, 4):
        start = last - weeks * 7 * wire.DAY
        window = {"start": wire.show_time(start), "end": wire.show_time(start + wire.FOUR_WEEKS)}
        for tweet_id, counts in fetch(server, "historical", {**body, **window}).items():
            sums.update({(tweet_id, name): int(count) for name, count in counts.items()})
    totals = fetch(server, "totals", body)
    return [
        f"totals of {tweet_id} {name}: {count}, sum of its hours {sums[tweet_id, name]}"
        for tweet_id, counts in totals.items()
        for name, count in counts.items()
        if sums[tweet_id, name] != int(count)
    ]


def fetch(server: Server, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
    """Request one grouping named `g` as an owner."""
    answer = server.request(
        ApiRequest(endpoint, "user", OWNER_IDS[0], body, json.dumps(body).encode())
    )
    answer.raise_for_status()
    grouped: dict[str, Any] = answer.json()["g"]
    return grouped


def report(wrong: list[str]) -> str:
    """Show the first few differences."""
    return f"{len(wrong)} differences\n" + "\n".join(wrong[:12])


@pytest.mark.parametrize("seed", [1, 2])
def test_server_agrees_with_model(server: Server, seed: int) -> None:
    """Every answer over HTTP equals the model's, in two small worlds."""
    wrong = check_world(server, seed, Size(), request_count=60)
    assert not wrong, report(wrong)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(100, 100 + SEEDS))
def test_server_agrees_with_model_at_length(server: Server, seed: int) -> None:
    """Every answer equals the model's in larger worlds, with the server killed between phases."""
    size = Size(tweets=400, events=10_000, batch_max=1500)
    wrong = check_world(server, seed, size, request_count=250, killed_between=True)
    assert not wrong, report(wrong)
