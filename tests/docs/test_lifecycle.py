"""The drills of docs/lifecycle.md: its commands as they stand, around real servers."""

import json
import lzma
import os
import re
import shutil
import signal
import tarfile
import threading
import time

import pytest
import requests
from requests_oauthlib import OAuth1Session

from support.cli import call_command
from support.documented import ROOT, read_code, read_section
from support.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.heavy

SERVE = "openengagement serve"
RELEASED = ROOT / "tests/released"
KEEP_KEYS = "export OPENENGAGEMENT_IDEMPOTENCY_KEEP_DAYS=3650\n"  # of 2026, when it was released
TWEET, OWNER = 2124462388521473622, 7
TOTALS = {
    "tweet_ids": [str(TWEET)],
    "engagement_types": ["favorites"],
    "groupings": {"g": {"group_by": ["tweet.id", "engagement.type"]}},
}


def drill(title, end):
    """Return the blocks of commands of a section."""
    return read_code(read_section("docs/lifecycle.md", f"## {title}", f"## {end}"), "sh")


def post(url, body, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(url, data=body, headers=named, timeout=PATIENCE_S)


class Platform:
    """An app, a Tweet, and a producer that remembers what it sent."""

    def __init__(self, shell):
        self.shell = shell
        self.data = shell.folder / "data"
        self.answers = {}
        self.command("account", "add", "alice", "--id", str(OWNER))
        self.app = self.command("app", "add", "Dash", "--owner", "alice")
        self.command("app", "enable", self.app["app_id"])
        self.token = self.command("token", "issue", self.app["app_id"])
        self.bearer = self.command("token", "bearer", self.app["app_id"])["access_token"]
        self.key = self.command("platform-key", "issue", "feed")["platform_key"]

    def command(self, *arguments, **more):
        return call_command(self.data, *arguments, **more)

    def register(self):
        row = {"id": str(TWEET), "author_id": str(OWNER)}
        answer = self._send("tweets", row)
        assert answer.json()["accepted"] == 1

    def send(self, number):
        """Send the batch of this number: one more favorite each. Return what was answered."""
        row = {"tweet_id": str(TWEET), "type": "favorites", "at": "2026-11-22T10:15:00Z"}
        answer = self._send("events", row, Idempotency_Key=f"batch {number}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def favorites(self):
        answer = self.ask(self.bearer)
        return int(answer.json()["g"][str(TWEET)]["favorites"])

    def ask(self, bearer):
        url = f"{self.shell.url}/insights/engagement/totals"
        return post(url, json.dumps(TOTALS), Authorization=f"Bearer {bearer}")

    def ask_as_owner(self, token=None):
        token = token or self.token
        session = OAuth1Session(
            self.app["consumer_key"],
            self.app["consumer_secret"],
            token["access_token"],
            token["access_token_secret"],
        )
        url = f"{self.shell.url}/insights/engagement/totals"
        return session.post(url, json=TOTALS, timeout=PATIENCE_S)

    def _send(self, kind, row, **headers):
        return post(
            f"{self.shell.url}/platform/v1/{kind}",
            json.dumps(row),
            Authorization=f"Bearer {self.key}",
            Content_Type="application/x-ndjson",
            **headers,
        )


@pytest.fixture
def platform(shell):
    return Platform(shell)


@pytest.mark.parametrize("archive", sorted(RELEASED.glob("*.tar.xz")), ids=lambda each: each.name)
def test_upgrading(shell, archive):
    known = json.loads(archive.with_name(archive.name.replace(".tar.xz", ".json")).read_text())
    data = shell.folder / "data"
    data.mkdir(mode=0o700)
    with lzma.open(archive) as opened, tarfile.open(fileobj=opened) as packed:
        packed.extractall(data, filter="data")
    shutil.copytree(data, shell.folder / "copied")
    _, verify = drill("Upgrading", "Scheduled backups")

    server = shell.serve(KEEP_KEYS + SERVE)
    for request in known["answers"]:
        url, body = shell.url + request["path"], request["body"]
        if request["as"] == "bearer":
            answer = post(url, json.dumps(body), Authorization=f"Bearer {known['bearer_token']}")
        else:
            session = OAuth1Session(*known["credentials"].values())
            answer = session.post(url, json=body, timeout=PATIENCE_S)
        assert (answer.status_code, answer.json()) == (200, request["answer"])
    row = {"tweet_id": "501", "type": "favorites", "at": "2026-11-22T10:15:00Z"}
    url, key = f"{shell.url}/platform/v1/events", f"Bearer {known['platform_key']}"
    repeat = {"Authorization": key, "Idempotency_Key": known["repeat"]["key"]}
    assert post(url, known["repeat"]["body"], **repeat).json()["duplicate"]
    assert not post(url, json.dumps(row), **repeat).json()["duplicate"]  # another body
    assert post(url, json.dumps(row), Authorization=key).json()["accepted"] == 1
    assert "ok" in shell.run(verify)
    shell.stop(server)
    shell.run(f"openengagement --data verified restore copied; {verify}")


def test_scheduled_backups(shell, platform):
    nightly, after_the_loss = drill("Scheduled backups", "Moving to another machine")
    server = shell.serve(SERVE)
    platform.register()
    assert [platform.send(number)["duplicate"] for number in range(3)] == [False] * 3
    old = shell.folder / "backups" / "2026-01-01"
    old.mkdir(parents=True)
    os.utime(old, (time.time() - 20 * 86400,) * 2)
    shell.run(nightly)
    (kept,) = old.parent.iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", kept.name)
    assert kept != old
    assert not (shell.folder / "verified").exists()
    platform.send(3)
    shell.stop(server, signal.SIGKILL)
    shutil.rmtree(platform.data)

    shell.run(f"day=$(ls backups)\n{after_the_loss}")

    server = shell.serve("openengagement --data restored serve")
    assert platform.favorites() == 3
    assert [platform.send(number)["duplicate"] for number in range(5)] == [True] * 3 + [False] * 2
    assert platform.favorites() == 5
    assert platform.ask_as_owner().status_code == 200


def test_moving(shell, platform):
    while_it_runs, copy = drill("Moving to another machine", "Failures")
    server = shell.serve(SERVE)
    platform.register()
    platform.send(1)
    shell.run(while_it_runs)
    shell.stop(server)
    shell.run(copy)
    shutil.rmtree(platform.data)

    shell.serve("openengagement --data moved serve")

    assert platform.favorites() == 1
    assert platform.ask_as_owner().status_code == 200
    assert platform.send(1)["duplicate"]
    assert not platform.send(2)["duplicate"]
    assert platform.favorites() == 2


def test_a_server_that_is_killed_under_load(shell, platform):
    server = shell.serve(f"{SERVE} --workers 2")
    platform.register()
    acknowledged, unanswered = [], []

    def produce():
        for number in range(10_000):
            try:
                platform.send(number)
            except requests.RequestException:
                unanswered.append(number)
                return
            acknowledged.append(number)

    producer = threading.Thread(target=produce)
    producer.start()
    wait_for(lambda: len(acknowledged) > 20)
    shell.stop(server, signal.SIGKILL)
    producer.join(PATIENCE_S)

    shell.serve(SERVE)

    assert platform.favorites() in (len(acknowledged), len(acknowledged) + 1)
    assert all(platform.send(number)["duplicate"] for number in acknowledged)
    platform.send(*unanswered)
    assert platform.favorites() == len(acknowledged) + 1


# After a leak


def row_of(what):
    """Return the commands that the table has for what leaked."""
    table = read_section("docs/lifecycle.md", "## After a leak", "## Capacity")
    (row,) = [line for line in table.splitlines() if line.startswith(f"| {what}")]
    return re.findall(r"`(?:openengagement )?([^`]+)`", row.split("|")[2])


@pytest.fixture
def serving(shell, platform):
    shell.serve(SERVE)
    platform.register()
    platform.send(1)
    assert platform.ask_as_owner().status_code == 200
    return platform


def run_row(platform, what, stdin=None, **names):
    """Run the commands of a row, with names in the place of its capital letters."""
    printed = []
    for text in row_of(what):
        arguments = [names.get(word, word) for word in text.split()]
        printed.append(platform.command(*arguments, stdin=stdin))
    return printed


def test_a_leaked_platform_key(serving):
    rotated, listed = run_row(serving, "a platform key", NAME="feed")
    assert listed["platform_keys"]
    old, serving.key = serving.key, rotated["platform_key"]
    assert not serving.send(2)["duplicate"]
    serving.key = old
    with pytest.raises(AssertionError, match=r"40[13]"):
        serving.send(3)


def test_a_leaked_access_token(serving):
    run_row(serving, "an access token", APP_ID=serving.app["app_id"], NAME="alice")
    assert serving.ask_as_owner().status_code == 401
    fresh = serving.command("token", "issue", serving.app["app_id"])
    assert serving.ask_as_owner(fresh).status_code == 200


def test_a_leaked_bearer_token(serving):
    *_, fresh = run_row(serving, "a bearer token", APP_ID=serving.app["app_id"])
    assert serving.ask(serving.bearer).status_code == 401
    assert serving.ask(fresh["access_token"]).status_code == 200


def test_a_leaked_secret_of_a_webhook(serving):
    added = serving.command("webhook", "add", "https://hooks.example.com/")
    (rotated,) = run_row(serving, "the secret of a webhook", WEBHOOK_ID=added["webhook_id"])
    assert rotated["secret"] != added["secret"]


def test_leaked_keys_of_an_app(serving):
    rotate, suspend, resume = row_of("the key and secret of an app")
    serving.command(*suspend.replace("APP_ID", serving.app["app_id"]).split())
    assert serving.ask_as_owner().status_code == 403
    assert serving.ask(serving.bearer).status_code == 403
    serving.command(*resume.replace("APP_ID", serving.app["app_id"]).split())
    assert serving.ask_as_owner().status_code == 200
    new = serving.command(*rotate.replace("APP_ID", serving.app["app_id"]).split())
    assert serving.ask_as_owner().status_code == 401
    assert serving.ask(serving.bearer).status_code == 401
    serving.app = new
    assert serving.ask_as_owner().status_code == 200


def test_a_leaked_password(serving):
    (text,) = row_of("a password")
    arguments = text.replace("NAME", "alice").split()
    serving.command(*arguments, "--stdin", stdin="the first password\n")
    assert serving.ask_as_owner().status_code == 200
    serving.command(*arguments, "--stdin", stdin="another password\n")
    assert serving.ask_as_owner().status_code == 401


def test_a_leaked_server_key(serving):
    before = (serving.data / "server.key").read_text()
    run_row(serving, "`server.key`")
    assert before.strip() not in (serving.data / "server.key").read_text()
    assert serving.ask(serving.bearer).status_code == 401
    assert serving.ask_as_owner().status_code == 200
    bearer = serving.command("token", "bearer", serving.app["app_id"])["access_token"]
    assert serving.ask(bearer).status_code == 200
