"""The counting process loses its socket, hangs or is killed, under a live server."""

import json
import os
import signal
import time

import pytest
import requests

from faults.crashing import open_session
from support.waiting import PATIENCE_S, wait_for

EVENT = b'{"tweet_id":"20","type":"favorites","at":"2026-11-22T10:15:00Z"}\n'
GONE = "the socket of the counting process is gone"
HUNG = "the counting process does not answer"


@pytest.fixture
def session():
    with open_session() as opened:
        yield opened


def health(crashing):
    answer = requests.get(f"{crashing.url}/health", timeout=PATIENCE_S)
    return answer.status_code, answer.json()


def healthy(crashing):
    return health(crashing) == (200, {"status": "ok"})


def send_one(crashing, session, key=None):
    answer = crashing.send(session, "events", EVENT, key=key)
    assert answer is not None
    return answer


def favorites(crashing):
    """What the store has for the Tweet of EVENT, read by another process."""
    crashing.make_app()
    crashing.command("load", "tweets", str(write_tweet(crashing.data.parent)))
    body = {
        "tweet_ids": ["20"],
        "engagement_types": ["favorites"],
        "groupings": {"all": {"group_by": ["engagement.type"]}},
    }
    return int(crashing.ask("totals", body)["all"]["favorites"])


def write_tweet(folder):
    path = folder / "tweet.ndjson"
    path.write_text(
        json.dumps({"id": "20", "author_id": "1", "created_at": "2026-11-01T00:00:00Z"})
    )
    return path


@pytest.mark.parametrize("used", [False, True])
def test_a_socket_that_a_cleaner_removed_is_restored(crashing, session, used):
    crashing.start()
    if used:
        assert send_one(crashing, session).status_code == 200
    (path,) = crashing.data.glob("counting-*.socket")
    path.unlink()
    assert send_one(crashing, session).status_code == 200
    assert crashing.log().count("counting_socket_restored") == 1
    wait_for(lambda: healthy(crashing))
    assert favorites(crashing) == used + 1


def is_blocked(path):
    """Put a folder in the place of the socket, unless the server restores it in between."""
    path.unlink(missing_ok=True)
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True


def test_a_socket_that_stays_gone_is_reported_and_a_batch_is_refused(crashing, session):
    crashing.start()
    assert send_one(crashing, session).status_code == 200
    (path,) = crashing.data.glob("counting-*.socket")
    wait_for(lambda: is_blocked(path))
    answer = send_one(crashing, session, key="k")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["errors"] == ["nothing of this batch was counted; send it again"]
    wait_for(lambda: health(crashing) == (503, {"status": "unavailable", "reasons": [GONE]}))
    wait_for(lambda: '"counting_socket_lost"' in crashing.log())
    path.rmdir()
    wait_for(lambda: healthy(crashing))
    assert crashing.log().count('"counting_socket_lost"') == 1
    assert send_one(crashing, session, key="k").json()["duplicate"] is False
    assert favorites(crashing) == 2


def test_a_hung_process_is_reported_and_counts_a_batch_once(crashing, session):
    crashing.settings = {"batch_timeout_s": "2", "counting_hang_max_s": "3600"}
    crashing.start()
    wait_for(lambda: send_one(crashing, session, key="first").ok)  # a start may take longer
    (process,) = crashing.counting_running()
    os.kill(process, signal.SIGSTOP)
    began = time.monotonic()
    answer = send_one(crashing, session, key="k")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert time.monotonic() - began < 30
    wait_for(lambda: health(crashing) == (503, {"status": "unavailable", "reasons": [HUNG]}))
    os.kill(process, signal.SIGCONT)
    wait_for(lambda: healthy(crashing))
    answer = wait_for(lambda: (sent := send_one(crashing, session, key="k")).ok and sent.json())
    assert answer["duplicate"] is True  # it was read when the process went on
    assert favorites(crashing) == 2


def start_that_replaces_soon(crashing):
    """Start a server whose counting process may hang for 10 s, and longer if starts take long."""
    crashing.settings = {"counting_hang_max_s": "10"}
    began = time.monotonic()
    crashing.start()
    start_s = time.monotonic() - began
    if start_s > 4:
        crashing.kill()
        crashing.settings = {"counting_hang_max_s": str(round(3 * start_s))}
        crashing.start()


def test_a_process_that_hangs_for_long_is_replaced(crashing, session):
    start_that_replaces_soon(crashing)
    assert send_one(crashing, session).status_code == 200
    (process,) = crashing.counting_running()
    os.kill(process, signal.SIGSTOP)
    # If the stopped process had accepted the connection, it breaks; else the next one serves it.
    assert send_one(crashing, session, key="k").status_code in {200, 503}
    wait_for(lambda: send_one(crashing, session, key="k").ok)
    wait_for(lambda: healthy(crashing))
    assert crashing.counting_running() != [process]
    assert '"counting_process_killed"' in crashing.log()
    assert favorites(crashing) == 2


@pytest.mark.parametrize("used", [False, True])
def test_kill_9_of_the_launcher_leaves_no_socket_or_folder(
    crashing, session, used, tmp_path, monkeypatch
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    crashing.start()
    if used:
        assert send_one(crashing, session).status_code == 200
    crashing.process.kill()
    crashing.process.wait()
    wait_for(lambda: not list(crashing.data.glob("counting-*")))
    # Python tries a temporary folder with a file that it removes at once.
    wait_for(lambda: not list(temporary.iterdir()))


def test_after_kill_9_of_everything_the_next_start_cleans_up(crashing, session):
    crashing.start()
    assert send_one(crashing, session).status_code == 200
    crashing.kill()
    (left,) = crashing.data.glob("counting-*")
    crashing.start()
    (now,) = crashing.data.glob("counting-*")
    assert now != left
    assert send_one(crashing, session).status_code == 200
