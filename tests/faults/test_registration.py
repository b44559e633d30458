"""SIGKILL while accounts and Tweets are registered: batches are complete or absent."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

from faults.crashing import Producers, open_session
from openengagement.clock import SystemClock
from openengagement.registry.opening import open_registry
from openengagement.stores.embedded.store import EmbeddedStore
from support.cli import EXECUTABLE, call_command, server_environment
from support.waiting import wait_for

SIZE = 300
ALWAYS = {"tweets": {"author_id": "1", "created_at": "2026-01-01T00:00:00Z"}, "accounts": {}}


def row_of(kind, number):
    named = {"screen_name": f"user{number}"} if kind == "accounts" else {}
    return {"id": str(number), **ALWAYS[kind], **named}


def register_and_kill(crashing, *, rounds, seed):
    """Register ranges of ids while killing the server; return sent and acknowledged ranges."""
    chance = random.Random(seed)
    sent = {"accounts": [], "tweets": []}
    acknowledged = {"accounts": set(), "tweets": set()}
    lock = threading.Lock()
    sessions = [open_session() for _ in range(4)]
    up = threading.Event()

    def produce(name, _number):
        if not up.wait(0.1):
            return
        kind = ("accounts", "tweets")[name % 2]
        with lock:
            first = 1000 + len(sent[kind]) * SIZE
            sent[kind].append(first)
        rows = [row_of(kind, first + index) for index in range(SIZE)]
        body = json.dumps(rows).encode()
        answer = crashing.send(sessions[name], kind, body, form="json")
        if answer is None:
            up.clear()
        elif answer.status_code == 200:
            assert answer.json()["accepted"] == SIZE
            acknowledged[kind].add(first)
        else:
            assert answer.status_code == 503, answer.text[:300]

    def registered_some():
        up.set()
        return all(acknowledged.values()) or producers.errors

    with Producers(4, produce) as producers:
        for _ in range(rounds):
            crashing.start()
            up.set()
            time.sleep(chance.uniform(0.1, 1.2))
            wait_for(registered_some)
            crashing.kill()
            up.clear()
            assert producers.errors == []
    for session in sessions:
        session.close()
    return sent, acknowledged


def check(crashing, sent, acknowledged):
    """Check that acknowledged ranges are present, and that others are complete or absent."""
    for name in ("registry.sqlite3", "counters.sqlite3"):
        db = sqlite3.connect(crashing.data / name)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], name
        db.close()
    registry = open_registry(crashing.data)
    store = EmbeddedStore(
        crashing.data / "counters.sqlite3", clock=SystemClock(), idempotency_keep_days=90
    )
    readers = {"accounts": registry.accounts.read_protected, "tweets": store.read_tweets}
    try:
        for kind, read in readers.items():
            assert acknowledged[kind], f"no {kind} were registered at all"
            for first in sent[kind]:
                found = len(read(list(range(first, first + SIZE))))
                allowed = {SIZE} if first in acknowledged[kind] else {0, SIZE}
                assert found in allowed, f"{kind} from {first}: {found} of {SIZE}"
    finally:
        store.close()
        registry.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_server_killed_while_registering(crashing, seed):
    sent, acknowledged = register_and_kill(crashing, rounds=10, seed=seed)

    check(crashing, sent, acknowledged)
    crashing.start()
    assert crashing.command("platform-key", "issue", "after")["platform_key"]


def test_commands_killed_during_the_first_start(tmp_path):
    """The next start completes the data folder."""
    chance = random.Random(5)
    for number in range(12):
        data = tmp_path / f"data{number}"
        command = [EXECUTABLE, "--data", data, "platform-key", "issue", "x"]
        run = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=server_environment(),
            start_new_session=True,
        )
        time.sleep(chance.uniform(0.2, 2))
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        assert call_command(data, "platform-key", "issue", "y")["platform_key"]
