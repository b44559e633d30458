"""The wall clock jumps under a live server: no idempotency key and no nonce is forgotten."""

import json
from pathlib import Path

import pytest
import requests
from requests_oauthlib import OAuth1

from faults.counting import write_tweets
from faults.crashing import open_session
from support.waiting import PATIENCE_S, wait_for

DAY_S = 86_400
MOVED_CLOCK = Path(__file__).parents[1] / "support" / "moved_clock"


class WallClock:
    """The wall clock of the processes that a test starts, moved while they run."""

    def __init__(self, file):
        self._file = file
        self.move(0)

    def move(self, seconds):
        written = self._file.with_suffix(".new")
        written.write_text(str(seconds))
        written.replace(self._file)


@pytest.fixture
def clock(tmp_path, monkeypatch):
    file = tmp_path / "moved_by_s"
    monkeypatch.setenv("MOVED_CLOCK", str(file))
    monkeypatch.setenv("PYTHONPATH", str(MOVED_CLOCK))
    return WallClock(file)


@pytest.fixture
def server(crashing, clock, tmp_path):
    crashing.workers = 1
    crashing.prefix = ("env",)  # `serve` must see the moved clock too
    crashing.make_app()
    crashing.command("load", "tweets", str(write_tweets(tmp_path / "tweets.csv", 3)))
    crashing.start()
    return crashing


def send(server, key):
    """Send an event under this key. Return whether it was a duplicate."""
    body = json.dumps({"tweet_id": "1", "type": "favorites", "at": "2021-01-01T00:00:00Z"})
    with open_session() as session:
        answer = server.send(session, "events", body + "\n", key=key)
    assert answer.status_code == 200, answer.text
    return answer.json()["duplicate"]


def favorites(server):
    asked = {
        "tweet_ids": ["1"],
        "engagement_types": ["favorites"],
        "groupings": {"all": {"group_by": ["engagement.type"]}},
    }
    return server.ask("totals", asked)["all"]["favorites"]


def wait_for_jump(server, noticed_by, *, times):
    def noticed():
        lines = [json.loads(line) for line in server.log().splitlines() if '"clock_jumped"' in line]
        return sum(line["noticed_by"] == noticed_by for line in lines) >= times

    wait_for(noticed, reason=lambda: server.log()[-2000:])


def restart(server):
    server.kill()
    server.start()


@pytest.mark.parametrize("days", [91, -2000])
@pytest.mark.parametrize("restarts", [True, False])
def test_keys_are_kept_when_the_clock_jumps_and_comes_back(server, clock, days, restarts):
    assert not send(server, "before")
    clock.move(days * DAY_S)
    if restarts:
        restart(server)
    assert not send(server, "while wrong")
    clock.move(0)
    if restarts:
        restart(server)
    assert not send(server, "after")
    assert [send(server, key) for key in ("before", "while wrong", "after")] == [True] * 3
    assert favorites(server) == "3"
    wait_for_jump(server, "idempotency keys", times=2)
    assert server.log().count('"idempotency keys"') == 2


@pytest.mark.parametrize("restarts", [True, False])
def test_a_used_request_is_refused_after_a_jump(server, clock, restarts):
    used = sign(server)
    assert repeat(used) == 200
    clock.move(700)
    if restarts:
        restart(server)
    wait_for_jump(server, "nonces", times=1)
    assert repeat(used) == 401  # its timestamp is too old by this clock
    clock.move(0)
    if restarts:
        restart(server)
    wait_for_jump(server, "nonces", times=2)
    assert repeat(used) == 401
    assert repeat(sign(server)) == 200


def sign(server):
    """Prepare a signed request, to be sent again and again."""
    keys = ("consumer_key", "consumer_secret", "access_token", "access_token_secret")
    request = requests.Request(
        "POST",
        f"{server.url}/insights/engagement/totals",
        json={
            "tweet_ids": ["1"],
            "engagement_types": ["favorites"],
            "groupings": {"all": {"group_by": ["engagement.type"]}},
        },
        auth=OAuth1(*(server.app[key] for key in keys)),
    )
    return request.prepare()


def repeat(prepared):
    with open_session() as session:
        return session.send(prepared, timeout=PATIENCE_S).status_code
