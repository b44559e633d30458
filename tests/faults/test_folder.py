"""A server on a folder that lost a part: it refuses to start, and nothing is lost."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from faults.crashing import open_session
from support.cli import EXECUTABLE, server_environment
from support.server import free_port
from support.waiting import PATIENCE_S, wait_for

COUNTERS, SEGMENTS, REGISTRY = "counters.sqlite3", "counters.segments", "registry.sqlite3"
AT = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(time.time() - 7200))
BATCHES = 12  # enough for a flush
SOCKETS = shutil.ignore_patterns("*.socket")


def send(server, session, number):
    rows = [{"tweet_id": str(tweet), "type": "replies", "at": AT} for tweet in range(1, 6)]
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    answer = server.send(session, "events", body, key=f"batch {number}")
    assert answer is not None
    assert answer.status_code == 200, answer.text


def replies(server):
    wanted = {
        "tweet_ids": ["1", "5"],
        "engagement_types": ["replies"],
        "groupings": {"all": {"group_by": ["tweet.id", "engagement.type"]}},
    }
    got = server.ask("totals", wanted)["all"]
    assert got["1"] == got["5"]
    return int(got["1"]["replies"])


@pytest.fixture
def counted(crashing):
    """A running server with counters in segment files and in its log."""
    crashing.make_app()
    crashing.start()
    with open_session() as session:
        tweets = [{"id": str(tweet), "author_id": "1", "created_at": AT} for tweet in range(1, 6)]
        body = "".join(json.dumps(row) + "\n" for row in tweets).encode()
        assert crashing.send(session, "tweets", body).status_code == 200
        for number in range(BATCHES):
            send(crashing, session, number)
    wait_for(lambda: list((crashing.data / SEGMENTS).glob("*.segment")))
    assert replies(crashing) == BATCHES
    return crashing


def stop(server):
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE_S) == 0


def refused_start(data):
    """Start a server in the way an operator does. Return the one line that it prints."""
    done = subprocess.run(
        [EXECUTABLE, "--data", data, "serve", "--port", str(free_port())],
        capture_output=True,
        text=True,
        check=False,
        env=server_environment(),
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "Nothing was changed" in line
    return line


def segments(data):
    return {path.name: path.read_bytes() for path in (data / SEGMENTS).glob("*.segment")}


@pytest.mark.parametrize("how", ["missing", "empty"])
@pytest.mark.parametrize("part", [COUNTERS, REGISTRY])
def test_a_start_without_a_database(counted, part, how):
    stop(counted)
    before, path = segments(counted.data), counted.data / part
    kept = path.rename(counted.data.parent / part)
    if how == "empty":
        path.touch()
    assert part in refused_start(counted.data)
    assert part in refused_start(counted.data)
    assert segments(counted.data) == before
    kept.replace(path)
    counted.start()
    assert replies(counted) == BATCHES


def test_a_start_with_an_older_database(counted, tmp_path):
    counted.command("backup", str(tmp_path / "backup"))
    with open_session() as session:
        for number in range(BATCHES, 3 * BATCHES):
            send(counted, session, number)
    backed_up = segments(tmp_path / "backup").keys()
    wait_for(lambda: segments(counted.data).keys() - backed_up)
    stop(counted)
    kept = shutil.copy(counted.data / COUNTERS, tmp_path / "newest")
    shutil.copy(tmp_path / "backup" / COUNTERS, counted.data / COUNTERS)
    before = segments(counted.data)
    assert SEGMENTS in refused_start(counted.data)
    assert segments(counted.data) == before
    shutil.copy(kept, counted.data / COUNTERS)
    counted.start()
    assert replies(counted) == 3 * BATCHES


def test_a_backup_over_the_files_of_a_killed_server(counted, tmp_path):
    """The write-ahead log of the killed server would be applied to the older database."""
    counted.command("backup", str(tmp_path / "backup"))
    with open_session() as session:
        send(counted, session, BATCHES)
    stop(counted)  # the next server starts a new log
    counted.start()
    with open_session() as session:
        for number in range(BATCHES + 1, BATCHES + 3):
            send(counted, session, number)
    counted.kill()
    assert (counted.data / f"{COUNTERS}-wal").stat().st_size
    killed = shutil.copytree(counted.data, tmp_path / "killed", ignore=SOCKETS)
    shutil.copytree(tmp_path / "backup", counted.data, dirs_exist_ok=True)
    refused_start(counted.data)
    shutil.rmtree(counted.data)
    shutil.copytree(killed, counted.data)
    counted.start()
    assert replies(counted) == BATCHES + 3


def test_a_start_with_the_key_of_another_server(counted, tmp_path):
    stop(counted)
    key = counted.data / "server.key"
    kept = key.rename(tmp_path / "key")
    assert "server.key is missing" in refused_start(counted.data)
    key.write_text(subprocess.check_output([EXECUTABLE, "key", "generate"], text=True))
    key.chmod(0o600)
    assert "server.key cannot decrypt any secret" in refused_start(counted.data)
    kept.replace(key)
    counted.start()
    assert replies(counted) == BATCHES


def test_a_database_that_is_removed_under_a_running_server_is_not_made_again(counted, tmp_path):
    """Batches are refused. A new, empty database would take them and hide the loss."""
    (counting,) = counted.counting_running()
    kept = shutil.copytree(counted.data, tmp_path / "kept", ignore=SOCKETS)
    (counted.data / COUNTERS).unlink()
    subprocess.check_call(["kill", "-9", str(counting)])
    event = b'{"tweet_id":"1","type":"replies","at":"' + AT.encode() + b'"}'

    def is_refused_with_the_reason():
        # The first batch may still reach the killed process.
        with open_session() as session:
            answer = counted.send(session, "events", event)
        assert answer is None or answer.status_code == 503
        return "is missing or empty" in counted.log()

    wait_for(is_refused_with_the_reason)
    assert not (counted.data / COUNTERS).exists()
    counted.kill()
    shutil.rmtree(counted.data)
    shutil.copytree(kept, counted.data)
    counted.start()
    assert replies(counted) == BATCHES


@pytest.mark.parametrize("keep", [8192, 12288, 100])
def test_a_start_with_truncated_limits(counted, keep):
    """Each worker ended with SIGBUS, at each start, and without a log line."""
    assert [replies(counted) for _ in range(20)] == [BATCHES] * 20
    counted.kill()
    (limits,) = counted.data.glob("limits-*.lmdb")
    assert limits.stat().st_size > 12288
    os.truncate(limits, keep)
    counted.start()
    assert replies(counted) == BATCHES
    (line,) = [line for line in counted.log().splitlines() if "limits_replaced" in line]
    assert json.loads(line)["file"] == limits.name
