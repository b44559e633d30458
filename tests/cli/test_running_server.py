"""Commands on the folder of a running server take effect in the next response of both workers."""

import json
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from oauthlib import oauth1
from requests_oauthlib import OAuth1

from faults.crashing import open_session
from support.cli import EXECUTABLE, call_command, run_command, server_environment
from support.waiting import PATIENCE_S, wait_for

REQUESTS = 12  # requests on new connections, so that both workers get some


@pytest.fixture(scope="module")
def bearer(running):
    return running.command("token", "bearer", running.app["app_id"])["access_token"]


@pytest.fixture
def ask(running, bearer):
    """Request public totals of one Tweet over a new connection."""

    def asked(tweet_id, token=bearer):
        with open_session() as session:
            return session.post(
                f"{running.url}/insights/engagement/totals",
                json={
                    "tweet_ids": [str(tweet_id)],
                    "engagement_types": ["replies"],
                    "groupings": {"all": {"group_by": ["tweet.id", "engagement.type"]}},
                },
                headers={"Authorization": f"Bearer {token}"},
                timeout=PATIENCE_S,
            )

    return asked


@pytest.fixture
def load(running, tmp_path):
    def loaded(kind, *rows, name="rows.ndjson"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return running.command("load", kind, str(path))

    return loaded


def event(tweet_id, count):
    at = "2026-01-01T00:00:00Z"
    return {"tweet_id": str(tweet_id), "type": "replies", "at": at, "count": count}


def test_loaded_events_are_in_the_next_response(ask, load):
    load("tweets", {"id": "100", "author_id": "1"})
    total = 0
    for count in range(1, REQUESTS):
        load("events", event(100, count), name=f"{count}.ndjson")
        total += count
        answers = {ask(100).json()["all"]["100"]["replies"] for _ in range(3)}
        assert answers == {str(total)}


def test_a_tweet_is_served_once_it_is_registered(ask, load):
    load("events", event(200, 5))
    for _ in range(REQUESTS):
        assert ask(200).status_code == 400
    load("tweets", {"id": "200", "author_id": "1"})
    for _ in range(REQUESTS):
        assert ask(200).json() == {"all": {"200": {"replies": "5"}}}
    load("tweets", {"id": "200", "author_id": "1", "deleted": True})
    for _ in range(REQUESTS):
        assert ask(200).json()["unavailable_tweet_ids"] == ["200"]


def test_protecting_an_author_takes_effect_at_once(ask, load):
    load("accounts", {"id": "50", "screen_name": "fifty"})
    load("tweets", {"id": "300", "author_id": "50"})
    for protected in (True, False, True):
        load("accounts", {"id": "50", "screen_name": "fifty", "protected": protected})
        codes = {ask(300).status_code for _ in range(REQUESTS)}
        assert codes == ({400} if protected else {200})


def test_enabling_and_disabling_take_effect_at_once(running, ask, load, bearer):
    load("tweets", {"id": "400", "author_id": "1"})
    app_id = running.app["app_id"]
    for turn in range(6):
        enabled = turn % 2 == 1
        running.command("app", "enable" if enabled else "disable", app_id)
        answers = [ask(400) for _ in range(REQUESTS)]
        assert {answer.status_code for answer in answers} == ({200} if enabled else {403})
        if not enabled:
            assert answers[0].json() == {"errors": ["Your application ID is not authorized."]}


def test_a_new_rate_limit_takes_effect_at_once(running, ask, load):
    load("tweets", {"id": "500", "author_id": "1"})
    app_id = running.app["app_id"]
    try:
        running.command("app", "enable", app_id, "--per-minute", "1")
        assert {ask(500).status_code for _ in range(REQUESTS)} <= {200, 429}
        assert ask(500).headers["x-per-minute-limit"] == "1"
        running.command("app", "enable", app_id, "--per-minute", "5000")
        answers = [ask(500) for _ in range(REQUESTS)]
        assert {answer.status_code for answer in answers} == {200}
        assert answers[0].headers["x-per-minute-limit"] == "5000"
    finally:
        running.command("app", "enable", app_id, "--per-minute", "10000000")


def test_a_new_apps_bearer_token_works_at_once(running, ask, load):
    load("tweets", {"id": "600", "author_id": "1"})
    app = running.command("app", "add", "new", "--owner", "owner")
    token = running.command("token", "bearer", app["app_id"])["access_token"]
    assert {ask(600, token).status_code for _ in range(REQUESTS)} == {403}
    running.command("app", "enable", app["app_id"])
    assert {ask(600, token).status_code for _ in range(REQUESTS)} == {200}


def test_a_new_platform_key_works_at_once(running):
    key = running.command("platform-key", "issue", "another")["platform_key"]
    for _ in range(REQUESTS):
        answer = requests.post(
            f"{running.url}/platform/v1/events",
            data=b"",
            headers={
                "Authorization": f"Bearer {key}",
                "Content-Type": "application/x-ndjson",
                "Connection": "close",
            },
            timeout=PATIENCE_S,
        )
        assert answer.status_code == 200, answer.text


def test_a_revoked_platform_key_is_refused_at_once(running):
    """Every worker knew the key. Another key stays valid, and shows when it was used."""
    keys = {
        name: running.command("platform-key", "issue", name)["platform_key"]
        for name in ("leaked", "kept")
    }

    def statuses(name):
        return {
            requests.get(
                f"{running.url}/platform/v1/usage",
                headers={"Authorization": f"Bearer {keys[name]}", "Connection": "close"},
                timeout=PATIENCE_S,
            ).status_code
            for _ in range(REQUESTS)
        }

    def last_used_at(name):
        rows = running.command("platform-key", "list")["platform_keys"]
        (found,) = [row for row in rows if row["name"] == name]
        return found["last_used_at"]

    assert (statuses("leaked"), statuses("kept")) == ({200}, {200})
    wait_for(lambda: last_used_at("leaked") and last_used_at("kept"), pause_s=0.5)
    running.command("platform-key", "revoke", "leaked")
    assert (statuses("leaked"), statuses("kept")) == ({401}, {200})


def test_commands_in_other_processes_take_effect_at_once(running, ask, tmp_path):
    path = tmp_path / "rows.ndjson"
    path.write_text(json.dumps({"id": "700", "author_id": "1"}) + "\n")
    assert run_command(running.data, "load", "tweets", str(path)) == {"accepted": 1, "rejected": 0}
    path.write_text(json.dumps(event(700, 9)) + "\n")
    assert run_command(running.data, "load", "events", str(path)) == {"accepted": 1, "rejected": 0}

    assert ask(700).json() == {"all": {"700": {"replies": "9"}}}


def test_a_second_server_on_the_same_port_is_refused(running):
    """Otherwise two servers with different folders could share a port by mistake."""
    other = running.data.parent / "other"
    started = subprocess.Popen(
        [EXECUTABLE, "--data", other, "serve", "--port", str(running.port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=server_environment(),
        start_new_session=True,
    )
    try:
        _, err = started.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, 9)
        started.communicate()
        pytest.fail("the second server runs on the same port")
    assert started.returncode != 0
    assert b"Traceback" not in err


# Rotation of the keys: it revokes bearer tokens, so it comes last


def ask_signed(running, auth):
    # A new connection each time, so that both workers get requests.
    with requests.Session() as session:
        session.trust_env = False
        return session.post(
            f"{running.url}/insights/engagement/28hr", json={}, auth=auth, timeout=PATIENCE_S
        )


def test_a_running_server_follows_a_rotation(running, monkeypatch):
    """An empty request gets 400 only after it was authenticated."""
    monkeypatch.setattr("openengagement.cli.keys.GRACE_S", 0.2)  # no server stores a secret now
    app = running.app
    issued = running.command("token", "issue", app["app_id"])
    auth = OAuth1(
        app["consumer_key"],
        app["consumer_secret"],
        issued["access_token"],
        issued["access_token_secret"],
    )
    assert {ask_signed(running, auth).status_code for _ in range(8)} == {400}
    for more in ([], ["--forget-old"], []):
        running.command("key", "rotate", *more)
        assert {ask_signed(running, auth).status_code for _ in range(8)} == {400}
    late = call_command(running.data, "app", "add", "Late", "--owner", "owner")
    running.command("app", "enable", late["app_id"])
    issued = running.command("token", "issue", late["app_id"])
    auth = OAuth1(
        late["consumer_key"],
        late["consumer_secret"],
        issued["access_token"],
        issued["access_token_secret"],
    )
    assert {ask_signed(running, auth).status_code for _ in range(8)} == {400}


def test_no_secret_is_lost_when_keys_are_deleted_under_load(running, monkeypatch):
    """A server may store a secret just after the rotation that it encrypted just before."""
    monkeypatch.setattr("openengagement.cli.keys.GRACE_S", 3)
    app, done, failed = running.app, threading.Event(), []

    def ask_for_tokens():
        client = oauth1.Client(app["consumer_key"], client_secret=app["consumer_secret"])
        with requests.Session() as session:
            session.trust_env = False
            while not done.is_set():
                url, headers, _ = client.sign(
                    f"{running.url}/oauth/request_token?oauth_callback=oob", http_method="POST"
                )
                status = session.post(url, headers=headers, timeout=PATIENCE_S).status_code
                if status not in {200, 429}:
                    failed.append(status)

    with ThreadPoolExecutor(6) as pool:
        for _ in range(6):
            pool.submit(ask_for_tokens)
        try:
            running.command("key", "rotate", "--forget-old")
        finally:
            done.set()
    assert failed == []
    assert running.command("key", "rotate")["unreadable"] == 0
