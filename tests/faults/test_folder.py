"""A server on a folder that lost a part: it refuses to start, and nothing is lost."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from faults.crashing import Crashing, open_session
from support.cli import EXECUTABLE, invoke, server_environment
from support.ports import free_port
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


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A server that stopped, with counters in segment files and in its log."""
    saved = Crashing(tmp_path_factory.mktemp("saved") / "data", workers=1)
    try:
        saved.make_app()
        saved.start()
        with open_session() as session:
            ids = [str(tweet) for tweet in range(1, 6)]
            tweets = [{"id": each, "author_id": "1", "created_at": AT} for each in ids]
            body = "".join(json.dumps(row) + "\n" for row in tweets).encode()
            assert saved.send(session, "tweets", body).status_code == 200
            for number in range(BATCHES):
                send(saved, session, number)
        wait_for(lambda: list((saved.data / SEGMENTS).glob("*.segment")))
        assert replies(saved) == BATCHES
        stop(saved)
    finally:
        saved.end()
    return saved


@pytest.fixture
def stopped(saved, tmp_path):
    """A server that does not run, on a copy of the folder."""
    copy = saved.on_copy(tmp_path / "data")
    yield copy
    copy.end()


@pytest.fixture
def counted(stopped):
    stopped.start()
    assert replies(stopped) == BATCHES
    return stopped


def stop(server):
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE_S) == 0


def refused_process(data):
    """Start a server in the way an operator does. Return the one line that it prints."""
    done = subprocess.run(
        [EXECUTABLE, "--data", data, "serve", "--port", str(free_port())],
        capture_output=True,
        text=True,
        check=False,
        env=server_environment(),
        timeout=PATIENCE_S,
    )
    return refusal(done.returncode, done.stdout, done.stderr)


def refused_start(data):
    """The same in this process, which saves half a second."""
    done = invoke("--data", str(data), "serve", "--port", str(free_port()))
    return refusal(done.exit_code, done.stdout, done.stderr)


def refusal(code, stdout, stderr):
    assert (code, stdout) == (1, "")
    (line,) = stderr.splitlines()
    assert line.startswith("error: ")
    assert "Nothing was changed" in line
    return line


def segments(data):
    return {path.name: path.read_bytes() for path in (data / SEGMENTS).glob("*.segment")}


@pytest.mark.parametrize("how", ["missing", "empty"])
@pytest.mark.parametrize("part", [COUNTERS, REGISTRY])
def test_a_start_without_a_database(stopped, part, how):
    before, path = segments(stopped.data), stopped.data / part
    kept = path.rename(stopped.data.parent / part)
    if how == "empty":
        path.touch()
    assert part in refused_start(stopped.data)
    assert part in refused_start(stopped.data)
    assert segments(stopped.data) == before
    kept.replace(path)
    stopped.start()
    assert replies(stopped) == BATCHES


def test_a_start_with_an_older_database(counted, tmp_path):
    counted.command("backup", str(tmp_path / "backup"))
    with open_session() as session:
        for number in range(BATCHES, 3 * BATCHES):
            send(counted, session, number)
    backed_up = segments(tmp_path / "backup").keys()
    # By their names: a merge may remove files that are read here.
    wait_for(
        lambda: {path.name for path in (counted.data / SEGMENTS).glob("*.segment")} - backed_up
    )
    stop(counted)
    kept = shutil.copy(counted.data / COUNTERS, tmp_path / "newest")
    shutil.copy(tmp_path / "backup" / COUNTERS, counted.data / COUNTERS)
    before = segments(counted.data)
    assert SEGMENTS in refused_process(counted.data)
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


def test_a_start_with_the_key_of_another_server(stopped, tmp_path):
    key = stopped.data / "server.key"
    kept = key.rename(tmp_path / "key")
    assert "server.key is missing" in refused_start(stopped.data)
    key.write_text(invoke("key", "generate").stdout)
    key.chmod(0o600)
    assert "server.key cannot decrypt any secret" in refused_start(stopped.data)
    kept.replace(key)
    stopped.start()
    assert replies(stopped) == BATCHES


def test_a_database_that_is_removed_under_a_running_server_is_not_made_again(counted, tmp_path):
    """Batches are refused. A new, empty database would take them and hide the loss."""
    with open_session() as session:
        send(counted, session, 0)  # a repeat; it starts the counting process
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
