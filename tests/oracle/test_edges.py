"""Cases that random worlds leave out: early events, reads during writes, routes and methods."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
import requests

from oracle import wire
from oracle.generator import OWNER_IDS
from oracle.request_maker import ApiRequest
from oracle.server import Server
from support.waiting import PATIENCE_S

OWNER_ID = OWNER_IDS[0]
TWEET_IDS = count(500_000_001)


@pytest.fixture
def tweet_id(server: Server) -> str:
    """Register a Tweet for one test."""
    made = str(next(TWEET_IDS))
    register_tweets(server, [made])
    return made


def register_tweets(server: Server, tweet_ids: list[str]) -> None:
    """Register Tweets of one owner."""
    created_at = wire.show_time(datetime.now(UTC) - 2 * wire.DAY)
    fixed = {"author_id": str(OWNER_ID), "created_at": created_at}
    records = [{"id": tweet_id, **fixed} for tweet_id in tweet_ids]
    answer = server.send("tweets", json.dumps(records).encode(), "json")
    assert answer.json()["accepted"] == len(tweet_ids)


def send_event(server: Server, tweet_id: str, at: datetime, number: int = 1) -> dict[str, Any]:
    """Send one event, and return the parsed answer."""
    event = {"tweet_id": tweet_id, "type": "favorites", "at": wire.show_time(at), "count": number}
    answer = server.send("events", json.dumps([event]).encode(), "json")
    refused = requests.codes.unprocessable_entity  # the only line was rejected
    assert answer.status_code in {requests.codes.ok, refused}, answer.text
    reply: dict[str, Any] = answer.json()
    return reply


def read_count(server: Server, endpoint: str, tweet_id: str) -> int:
    """Read the favorites of a Tweet as its owner, from two groupings that must agree."""
    timed = [wire.ON_DAY, wire.AT_HOUR] if endpoint != "totals" else [wire.TYPE]
    body = {
        "tweet_ids": [tweet_id],
        "engagement_types": ["favorites"],
        "groupings": {"one": {"group_by": [wire.TWEET]}, "parts": {"group_by": timed}},
    }
    answer = server.request(ApiRequest(endpoint, "user", OWNER_ID, body, json.dumps(body).encode()))
    assert answer.status_code == requests.codes.ok, answer.text
    reply = answer.json()
    whole = int(reply["one"][tweet_id])
    assert whole == sum(leaves(reply["parts"]))
    return whole


def leaves(tree: Any) -> Iterator[int]:
    """Yield the counts of a grouping."""
    if isinstance(tree, dict):
        for inner in tree.values():
            yield from leaves(inner)
    else:
        yield int(tree)


def test_event_of_a_fast_clock_is_accepted(server: Server, tweet_id: str) -> None:
    """Events of a clock that runs a little ahead count in their hour."""
    now = datetime.now(UTC)
    ahead = min(now + timedelta(minutes=1), wire.ceil_hour(now) - timedelta(seconds=1))
    assert send_event(server, tweet_id, ahead, 3)["accepted"] == 1
    assert [read_count(server, endpoint, tweet_id) for endpoint in wire.ENDPOINTS] == [3, 3, 3]


def test_event_some_hours_ahead_is_not_counted_yet(server: Server, tweet_id: str) -> None:
    """Totals end now: a future event is rejected, or does not count yet on any endpoint."""
    send_event(server, tweet_id, datetime.now(UTC) + timedelta(hours=5))
    assert [read_count(server, endpoint, tweet_id) for endpoint in wire.ENDPOINTS] == [0, 0, 0]


def test_event_more_than_a_day_ahead_is_rejected(server: Server, tweet_id: str) -> None:
    """Such an event is rejected."""
    reply = send_event(server, tweet_id, datetime.now(UTC) + timedelta(hours=25))
    assert (reply["accepted"], reply["rejected"]) == (0, 1)


def test_totals_and_hours_agree_while_writes_run(server: Server, tweet_id: str) -> None:
    """If counts only grow, hours that are read between two totals are between them."""
    until = time.monotonic() + 1.5
    base = datetime.now(UTC) - timedelta(hours=20)

    def keep_sending(sender: int) -> int:
        sent = 0
        while not sent or time.monotonic() < until:
            sent += send_event(server, tweet_id, base + (sent + sender) % 20 * wire.HOUR)[
                "accepted"
            ]
        return sent

    with ThreadPoolExecutor(2) as pool:
        senders = [pool.submit(keep_sending, sender) for sender in range(2)]
        while time.monotonic() < until:
            first = read_count(server, "totals", tweet_id)
            for endpoint in ("28hr", "historical"):
                hours = read_count(server, endpoint, tweet_id)
                second = read_count(server, "totals", tweet_id)
                assert first <= hours <= second
                first = second
        sent = sum(sender.result() for sender in senders)
    assert sent > 0
    assert [read_count(server, endpoint, tweet_id) for endpoint in wire.ENDPOINTS] == [sent] * 3


def test_unknown_route_is_404_without_a_body(server: Server) -> None:
    """The route is checked before the credentials."""
    answer = requests.post(server.url + "/insights/engagement/nothing", timeout=PATIENCE_S)
    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize("endpoint", wire.ENDPOINTS)
def test_other_methods_are_405(server: Server, endpoint: str) -> None:
    """The method is checked before the credentials, and the answer names the right one."""
    path = f"/insights/engagement/{endpoint}"
    answer = requests.get(server.url + path, timeout=PATIENCE_S)
    assert (answer.status_code, answer.text) == (405, f"GET is not allowed on path {path}")
    assert "POST" in answer.headers["Allow"]


def test_batches_sent_at_once_keep_their_types(server: Server) -> None:
    """Batches that are committed together do not affect each other."""
    rng = random.Random(7)
    types = [name for name in wire.TIMED_TYPES if name != "engagements"]
    tweet_ids = [str(next(TWEET_IDS)) for _ in range(60)]
    at = wire.show_time(datetime.now(UTC) - wire.DAY)
    register_tweets(server, tweet_ids)
    sent = {
        tweet_id: Counter({kind: rng.randint(1, 9) for kind in rng.sample(types, 5)})
        for tweet_id in tweet_ids
    }
    bodies = [
        json.dumps(
            [
                {"tweet_id": tweet_id, "type": kind, "at": at, "count": number}
                for kind, number in counts.items()
                for _ in range(20)
            ]
        ).encode()
        for tweet_id, counts in sent.items()
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: server.send("events", body, "json"), bodies))
    assert {answer.json()["accepted"] for answer in answers} == {100}
    wrong = {}
    for some in (tweet_ids[:20], tweet_ids[20:40], tweet_ids[40:]):
        body = {
            "tweet_ids": some,
            "engagement_types": types,
            "groupings": {"g": {"group_by": [wire.TWEET, wire.TYPE]}},
        }
        answer = server.request(
            ApiRequest("28hr", "user", OWNER_ID, body, json.dumps(body).encode())
        )
        for tweet_id, counts in answer.json()["g"].items():
            found = {kind: int(number) for kind, number in counts.items() if number != "0"}
            if found != {kind: 20 * number for kind, number in sent[tweet_id].items()}:
                wrong[tweet_id] = (sent[tweet_id], found)
    assert not wrong, f"{len(wrong)} of {len(sent)}: {dict(list(wrong.items())[:2])}"
