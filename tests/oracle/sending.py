"""Sending a world to the server the way a platform would, and judging what it answers."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from oracle import wire
from oracle.bodies import FORMATS, write_body
from oracle.generator import Batch, Phase
from oracle.model import Said
from oracle.server import Server, screen_name

SENDERS = 4
NAMED_MAX = 100


def tell(server: Server, rng: random.Random, phase: Phase) -> list[str]:
    """Send a phase the way a platform would; name every answer that is not as foretold."""
    wrong = send_records(
        server, rng, "accounts", [account_record(rng, *one) for one in phase.accounts]
    )
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
    return wrong + send_tweets(server, rng, phase.tweets_again)


def account_record(rng: random.Random, account_id: int, protected: bool | None) -> dict[str, Any]:
    """Write an account down."""
    record = {"id": str(account_id), "screen_name": screen_name(account_id)}
    return record | write_said(rng, {"protected": protected})


def tweet_record(rng: random.Random, tweet_id: int, said: Said) -> dict[str, Any]:
    """Write down what is said of a Tweet."""
    created_at = None if said.created_at is None else wire.show_time(said.created_at)
    fields = {"created_at": created_at, "video_id": said.video_id, "deleted": said.deleted}
    record = {"id": str(tweet_id), "author_id": str(said.author_id)}
    return record | write_said(rng, fields)


def write_said(rng: random.Random, fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not said, or make it null."""
    return {
        name: value for name, value in fields.items() if value is not None or rng.random() < 0.3
    }


def send_tweets(server: Server, rng: random.Random, rows: list[tuple[int, Said]]) -> list[str]:
    """Register Tweets in a few bodies of different formats, one bad line among them."""
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
    wrong: list[str] = []
    counted, owed = Counter[str](), dict[str, int]()
    for batch, answer in zip(sendings, answers, strict=True):
        difference = find_wrong_answer(batch, answer)
        if difference is not None:
            wrong.append(f"batch {batch.key} as {batch.form}, {batch.encoding}: {difference}")
        elif answer.ok and batch.key is not None:
            counted[batch.key] += not answer.json()["duplicate"]
            owed[batch.key] = int(not batch.sent_before)
    return wrong + [
        f"batch {key} was counted {counted[key]} times, not {times}"
        for key, times in owed.items()
        if counted[key] != times
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
        expected_one = batch.times_sent > 1 or batch.sent_before
        return None if expected_one else "a first sending is called a duplicate"
    good, bad = len(batch.lines) - len(faults), len(faults)
    named = dict(list(faults.items())[:NAMED_MAX])
    reasons = {one["line"]: one["reason"] for one in said["rejections"]}
    as_foretold = (
        (said["accepted"], said["rejected"], len(reasons)) == (good, bad, len(named))
        and sum(said["reasons"].values()) == bad
        and said["reasons"].get("unknown_type", 0) == list(faults.values()).count("unknown type")
    )
    if as_foretold and batch.form == "ndjson":  # elsewhere the first line's number is not fixed
        as_foretold = set(reasons) == set(named) and all(
            (reasons[n] == "unknown_type") == (fault == "unknown type")
            for n, fault in named.items()
        )
    return None if as_foretold else f"faults {faults}: {heard}"
