"""Send a world to the server as a platform would, and check the answers."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from oracle import wire
from oracle.bodies import FORMATS, write_body
from oracle.generator import Batch, Phase
from oracle.model import TweetRow
from oracle.server import Server, screen_name

SENDERS = 4
LISTED_MAX = 100


def send_phase(server: Server, rng: random.Random, phase: Phase) -> list[str]:
    """Send a phase; describe every unexpected answer."""
    wrong = send_records(
        server, rng, "accounts", [account_record(rng, *one) for one in phase.accounts]
    )
    wrong += send_tweets(server, rng, phase.tweets)
    sent_batches = [batch for batch in phase.batches for _ in range(batch.times_sent)]
    rng.shuffle(sent_batches)
    with ThreadPoolExecutor(SENDERS) as pool:
        late = pool.submit(send_tweets, server, random.Random(rng.random()), phase.late_tweets)
        answers = list(pool.map(server.send_batch, sent_batches))
        wrong += late.result()
    wrong += find_wrong_answers(sent_batches, answers)
    for tweet_id in phase.deletions:
        answer = server.delete_tweet(tweet_id)
        if not answer.ok:
            wrong.append(f"delete {tweet_id}: {answer.status_code} {answer.text[:200]}")
    return wrong + send_tweets(server, rng, phase.later_tweets)


def account_record(rng: random.Random, account_id: int, protected: bool | None) -> dict[str, Any]:
    """Make the record of an account."""
    record = {"id": str(account_id), "screen_name": screen_name(account_id)}
    return record | write_optional(rng, {"protected": protected})


def tweet_record(rng: random.Random, tweet_id: int, row: TweetRow) -> dict[str, Any]:
    """Make the record of a row that registers a Tweet."""
    created_at = None if row.created_at is None else wire.show_time(row.created_at)
    fields = {"created_at": created_at, "video_id": row.video_id, "deleted": row.deleted}
    record = {"id": str(tweet_id), "author_id": str(row.author_id)}
    return record | write_optional(rng, fields)


def write_optional(rng: random.Random, fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out the fields without a value, or make them null."""
    return {
        name: value for name, value in fields.items() if value is not None or rng.random() < 0.3
    }


def send_tweets(server: Server, rng: random.Random, rows: list[tuple[int, TweetRow]]) -> list[str]:
    """Register Tweets in a few bodies of different formats."""
    rows, wrong = list(rows), []
    while rows:
        size = rng.randint(1, len(rows))
        wrong += send_records(
            server, rng, "tweets", [tweet_record(rng, *row) for row in rows[:size]]
        )
        del rows[:size]
    return wrong


def send_records(
    server: Server, rng: random.Random, what: str, records: list[dict[str, Any]]
) -> list[str]:
    """Send accounts or Tweets, sometimes with a bad row that must be rejected."""
    if not records:
        return []
    bad = rng.random() < 0.3
    sent = [*records, {**records[0], "id": "none"}] if bad else records
    form = rng.choice(FORMATS)
    answer = server.send(what, write_body(rng, sent, form), form)
    reply = answer.json() if answer.ok else {}
    if (reply.get("accepted"), reply.get("rejected")) == (len(records), int(bad)):
        return []
    sizes = f"{len(records)} good, {int(bad)} bad"
    return [f"{what} as {form}, {sizes}: {answer.status_code} {answer.text[:300]}"]


def find_wrong_answers(sent_batches: list[Batch], answers: list[requests.Response]) -> list[str]:
    """Check the answer to each attempt, and that a batch was counted exactly once."""
    wrong: list[str] = []
    counted, required = Counter[str](), dict[str, int]()
    for batch, answer in zip(sent_batches, answers, strict=True):
        difference = find_wrong_answer(batch, answer)
        if difference is not None:
            wrong.append(f"batch {batch.key} as {batch.form}, {batch.encoding}: {difference}")
        elif answer.ok and batch.key is not None:
            counted[batch.key] += not answer.json()["duplicate"]
            required[batch.key] = int(not batch.sent_before)
    return wrong + [
        f"batch {key} was counted {counted[key]} times, not {times}"
        for key, times in required.items()
        if counted[key] != times
    ]


def find_wrong_answer(batch: Batch, answer: requests.Response) -> str | None:
    """Compare the answer to one attempt with the expected result of its lines."""
    faults = {
        number: line.fault for number, line in enumerate(batch.lines, 1) if line.event is None
    }
    reply_text = f"{answer.status_code} {answer.text[:1500]}"
    if batch.atomic and faults:
        return None if 400 <= answer.status_code < 500 else f"atomic with bad lines: {reply_text}"
    if faults and len(faults) == len(batch.lines):
        return None if answer.status_code == 422 else f"no good line: {reply_text}"
    if not answer.ok:
        return reply_text
    reply = answer.json()
    if reply["duplicate"]:
        expected_one = batch.times_sent > 1 or batch.sent_before
        return None if expected_one else "the first attempt is called a duplicate"
    good, bad = len(batch.lines) - len(faults), len(faults)
    named = dict(list(faults.items())[:LISTED_MAX])
    reasons = {one["line"]: one["reason"] for one in reply["rejections"]}
    as_expected = (
        (reply["accepted"], reply["rejected"], len(reasons)) == (good, bad, len(named))
        and sum(reply["reasons"].values()) == bad
        and reply["reasons"].get("unknown_type", 0) == list(faults.values()).count("unknown type")
    )
    if as_expected and batch.form == "ndjson":  # other formats may number lines differently
        as_expected = set(reasons) == set(named) and all(
            (reasons[n] == "unknown_type") == (fault == "unknown type")
            for n, fault in named.items()
        )
    return None if as_expected else f"faults {faults}: {reply_text}"
