"""SIGKILL while batches arrive over HTTP: acknowledged batches count completely and once."""

import os
import random
import signal
import threading
import time
from functools import partial

import pytest

from faults.counting import Batch, Span, check_counts, read_hours, write_tweets
from faults.crashing import Producers, open_session
from support.waiting import wait_for

PRODUCERS = 4
HOT = 1  # the Tweet that every batch of the retrying producers touches
FIRST_OWN = 10
OWN_TWEETS = 40_000


class Stream:
    """Makes batches with distinct Tweets, and remembers what was sent."""

    def __init__(self, seed):
        self.span = Span()
        self.sent = {}  # key -> batch
        self.acknowledged = set()
        self._next = FIRST_OWN
        self._lock = threading.Lock()
        self._chance = random.Random(seed)

    @property
    def is_used_up(self):
        """Whether nearly all Tweets have events."""
        return self._next + 100 > OWN_TWEETS

    def make(self, *, own, hot=False):
        with self._lock:
            number = len(self.sent)
            if hot and self.is_used_up:  # on a fast machine
                own = 0
            first, self._next = self._next, self._next + own
            assert self._next < OWN_TWEETS
            ids = [*range(first, first + own), *([HOT] if hot else [])]
            # Most batches are small, so that many are in progress; some make a commit slow.
            lines = 1500 if number % 10 == 9 else self._chance.randint(4, 40)
            batch = Batch(self.span, f"batch {number}", ids, lines=lines, seed=number)
            self.sent[batch.key] = batch
            return batch


def check_answer(answer, batch):
    """Return True if the batch was accepted, False if the client must retry."""
    if answer is None or answer.status_code == 503:
        return False
    assert answer.status_code == 200, f"{answer.status_code} {answer.text[:300]}"
    outcome = answer.json()
    assert (outcome["accepted"], outcome["rejected"]) == (batch.lines, 0)
    return True


def prepare(crashing, tmp_path):
    crashing.make_app()
    crashing.command("load", "tweets", str(write_tweets(tmp_path / "tweets.csv", OWN_TWEETS)))


def run_and_kill(crashing, chance, until):
    """Run the server for a short time and until `until()`, then kill it during the stream."""
    crashing.start()
    time.sleep(chance.uniform(0.1, 1.2))
    wait_for(until)
    crashing.kill()
    time.sleep(chance.uniform(0, 0.1))


def has_enough(stream, producers, batches):
    return len(stream.sent) > batches or producers.errors


def kill_while_producers_retry(crashing, tmp_path, *, rounds, seed):
    prepare(crashing, tmp_path)
    chance, stream = random.Random(seed), Stream(seed)
    sessions = [open_session() for _ in range(PRODUCERS)]

    def produce(name, _number):
        batch = stream.make(own=1, hot=True)
        while True:
            answer = crashing.send(sessions[name], "events", batch.body, key=batch.key)
            if check_answer(answer, batch):
                break
            producers.patience()
        stream.acknowledged.add(batch.key)
        if chance.random() < 0.1:  # sometimes send it again
            answer = crashing.send(sessions[name], "events", batch.body, key=batch.key)
            assert answer is None or answer.status_code == 503 or answer.json()["duplicate"]

    with (producers := Producers(PRODUCERS, produce)):
        for number in range(1, rounds + 1):
            busy = partial(has_enough, stream, producers, 5 * number)
            run_and_kill(crashing, chance, busy)
            assert producers.errors == []
        crashing.start()
        producers.stopping.set()
    for session in sessions:
        session.close()

    assert stream.acknowledged == set(stream.sent)
    assert len(stream.sent) > 5 * rounds, "the producers sent too little"
    check_counts(crashing, stream.sent.values(), stream.span)


def may_send(up, stream):
    """Wait until the server runs. Return whether it does, and Tweets without events are left."""
    if stream.is_used_up:  # on a fast machine
        time.sleep(0.1)
        return False
    return up.wait(0.1)


def kill_while_producers_never_retry(crashing, tmp_path, *, rounds, seed):
    prepare(crashing, tmp_path)
    chance, stream = random.Random(seed), Stream(seed)
    sessions = [open_session() for _ in range(PRODUCERS)]
    up = threading.Event()

    def produce(name, _number):
        if not may_send(up, stream):
            return
        batch = stream.make(own=2)
        key = (
            batch.key if chance.random() < 0.5 else None
        )  # with and without a key, it must count completely or not at all
        answer = crashing.send(sessions[name], "events", batch.body, key=key)
        if check_answer(answer, batch):
            stream.acknowledged.add(batch.key)
        elif answer is None:
            up.clear()

    def accepted_more_than(batches):
        up.set()
        return len(stream.acknowledged) > batches or producers.errors

    with Producers(PRODUCERS, produce) as producers:
        for number in range(1, rounds + 1):
            crashing.start()
            up.set()
            time.sleep(chance.uniform(0.2, 1.5))
            wait_for(partial(accepted_more_than, number))
            crashing.kill()
            up.clear()
            assert producers.errors == []
    for session in sessions:
        session.close()
    crashing.start()

    unknown = [batch for key, batch in stream.sent.items() if key not in stream.acknowledged]
    counted = [batch for key, batch in stream.sent.items() if key in stream.acknowledged]
    assert len(counted) > rounds, "the producers sent too little"
    for batch in unknown:
        found = read_hours(crashing, batch.tweet_ids, stream.span)
        if found:
            counted.append(batch)  # then it must be complete, which is checked below
    every = sorted(one for batch in stream.sent.values() for one in batch.tweet_ids)
    check_counts(crashing, counted, stream.span, tweet_ids=every)
    print(f"{len(stream.sent)} batches, {len(unknown)} never answered")


def test_a_few_kills_while_producers_retry(crashing, tmp_path):
    kill_while_producers_retry(crashing, tmp_path, rounds=2, seed=1)


@pytest.mark.parametrize("seed", [2, 3])
def test_many_kills_while_producers_retry(crashing, tmp_path, seed):
    kill_while_producers_retry(crashing, tmp_path, rounds=15, seed=seed)


@pytest.mark.parametrize("seed", [4, 5])
def test_many_kills_while_producers_never_retry(crashing, tmp_path, seed):
    kill_while_producers_never_retry(crashing, tmp_path, rounds=15, seed=seed)


def is_replaced(running, killed, processes):
    found = running()
    return killed not in found and len(found) >= processes


def test_workers_killed_one_at_a_time(crashing, tmp_path):
    """The supervisor restarts workers; producers see a few broken connections."""
    kill_one_at_a_time(crashing, tmp_path, crashing.workers_running, seed=6)


def test_the_counting_process_killed_repeatedly(crashing, tmp_path):
    """It is restarted; producers retry, and every batch counts once."""
    kill_one_at_a_time(crashing, tmp_path, crashing.counting_running, seed=7)


def kill_one_at_a_time(crashing, tmp_path, running, *, seed):
    prepare(crashing, tmp_path)
    chance, stream = random.Random(seed), Stream(seed)
    sessions = [open_session() for _ in range(PRODUCERS)]

    def produce(name, _number):
        batch = stream.make(own=1, hot=True)
        while not check_answer(
            crashing.send(sessions[name], "events", batch.body, key=batch.key), batch
        ):
            producers.patience()

    crashing.start()
    with (producers := Producers(PRODUCERS, produce)):
        for _ in range(5):
            time.sleep(chance.uniform(5.6, 6.5))  # Granian stops the server if workers die faster
            processes = wait_for(running, reason="running")
            killed = chance.choice(processes)
            os.kill(killed, signal.SIGKILL)
            # Granian measures from the next start. The first batch starts the counting process.
            wait_for(partial(is_replaced, running, killed, len(processes)))
    for session in sessions:
        session.close()

    assert crashing.process.poll() is None
    check_counts(crashing, stream.sent.values(), stream.span)
