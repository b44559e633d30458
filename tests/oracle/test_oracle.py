"""The server against the model: random worlds, random questions, every answer compared whole."""

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
from oracle.asking import Ask, Asker
from oracle.breaking import make_ask
from oracle.compare import find_difference
from oracle.generator import OWNER_IDS, Size, World, feed, make_world, new_model
from oracle.model import Answer, Model
from oracle.sending import tell
from oracle.server import Server

ASKERS = 4
SEEDS = int(os.environ.get("ORACLE_SEEDS", "10"))
CACHES_ARE_OLD_AFTER_S = 1.2
WINDOWS = 75  # of four weeks, back to before the oldest event of any world


def utc_now() -> datetime:
    """Read the clock the server reads."""
    return datetime.now(UTC)


def moments(before: datetime, after: datetime) -> Iterator[datetime]:
    """Give the times the server may have taken for now: the shown second is its own."""
    yield before
    second = before.replace(microsecond=500_000)
    while second < after:
        if second > before:
            yield second
        second += timedelta(seconds=1)
    yield after


def find_wrong(server: Server, model: Model, ask: Ask) -> str | None:
    """Ask the server and the model, and name the difference."""
    before = utc_now()
    answer = server.ask(ask)
    after = utc_now()
    strange = find_strange_headers(ask, answer)
    if strange is not None:
        return describe(ask, strange)
    try:
        body = answer.json()
    except ValueError:
        return describe(ask, f"{answer.status_code}, no JSON: {answer.text[:300]}")
    difference: str | None = None
    for now in moments(before, after):
        difference = find_difference(expected(model, ask, now), answer.status_code, body)
        if difference is None:
            return None
    return describe(ask, str(difference))


def find_strange_headers(ask: Ask, answer: requests.Response) -> str | None:
    """Check the headers every answer owes."""
    owed = [*wire.RATE_HEADERS, "x-request-id", *(["x-error-code"] if not answer.ok else [])]
    missing = [name for name in owed if name not in answer.headers]
    if missing:
        return f"{answer.status_code} without the headers {missing}"
    if not re.fullmatch("[a-z0-9_]+", answer.headers.get("x-error-code", "none")):
        return f"x-error-code {answer.headers['x-error-code']}"
    encoding = answer.headers.get("Content-Encoding")
    gzip_taken = "gzip" in ask.headers.get("Accept-Encoding", "gzip")
    if (encoding == "gzip") != gzip_taken:
        return f"{answer.status_code} with Content-Encoding {encoding}"
    kind = answer.headers.get("Content-Type", "")
    return None if kind.startswith("application/json") else f"Content-Type {kind}"


def expected(model: Model, ask: Ask, now: datetime) -> Answer:
    """Let the model answer."""
    return model.answer(ask.endpoint, ask.caller(), ask.raw, now)


def describe(ask: Ask, difference: str) -> str:
    """Say what was asked and what came wrong."""
    who = f"{ask.endpoint} as {ask.auth} of {ask.owner_id}"
    return f"{who} {ask.headers} {ask.raw[:1200]!r}\n    {difference}"


def find_all_wrong(
    server: Server, seed: int, size: Size, *, asks: int, killed_between: bool = False
) -> list[str]:
    """Build a world, send it in two phases, and ask about it after each."""
    world = make_world(seed, utc_now(), size)
    model, wrong = new_model(), list[str]()
    cells_max = 4_000 if size == Size() else 200_000
    for number, phase in enumerate(world.phases):
        feed(model, phase)
        begun = time.monotonic()
        wrong += tell(server, random.Random(f"send {seed} {number}"), phase)
        if killed_between:
            server.kill_and_start_again()
        else:  # accounts change first, deletions come last
            spent = 0 if phase.deletions else time.monotonic() - begun
            time.sleep(max(0, CACHES_ARE_OLD_AFTER_S - spent))
        asker = Asker(world, seed * 10 + number, cells_max=cells_max)
        questions = [make_ask(asker) for _ in range(asks)]
        with ThreadPoolExecutor(ASKERS) as pool:
            wrong += filter(None, pool.map(partial(find_wrong, server, model), questions))
    return wrong + find_unequal_sums(server, world)


def find_unequal_sums(server: Server, world: World) -> list[str]:
    """Compare `/totals` with the sum of `/historical` over windows that reach all events."""
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
    """Ask as an owner for one grouping named `g`."""
    answer = server.ask(Ask(endpoint, "user", OWNER_IDS[0], body, json.dumps(body).encode()))
    answer.raise_for_status()
    grouped: dict[str, Any] = answer.json()["g"]
    return grouped


def report(wrong: list[str]) -> str:
    """Show the first few differences."""
    return f"{len(wrong)} differences\n" + "\n".join(wrong[:12])


@pytest.mark.parametrize("seed", [1, 2])
def test_server_agrees_with_model(server: Server, seed: int) -> None:
    """Every answer over HTTP is the model's, in two small worlds."""
    wrong = find_all_wrong(server, seed, Size(), asks=60)
    assert not wrong, report(wrong)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(100, 100 + SEEDS))
def test_server_agrees_with_model_at_length(server: Server, seed: int) -> None:
    """Every answer is the model's in larger worlds, though the server is killed in between."""
    size = Size(tweets=400, events=10_000, batch_max=1500)
    wrong = find_all_wrong(server, seed, size, asks=250, killed_between=True)
    assert not wrong, report(wrong)
