"""`backup` and `prune`: complete copies, and deleted hours."""

import json
import shutil
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import requests

from contract.deltas import make_batch
from faults.crashing import Crashing, open_session
from openengagement import data_folder
from openengagement.cli import maintenance
from openengagement.clock import SystemClock
from openengagement.errors import StoreUnavailable
from openengagement.stores.contract import Stores
from openengagement.stores.embedded.store import EmbeddedStore
from support.waiting import PATIENCE_S, wait_for

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def event(tweet_id, days_ago, count=1):
    at = (NOW - timedelta(days=days_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"tweet_id": str(tweet_id), "type": "replies", "at": at, "count": count}


@pytest.fixture
def load(run, tmp_path):
    def loaded(*rows):
        path = tmp_path / "rows.ndjson"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert run("load", "events", path, "--json").json()["accepted"] == len(rows)

    return loaded


@contextmanager
def opened(folder):
    store = EmbeddedStore(folder / "counters.sqlite3", clock=SystemClock(), idempotency_keep_days=9)
    try:
        yield store
    finally:
        store.close()


def counted(folder, tweet_id):
    """Return the total, and the counts by age in days."""
    now = int(NOW.timestamp()) // 3600
    with opened(folder) as store:
        total = store.read_totals([tweet_id], ["replies"])[0, 0]
        hours = store.read_buckets(
            [tweet_id], ["replies"], start_hour=now - 24 * 40, end_hour=now + 1
        )[0, 0]
    return total, {days: hours[24 * (40 - days)] for days in range(40) if hours[24 * (40 - days)]}


def test_pruning_deletes_older_hours_and_keeps_totals(run, data, load, monkeypatch):
    # An hour may end while the tests run.
    monkeypatch.setattr(maintenance, "now_s", lambda: int(NOW.timestamp()))
    load(event(5, 0, 3), event(5, 9, 4), event(5, 10, 5), event(5, 39, 6))

    printed = run("prune", "--older-than-days", 10, "--json").json()

    assert printed["kept_since"] == (NOW - timedelta(days=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert printed["pruned_counters"] == 2  # a reply is an engagement too
    assert counted(data, 5) == (18, {0: 3, 9: 4, 10: 5})
    assert run("prune", "--older-than-days", 10, "--json").json()["pruned_counters"] == 0


class Remote:
    """A store without capabilities that cannot be reached."""

    name, blocking = "remote", True

    def apply_batches(self, batches):
        raise StoreUnavailable(self.name, "connection refused")

    apply_tweets = apply_batches

    def read_position(self, source):
        return None

    def close(self):
        pass


@pytest.fixture
def remote(monkeypatch):
    engine = Remote()
    monkeypatch.setattr(data_folder, "open_stores", lambda *_, **__: Stores(engine, engine))


@pytest.mark.parametrize(
    ("command", "reason"), [("prune --older-than-days 1", "prune"), ("backup copy", "be copied")]
)
def test_a_command_says_that_an_engine_lacks_a_capability(
    run, data, remote, monkeypatch, tmp_path, command, reason
):
    run("platform-key", "issue", "feed")
    monkeypatch.chdir(tmp_path)
    done = run(*command.split())
    assert done.code == 1
    assert done.err.startswith(f"error: the remote store cannot {reason};")
    assert done.err.count("\n") == 1
    assert list(tmp_path.glob("copy*")) == []


@pytest.mark.parametrize("kind", ["events", "tweets"])
def test_a_command_says_that_a_store_is_unavailable(run, remote, tmp_path, kind):
    path = tmp_path / "rows.ndjson"
    row = event(5, 0) if kind == "events" else {"id": "5", "author_id": "7"}
    path.write_text(json.dumps(row) + "\n")
    done = run("load", kind, path)
    assert done.code == 1
    assert "the remote store is unavailable: connection refused" in done.err
    assert "Traceback" not in done.err


def test_a_command_says_that_a_store_cannot_be_opened_now(run, owned_app, monkeypatch):
    def fail(*_, **__):
        raise StoreUnavailable("remote", "connection refused")

    monkeypatch.setattr(data_folder, "open_stores", fail)
    done = run("prune", "--older-than-days", 1)
    assert done.code == 1
    assert "the remote store is unavailable: connection refused; try again later" in done.err


@pytest.mark.parametrize("days", ["0", "-1", "x", "36501"])
def test_invalid_days_are_refused(run, load, data, days):
    load(event(5, 9))
    done = run("prune", "--older-than-days", days)
    assert done.code == 2
    assert "--older-than-days" in done.err
    assert counted(data, 5) == (1, {9: 1})


def test_a_copy_is_complete(run, data, load, owned_app, tmp_path):
    load(event(5, 0, 3))
    with opened(data) as store:  # counters both in a segment file and in the database
        store.prune(oldest_hour=0)  # moves all counters to a segment file
    load(event(5, 1, 4))

    printed = run("backup", tmp_path / "copy", "--json").json()

    copy = tmp_path / "copy"
    assert printed["folder"] == str(copy)
    assert printed["bytes"] > 0
    shutil.rmtree(data)
    assert counted(copy, 5) == (7, {0: 3, 1: 4})
    assert run("token", "issue", owned_app, "--json", folder=copy).code == 0
    assert copy.stat().st_mode & 0o077 == 0
    assert [path.name for path in copy.rglob("*") if path.stat().st_mode & 0o077] == []


def test_a_folder_that_is_not_empty_is_refused(run, data, owned_app, tmp_path):
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine").write_text("x")
    done = run("backup", used)
    assert (done.code, [path.name for path in used.iterdir()]) == (1, ["mine"])
    assert "not empty" in done.err


def test_a_damaged_segment_stops_the_backup(run, data, load, tmp_path):
    load(event(5, 0, 3))
    with opened(data) as store:
        store.prune(oldest_hour=0)  # moves all counters to a segment file
    (segment,) = (data / "counters.segments").glob("*.segment")
    damages = {"nothing was copied": lambda: segment.write_bytes(b"x"), "lacks 1": segment.unlink}
    for says, damage in damages.items():
        damage()
        done = run("backup", tmp_path / "copy")
        assert done.code == 1
        assert says in done.err
        assert list(tmp_path.glob("copy*")) == []


def test_a_copy_uses_no_more_disk_space(run, data, load, tmp_path):
    """Holes in sparse files stay holes."""
    run("account", "add", "ana")
    with opened(data) as store:
        for _ in range(8):
            store.apply_batches([many()])
        store.prune(oldest_hour=0)  # moves all counters to a segment file
    run("backup", tmp_path / "copy")
    used = [
        sum(path.stat().st_blocks for path in (folder / "counters.segments").glob("*.segment"))
        for folder in (data, tmp_path / "copy")
    ]
    assert 0 < used[1] <= used[0]


def many():
    return make_batch([(tweet_id, 10, {"replies": 1}) for tweet_id in range(1, 20_001)])


def test_a_missing_data_folder_is_refused(run, data, tmp_path):
    done = run("backup", tmp_path / "copy")
    assert done.code == 1
    assert "is not a folder" in done.err
    assert not data.exists()


def send(server, session, number):
    rows = [event(7, 0), event(8, 0), event(9, 20)]
    answer = session.post(
        f"{server.url}/platform/v1/events",
        data="".join(json.dumps(row) + "\n" for row in rows),
        headers={
            "Authorization": f"Bearer {server.platform_key}",
            "Content-Type": "application/x-ndjson",
            "Idempotency-Key": f"batch {number}",
        },
        timeout=PATIENCE_S,
    )
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 3


def test_backups_and_pruning_while_a_server_counts(running, tmp_path):
    """Every copy is consistent, and no event is lost."""
    done, sent, faults = threading.Event(), [], []

    def produce():
        try:
            with open_session() as session:
                while not done.wait(0.01):
                    send(running, session, len(sent))
                    sent.append(1)
        except (AssertionError, requests.RequestException) as error:
            faults.append(error)

    producer = threading.Thread(target=produce)
    producer.start()
    wait_for(lambda: sent or faults)
    copies = [tmp_path / f"copy {number}" for number in range(3)]
    for copy in copies:
        before = len(sent)
        running.command("backup", str(copy))
        after = len(sent)
        running.command("prune", "--older-than-days", "10")
        seven, eight = counted(copy, 7)[0], counted(copy, 8)[0]
        assert before <= seven == eight <= after + 1
    wait_for(lambda: len(sent) > 10 or faults)
    done.set()
    producer.join()
    assert not faults
    running.command("prune", "--older-than-days", "10")
    assert counted(running.data, 7) == (len(sent), {0: len(sent)})
    assert counted(running.data, 9) == (len(sent), {})


def test_a_server_starts_on_a_copy(running, tmp_path):
    copy = tmp_path / "copy"
    running.command("backup", str(copy))
    again = Crashing(copy)
    again.platform_key = running.platform_key
    again.start()
    try:
        with open_session() as session:
            send(again, session, "on the copy")
    finally:
        again.end()
