"""The server against the model: random worlds, random questions, every answer compared whole."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from oracle import wire
from oracle.asking import Ask, Asker
from oracle.bodies import FORMATS, write_body
from oracle.breaking import make_ask
from oracle.compare import find_difference
from oracle.generator import Batch, Phase, World, feed, make_world, new_model
from oracle.model import Answer, Model, Tweet
from oracle.server import Server, missing_headers, screen_name

SENDERS = 4
SEEDS = int(os.environ.get("ORACLE_SEEDS", "10"))
CACHES_ARE_OLD_AFTER_S = 1.2
WINDOWS = 75  # of four weeks, back to before the oldest event of any world


def utc_now() -> datetime:
    """Read the clock the server reads."""
    return datetime.now(UTC)


# Sending.


def tell(server: Server, rng: random.Random, phase: Phase) -> list[str]:
    """Send a phase the way a platform would; name every answer that is not as foretold."""
    wrong = send_records(server, rng, "accounts", [account_record(*one) for one in phase.accounts])
    wrong += send_tweets(server, rng, phase.tweets)
    sendings = [batch for batch in phase.batches for _ in range(batch.times_sent)]
    rng.shuffle(sendings)
    with ThreadPoolExecutor(SENDERS) as pool:
        late = pool.submit(send_tweets, server, random.Random(rng.random()), phase.late_tweets)
        answers = list(pool.map(server.send_batch, sendings))
        wrong += late.result()
    wrong += find_wrong_answers(sendings, answers)
    for tweet_id in phase.deletions:
        answer = server.delete_tweet(tweet_id)
        if not answer.ok:
            wrong.append(f"delete {tweet_id}: {answer.status_code} {answer.text[:200]}")
    return wrong


def account_record(account_id: int, protected: bool) -> dict[str, Any]:
    """Write an account down."""
    return {"id": str(account_id), "screen_name": screen_name(account_id), "protected": protected}


def tweet_record(tweet_id: int, tweet: Tweet, given: bool) -> dict[str, Any]:
    """Write a Tweet down; its time only where its id does not tell it."""
    record: dict[str, Any] = {"id": str(tweet_id), "author_id": str(tweet.author_id)}
    if given:
        record["created_at"] = wire.show_time(tweet.created_at)
    if tweet.video_id is not None:
        record["video_id"] = tweet.video_id
    if tweet.deleted:
        record["deleted"] = True
    return record


def send_tweets(
    server: Server, rng: random.Random, rows: list[tuple[int, Tweet, bool]]
) -> list[str]:
    """Register Tweets in a few bodies of different formats, one bad line among them."""
    rows, wrong = list(rows), []
    while rows:
        size = rng.randint(1, len(rows))
        wrong += send_records(server, rng, "tweets", [tweet_record(*row) for row in rows[:size]])
        del rows[:size]
    return wrong


def send_records(
    server: Server, rng: random.Random, what: str, records: list[dict[str, Any]]
) -> list[str]:
    """Send accounts or Tweets, sometimes with a bad one that must be handed back."""
    if not records:
        return []
    bad = rng.random() < 0.3
    sent = [*records, {**records[0], "id": "none"}] if bad else records
    form = rng.choice(FORMATS)
    answer = server.send(what, write_body(rng, sent, form), form)
    said = answer.json() if answer.ok else {}
    if (said.get("accepted"), said.get("rejected")) == (len(records), int(bad)):
        return []
    sizes = f"{len(records)} good, {int(bad)} bad"
    return [f"{what} as {form}, {sizes}: {answer.status_code} {answer.text[:300]}"]


def find_wrong_answers(sendings: list[Batch], answers: list[requests.Response]) -> list[str]:
    """Check what each sending was answered, and that just one sending of a batch was counted."""
    wrong, counted = [], Counter[str]()
    for batch, answer in zip(sendings, answers, strict=True):
        difference = find_wrong_answer(batch, answer)
        if difference is not None:
            wrong.append(f"batch {batch.key} as {batch.form}, {batch.encoding}: {difference}")
        elif answer.ok and batch.key is not None:
            counted[batch.key] += not answer.json()["duplicate"]
    return wrong + [
        f"batch {key} was counted {times} times" for key, times in counted.items() if times != 1
    ]


def find_wrong_answer(batch: Batch, answer: requests.Response) -> str | None:
    """Compare the answer to one sending with what its lines deserve."""
    faults = {
        number: line.fault for number, line in enumerate(batch.lines, 1) if line.event is None
    }
    heard = f"{answer.status_code} {answer.text[:1500]}"
    if batch.atomic and faults:
        return None if 400 <= answer.status_code < 500 else f"atomic with bad lines: {heard}"
    if not answer.ok:
        return heard
    said = answer.json()
    if said["duplicate"]:
        return None if batch.times_sent > 1 else "a first sending is called a duplicate"
    if (said["accepted"], said["rejected"]) != (len(batch.lines) - len(faults), len(faults)):
        return f"faults {faults}: {heard}"
    if batch.form != "ndjson":
        return None
    reasons = {one["line"]: one["reason"] for one in said["rejections"]}
    named_well = all(
        (reasons.get(n) == "unknown_type") == (fault == "unknown type")
        for n, fault in faults.items()
    )
    return None if set(reasons) == set(faults) and named_well else f"faults {faults}: {heard}"


# Asking.


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
    missing = missing_headers(answer)
    if missing:
        return describe(ask, f"headers missing: {missing}")
    gzip_taken = "gzip" in ask.headers.get("Accept-Encoding", "gzip")
    if (answer.headers.get("Content-Encoding") == "gzip") != gzip_taken:
        return describe(ask, f"Content-Encoding {answer.headers.get('Content-Encoding')}")
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


def expected(model: Model, ask: Ask, now: datetime) -> Answer:
    """Let the model answer."""
    return model.answer(ask.endpoint, ask.caller(), ask.raw, now)


def describe(ask: Ask, difference: str) -> str:
    """Say what was asked and what came wrong."""
    who = f"{ask.endpoint} as {ask.auth} of {ask.owner_id}"
    return f"{who} {ask.headers} {ask.raw[:1200]!r}\n    {difference}"


def find_all_wrong(server: Server, seed: int, asks: int, **sizes: int) -> list[str]:
    """Build a world, send it in two phases, and ask about it after each."""
    world = make_world(seed, utc_now(), **sizes)
    model, wrong = new_model(), list[str]()
    for number, phase in enumerate(world.phases):
        feed(model, phase)
        wrong += tell(server, random.Random(f"send {seed} {number}"), phase)
        if number:
            time.sleep(CACHES_ARE_OLD_AFTER_S)
        asker = Asker(world, seed * 10 + number, cells_max=200_000 if asks > 200 else 4_000)
        for _ in range(asks):
            wrong += filter(None, [find_wrong(server, model, make_ask(asker))])
    return wrong + find_unequal_sums(server, world)


def find_unequal_sums(server: Server, world: World) -> list[str]:
    """Compare `/totals` with the sum of `/historical` over windows that reach all events."""
    types = ["favorites", "retweets", "replies"]
    ids = [t for t, (tweet, _) in world.tweets.items() if tweet.author_id == 9001][:25]
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
    answer = server.ask(Ask(endpoint, "user", 9001, body, json.dumps(body).encode()))
    answer.raise_for_status()
    grouped: dict[str, Any] = answer.json()["g"]
    return grouped


def report(wrong: list[str]) -> str:
    """Show the first few differences."""
    return f"{len(wrong)} differences\n" + "\n".join(wrong[:12])


@pytest.mark.parametrize("seed", [1, 2])
def test_server_agrees_with_model(server: Server, seed: int) -> None:
    """Every answer over HTTP is the model's, in two small worlds."""
    wrong = find_all_wrong(server, seed, 120, events=1200, batch_max=200)
    assert not wrong, report(wrong)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(100, 100 + SEEDS))
def test_server_agrees_with_model_at_length(server: Server, seed: int) -> None:
    """Every answer over HTTP is the model's, in many larger worlds."""
    wrong = find_all_wrong(server, seed, 300, events=8000, batch_max=1500)
    assert not wrong, report(wrong)
