"""`make cluster`: it counts what comes through the log, and leaves nothing when it stops."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import nats
import pytest
import requests
from requests_oauthlib import OAuth1

from local_cluster.engagement import subjects_of
from support.calls import question
from support.cli import server_environment
from support.ports import HOST, free_port
from support.processes import running
from support.waiting import PATIENCE_S, wait_for

pytestmark = [pytest.mark.heavy, pytest.mark.embedded]

TESTS = Path(__file__).parents[1]
TYPES = ("favorites", "replies", "impressions")
START_S = 600


class Command:
    """The command, with a folder of its own for temporary files."""

    def __init__(self, *options, **variables):
        # Pytest's folder is too deep: the path of a socket has at most 107 characters.
        self.temporary = Path(tempfile.mkdtemp(prefix="oe-local-"))
        self.temporary.chmod(0o711)
        environment = {
            **server_environment(),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local_cluster", *options],
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def finish(self):
        """Return the exit code and the errors that it printed."""
        _, errors = self.process.communicate(timeout=START_S)
        return self.process.returncode, errors.decode()

    def left(self):
        """Return the processes and files that exist."""
        session = self.process.pid
        ids = [pid for pid, _, each in running() if each == session]
        return ids, list(self.temporary.iterdir())

    def wait_for_a_folder(self):
        """Wait until it has begun to start servers."""

        def has_begun():
            assert self.process.poll() is None, self.finish()
            return self.left()[1]

        wait_for(has_begun, pause_s=0.05)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=START_S)
        self.temporary.rmdir()


def read(url, demo):
    """Return the totals of the demo author's Tweets, signed with OAuth 1.0a."""
    names = ("consumer_key", "consumer_secret", "access_token", "access_token_secret")
    answer = requests.post(
        f"{url}/insights/engagement/totals",
        json=question(*demo["tweet_ids"], types=TYPES),
        auth=OAuth1(*(demo[name] for name in names)),
        timeout=PATIENCE_S,
    )
    assert answer.status_code == 200, answer.text
    (found,) = answer.json().values()
    return Counter({(id_, t): int(n) for id_, row in found.items() for t, n in row.items()})


async def publish(servers, bodies):
    client = await nats.connect(servers)
    for subject, body in bodies:
        await client.jetstream().publish(subject, body)
    await client.close()


def make_events(demo):
    """Return messages of each subject, and what they count."""
    counts = Counter()
    bodies = []
    subjects = subjects_of(demo["tweet_ids"])
    for number, (tweet_id, subject) in enumerate(zip(demo["tweet_ids"], subjects, strict=True), 1):
        for type_ in TYPES:
            event = {"tweet_id": tweet_id, "type": type_, "at": "2026-11-22T10:00:00Z"}
            body = json.dumps({**event, "count": number}).encode()
            bodies.append((subject, body))
            counts[tweet_id, type_] += number
    return bodies, counts


def test_events_of_the_log_are_in_the_answers_of_every_node_and_nothing_is_left():
    command = Command("--json")
    try:
        line = command.process.stdout.readline()
        assert line, command.finish()
        demo = json.loads(line)
        urls = [*demo["api"], demo["balancer"]]
        assert (len(set(urls)), demo["url"]) == (3, demo["balancer"])
        before = read(demo["balancer"], demo)
        assert min(before.values()) > 0
        assert [read(url, demo) for url in urls] == [before] * 3
        bodies, counts = make_events(demo)
        asyncio.run(publish(demo["log"], bodies))
        for url in urls:
            wait_for(lambda url=url: read(url, demo) == before + counts, pause_s=0.1)
        ids, files = command.left()
        assert len(ids) > 20
        assert files
        command.process.send_signal(signal.SIGINT)
        code, errors = command.finish()
        assert (code, "Traceback" in errors) == (0, False), errors
        assert command.left() == ([], [])
    finally:
        command.close()


def test_a_signal_while_it_starts_leaves_nothing():
    command = Command()
    try:
        command.wait_for_a_folder()
        command.process.send_signal(signal.SIGTERM)
        code, errors = command.finish()
        assert (code, "Traceback" in errors) == (0, False), errors
        assert command.left() == ([], [])
    finally:
        command.close()


def test_nothing_is_left_after_kill():
    command = Command()
    try:
        command.wait_for_a_folder()
        command.process.kill()
        command.finish()
        wait_for(lambda: command.left() == ([], []), pause_s=0.05, reason=command.left)
    finally:
        command.close()


def test_a_port_in_use_is_refused():
    port = free_port()
    with socket.create_server((HOST, port)):
        command = Command("--port", str(port))
        try:
            assert command.finish() == (
                1,
                f"error: port {port} is in use; choose another with PORT=\n",
            )
            assert command.left() == ([], [])
        finally:
            command.close()


def test_a_missing_program_is_named():
    command = Command(PATH="/nowhere")
    try:
        code, errors = command.finish()
        assert (code, errors.splitlines()[-1]) == (
            1,
            "error: Caddy is not installed (Debian: apt-get install caddy)",
        )
        assert command.left() == ([], [])
    finally:
        command.close()
