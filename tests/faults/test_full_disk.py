"""A live server that cannot write: 503, nothing is lost or counted twice, and it recovers."""

import os
import signal
import sqlite3
from collections import Counter
from contextlib import closing

import pytest
import requests
from requests_oauthlib import OAuth1

from faults.counting import Batch, Span, check_counts, write_tweets
from faults.crashing import open_session
from support.small_disk import small_disk
from support.waiting import PATIENCE_S, wait_for

TWEETS = 50
SIZE = "24m"
ROUNDS_MAX = 500
READS = 300
POSTED = "2023-11-14T22:13:20Z"


@pytest.fixture
def disk(crashing, tmp_path):
    """The server's disk. The server starts on a copy of its folder there."""
    with small_disk(tmp_path / "disk", size=SIZE) as mounted:
        crashing.make_app()
        crashing.command("load", "tweets", str(write_tweets(tmp_path / "tweets.csv", TWEETS)))
        crashing.data = mounted.copy_in(crashing.data)
        crashing.prefix = mounted.prefix
        crashing.start()
        yield mounted
        crashing.end()


@pytest.fixture
def session():
    with open_session() as opened:
        yield opened


class Calls:
    """Every kind of call that writes, and the refusals that it met by status."""

    def __init__(self, crashing, session):
        self.crashing, self.session = crashing, session
        self.span = Span()
        self.batches = []
        self.counted = set()  # keys
        app = crashing.app
        self.consumer = OAuth1(app["consumer_key"], app["consumer_secret"], callback_uri="oob")
        self.user = OAuth1(
            *(app["consumer_key"], app["consumer_secret"]),
            *(app["access_token"], app["access_token_secret"]),
        )
        self.statuses = {}

    def note(self, kind, answer):
        """Check an answer: it is right, or a 503 that says when to retry and why."""
        self.statuses.setdefault(kind, Counter())[answer.status_code] += 1
        if answer.status_code == 503:
            assert answer.headers["retry-after"].isdecimal()
            assert answer.headers["x-error-code"] in {"store_unavailable", "unavailable"}
            assert "try again" in answer.text or "send" in answer.text, answer.text
            return False
        assert answer.status_code in {200, 204}, f"{kind}: {answer.status_code} {answer.text[:300]}"
        return True

    def count(self, batch):
        answer = self.crashing.send(self.session, "events", batch.body, key=batch.key)
        if self.note("events", answer):
            assert (answer.json()["accepted"], answer.json()["rejected"]) == (batch.lines, 0)
            self.counted.add(batch.key)

    def count_new(self, *, lines):
        number = len(self.batches)
        ids = list(range(1, TWEETS + 1))
        self.batches.append(Batch(self.span, f"batch {number}", ids, lines=lines, seed=number))
        self.count(self.batches[-1])

    def post(self, kind, path, **given):
        url = f"{self.crashing.url}{path}"
        self.note(kind, self.session.post(url, timeout=PATIENCE_S, **given))

    def read(self, endpoint):
        body = {
            "tweet_ids": ["1"],
            "engagement_types": ["favorites"],
            "groupings": {"all": {"group_by": ["engagement.type"]}},
        }
        self.post(endpoint, f"/insights/engagement/{endpoint}", json=body, auth=self.user)

    def make_others(self, number):
        """Make each call but batches of events once."""
        for endpoint in ("totals", "28hr", "historical"):
            self.read(endpoint)
        self.post("request token", "/oauth/request_token", auth=self.consumer)
        for kind, row in (
            ("accounts", f'{{"id": {number + 100}, "screen_name": "{"n" * 9}{number}"}}'),
            ("tweets", f'{{"id": "{number + 1000}", "author_id": "1", "created_at": "{POSTED}"}}'),
        ):
            self.note(kind, self.crashing.send(self.session, kind, row.encode()))
        headers = {"Authorization": f"Bearer {self.crashing.platform_key}"}
        url = f"{self.crashing.url}/platform/v1/usage"
        self.note("usage", self.session.get(url, headers=headers, timeout=PATIENCE_S))

    def were_refused(self, *kinds):
        return all(503 in self.statuses[kind] for kind in kinds)

    def send_refused_again(self):
        for batch in self.batches:
            if batch.key not in self.counted:
                self.count(batch)
        return len(self.counted) == len(self.batches)


def health(crashing):
    answer = requests.get(f"{crashing.url}/health", timeout=PATIENCE_S)
    return answer.status_code, answer.json().get("reasons", [])


def fill_and_recover(disk, calls, *, rounds):
    disk.fill()
    wait_for(lambda: "the disk of the data folder is full" in health(calls.crashing)[1])
    for number in range(ROUNDS_MAX):
        calls.count_new(lines=400)
        calls.make_others(number)
        disk.fill()  # a database may have freed space in its log
        if number + 1 >= rounds and calls.were_refused("events", "accounts", "request token"):
            break
    else:
        pytest.fail(f"not refused: {calls.statuses}")
    disk.free()
    wait_for(lambda: health(calls.crashing) == (200, []))
    wait_for(calls.send_refused_again)
    check_counts(calls.crashing, calls.batches, calls.span)


def test_a_full_disk(disk, crashing, session):
    calls = Calls(crashing, session)
    calls.count_new(lines=400)
    calls.make_others(0)
    assert all(set(seen) <= {200} for seen in calls.statuses.values()), calls.statuses
    fill_and_recover(disk, calls, rounds=6)
    for batch in calls.batches:  # a repeat changes nothing
        calls.count(batch)
    check_counts(crashing, calls.batches, calls.span)
    assert '"request_failed"' not in crashing.log()


def test_signed_requests_are_refused_when_the_limits_do_not_fit(disk, crashing, session):
    """They are the most frequent write. The file grows by a page now and then."""
    calls = Calls(crashing, session)
    calls.read("totals")
    disk.fill()
    for number in range(10 * READS):
        calls.read("totals")
        if number >= READS and calls.were_refused("totals"):
            break
    else:
        pytest.fail(f"not refused: {calls.statuses}")

    def is_reported():
        calls.read("totals")  # the write of the health check fits now and then, as a request's does
        return health(crashing)[0] == 503

    wait_for(is_reported)
    disk.free()
    wait_for(lambda: health(crashing) == (200, []))
    calls.read("totals")
    assert '"reason": "mdb_txn_commit: No space left on device"' in crashing.log()
    assert '"request_failed"' not in crashing.log()


def test_a_disk_that_fills_up_again_and_again(disk, crashing, session):
    calls = Calls(crashing, session)
    for _ in range(6):
        for _ in range(15):
            calls.count_new(lines=900)
        fill_and_recover(disk, calls, rounds=15)
    assert '"request_failed"' not in crashing.log()
    used = disk.used_bytes()
    crashing.kill()
    crashing.start()
    check_counts(crashing, calls.batches, calls.span)
    # A merge has its old and new files at once for a moment.
    wait_for(lambda: disk.used_bytes() <= 1.5 * used, reason="removed: files were left behind")


def test_a_registry_that_another_process_keeps_locked(crashing, session):
    crashing.make_app()
    crashing.start()
    calls = Calls(crashing, session)
    with closing(sqlite3.connect(crashing.data / "registry.sqlite3", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        calls.post("request token", "/oauth/request_token", auth=calls.consumer)
        db.execute("ROLLBACK")
    calls.post("request token", "/oauth/request_token", auth=calls.consumer)
    assert calls.statuses["request token"] == {503: 1, 200: 1}
    assert "database is locked" in crashing.log()


def test_a_worker_that_cannot_start_waits_and_serves_once_it_can(crashing):
    crashing.workers = 1
    crashing.make_app()
    crashing.start()
    with closing(sqlite3.connect(crashing.data / "registry.sqlite3", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        (worker,) = crashing.workers_running()
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: crashing.log().count('"worker_waits"') >= 2)
        (waiting,) = crashing.workers_running()
        db.execute("ROLLBACK")
    wait_for(lambda: is_served(crashing))
    assert crashing.workers_running() == [waiting]


def is_served(crashing):
    try:
        return health(crashing) == (200, [])
    except requests.ConnectionError:
        return False
