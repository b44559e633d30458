"""`openengagement move` between two data folders, which takes no databases. `tests/contract/
test_moving.py` moves to a cluster and back while events arrive."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from cryptography.fernet import Fernet

from openengagement.apps.usage_meter import UsageMeter, UsageWriter
from openengagement.cli.common import CLOCK
from openengagement.cli.move import _ending_on_signal
from openengagement.engagement.counters import no_counters
from openengagement.errors import StoreUnavailable
from openengagement.limits.contract import MINUTE_S, Nonce
from openengagement.limits.opening import open_limits
from openengagement.moving import mover, passes, place_lock
from openengagement.moving.place_lock import lock_folder
from openengagement.moving.writer import TargetWriter
from openengagement.registry.opening import open_registry
from openengagement.settings import Settings
from openengagement.stores.contract import Applied, Authored, Batch, Position
from openengagement.stores.inventory import PROGRESS, MoveState
from openengagement.stores.opening import open_stores
from support.cli import EXECUTABLE, call_command
from support.waiting import PATIENCE_S, wait_for

EVENTS = [
    {"tweet_id": "11", "type": "favorites", "at": "2026-11-20T10:00:00Z", "count": 3},
    {"tweet_id": "11", "type": "video_views", "at": "2026-11-20T11:00:00Z", "count": 5},
    {"tweet_id": "12", "type": "video_views", "at": "2026-11-20T11:00:00Z", "count": 7},
    {"tweet_id": "13", "type": "impressions", "at": "2020-01-01T00:00:00Z", "count": 9},
]
TWEETS = [
    {"id": "11", "author_id": "7", "video_id": "clip", "text": "Hello", "url": "https://x.org/1"},
    {"id": "12", "author_id": "7", "video_id": "clip", "created_at": "2026-11-20T09:00:00Z"},
    {"id": "13", "author_id": "7", "deleted": True},
]
TYPES = ["favorites", "video_views", "impressions", "engagements"]
CLOCK_S = 1_795_342_500  # 2026-11-22
IDS = [11, 12, 13]


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    """No server counts usage here."""
    monkeypatch.setattr(mover, "ROUND_S", 0.0)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder with everything that a move must copy, and the credentials of its app."""
    folder = tmp_path_factory.mktemp("source")
    data = folder / "data"
    call_command(data, "account", "add", "ana", "--id", "7")
    app = call_command(data, "app", "add", "Dash", "--owner", "ana")
    app |= call_command(data, "token", "issue", app["app_id"])
    app |= call_command(data, "token", "bearer", app["app_id"])
    for kind, rows in (("tweets", TWEETS), ("events", EVENTS)):
        file = folder / f"{kind}.json"
        file.write_text(json.dumps(rows))
        call_command(data, "load", kind, str(file))
    call_command(data, "prune", "--older-than-days", "1000")
    with closing(open_stores(data, Settings(), clock=CLOCK)) as stores:
        position = Position("log/1", b"offset 5", None)
        stores.counters.apply_batches(
            [
                Batch(no_counters(), b"key", b"digest", b"the outcome"),
                Batch(no_counters(), None, b"", b"", position=position),
            ]
        )
    with closing(open_limits(data)) as limits:
        limits.remember_nonce(Nonce(5_000_000_000, b"0123456789abcdef"))
        limits.count(b"app", {MINUTE_S: 5}, now_s=5_000_000_000)
    return folder, app


@pytest.fixture
def filled(source, tmp_path):
    """A copy of it in the test's folder, and the credentials."""
    folder, app = source
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return dict(app)


def moving(run, data, target, *options):
    return run("move", "--from", data, "--to", target, *options, "--json")


def add_source(run, folder):
    """Make another folder that could be moved."""
    assert run("account", "add", "zoe", folder=folder).code == 0
    with closing(open_stores(folder, Settings(), clock=CLOCK)) as stores:
        stores.counters.apply_batches([Batch(no_counters(), b"k", b"", b"")])
    return folder


def read_all(folder):
    """Everything that the stores and the registry of a folder answer."""
    with (
        closing(open_stores(folder, Settings(), clock=CLOCK)) as stores,
        closing(open_registry(folder)) as registry,
    ):
        counters, tweets = stores.counters, stores.tweets
        hours = {"start_hour": 440_000, "end_hour": 500_000}
        return (
            counters.read_totals(IDS, TYPES).tolist(),
            counters.read_window(IDS, **hours).by_tweet.tolist(),
            tweets.read_tweets(IDS),
            tweets.read_contents(IDS),
            counters.read_outcome(b"key", b"digest"),
            counters.read_position("log/1"),
            registry.count(),
        )


def test_everything_moves(run, data, target, filled):
    before = read_all(data)
    copied = moving(run, data, target).json()
    assert (copied["switched"], copied["tweets_compared"]) == (False, 3)
    done = moving(run, data, target, "--switch").json()
    assert (done["switched"], done["differences"]) == (True, 0)
    assert (done["tweets_compared"], done["sealed_s"] >= done["closed_s"]) == (3, True)
    assert read_all(target) == before
    assert before[0] == [[3, 12, 0, 3], [0, 12, 0, 0], [0, 0, 9, 0]]
    assert (target / "server.key").read_bytes() == (data / "server.key").read_bytes()
    open_to_others = [str(each) for each in target.rglob("*") if each.stat().st_mode & 0o077]
    assert target.stat().st_mode & 0o077 == 0
    assert not [each for each in open_to_others if Path(each).is_file()]
    for command in ("issue", "bearer"):
        found = run("token", command, filled["app_id"], "--json", folder=target).json()
        assert {found[name] for name in found} & set(filled.values())
    with closing(open_limits(target)) as limits:
        assert not limits.remember_nonce(Nonce(5_000_000_000, b"0123456789abcdef"))
        assert limits.count(b"app", {MINUTE_S: 5}, now_s=5_000_000_000)[0].used == 2


def test_files_and_batches_of_before_count_once(run, data, target, filled, tmp_path):
    assert moving(run, data, target, "--switch").code == 0
    totals = read_all(target)[0]
    again = run("load", "events", tmp_path / "events.json", folder=target)
    assert (again.code, read_all(target)[0]) == (0, totals)
    with closing(open_stores(target, Settings(), clock=CLOCK)) as stores:
        repeat = Batch(no_counters(), b"key", b"digest", b"another outcome")
        assert stores.counters.apply_batches([repeat]) == [Applied(True, b"the outcome")]


def test_the_source_refuses_everything_after_the_switch(run, data, target, filled, tmp_path):
    assert moving(run, data, target, "--switch").code == 0
    new = tmp_path / "new.json"
    new.write_text(json.dumps([{**EVENTS[0], "count": 4}]))
    pruned = run("prune", "--older-than-days", "1")
    for refused in (run("load", "events", new), run("account", "add", "ben"), pruned):
        assert (refused.code, "or was moved" in refused.err) == (1, True), refused
    with closing(open_limits(data)) as limits, pytest.raises(StoreUnavailable):
        limits.count(b"app", {MINUTE_S: 5}, now_s=1)
    assert moving(run, data, target, "--switch").json() == {"switched": True, "passes": 0}


def test_changes_between_two_passes_are_copied(run, data, target, filled):
    assert moving(run, data, target).code == 0
    with closing(open_stores(data, Settings(), clock=CLOCK)) as stores:
        stores.tweets.delete_tweet(11)
        stores.counters.erase([12])
        stores.tweets.forget(Authored([7], [13], []))
    assert run("account", "add", "ben", "--id", "8").code == 0
    assert moving(run, data, target, "--switch").json()["differences"] == 0
    assert read_all(target) == read_all(data)
    assert list(read_all(target)[2]) == [11, 12]


def test_a_source_is_released_and_moved_to_another_target(run, data, target, filled, tmp_path):
    assert moving(run, data, target, "--switch").code == 0
    refused = run("move", "--from", data, "--release")
    assert (refused.code, "--yes" in refused.err) == (1, True)
    assert run("move", "--from", data, "--release", "--yes", "--json").json() == {
        "released": str(data)
    }
    assert run("account", "add", "ben").code == 0
    again = moving(run, data, target, "--switch")
    assert (again.code, "was opened again" in again.err) == (1, True)
    assert moving(run, data, tmp_path / "third", "--switch").code == 0


def test_a_failure_opens_the_source_again(run, data, target, filled, monkeypatch):
    monkeypatch.setattr(mover.Mover, "_copy_last", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        moving(run, data, target, "--switch")
    assert run("account", "add", "ben").code == 0


@pytest.fixture
def hangups():
    """SIGHUP has its default effect here and in commands, also when `nohup` runs the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_once(hangups, number):
    """SIGHUP often comes twice. The second one must not interrupt what opens the source again."""
    handler = signal.getsignal(number)
    done = []

    def work():
        with _ending_on_signal():
            try:
                signal.raise_signal(number)
            finally:
                signal.raise_signal(number)
                done.append("opened")

    with pytest.raises(SystemExit) as ended:
        work()
    assert (ended.value.code, done) == (128 + number, ["opened"])
    assert signal.getsignal(number) is handler


def test_an_ignored_signal_stays_ignored(hangups):
    """As by `nohup`."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with _ending_on_signal():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.heavy
def test_a_lost_terminal_opens_the_source_again(hangups, run, data, target, filled):
    """The command waits for the usage of a worker when its terminal goes."""
    command = [EXECUTABLE, "move", "--from", data, "--to", target, "--switch"]
    terminal, side = os.openpty()
    with closing(open_registry(data)) as registry:
        registry.database.join_writers()
        process = subprocess.Popen(
            command, stdin=side, stdout=side, stderr=side, start_new_session=True
        )
        os.close(side)
        wait_for(lambda: (data / "limits.sealed").exists() or process.poll() is not None)
        os.close(terminal)
        process.send_signal(signal.SIGHUP)
        assert process.wait(PATIENCE_S) != 0
    assert not (data / "limits.sealed").exists()
    assert run("account", "add", "ben").code == 0


def test_a_killed_switch_goes_on(run, data, target, filled, monkeypatch):
    """A killed process opens nothing again."""
    monkeypatch.setattr(mover.Mover, "_copy_last", lambda _: 1 / 0)
    monkeypatch.setattr(mover, "release_side", lambda _: None)
    with pytest.raises(ZeroDivisionError):
        moving(run, data, target, "--switch")
    monkeypatch.undo()
    monkeypatch.setattr(mover, "ROUND_S", 0.0)
    assert "Add --switch" in moving(run, data, target).err
    assert run("account", "add", "ben").code == 1
    assert moving(run, data, target, "--switch").json()["differences"] == 0
    assert read_all(target) == read_all(data)


def test_an_unfinished_target_serves_nothing(run, data, target, filled):
    assert moving(run, data, target).code == 0
    refused = run("account", "add", "ben", folder=target)
    assert (refused.code, "has not finished" in refused.err) == (1, True)


def test_the_check_names_what_differs(run, data, target, filled, monkeypatch):
    """Somebody else counts in the target while a slice is copied."""
    assert moving(run, data, target).code == 0
    with closing(open_stores(target, Settings(), clock=CLOCK)) as stores:
        deltas = stores.counters.inventory().read_counters(11, 12)
        stores.counters.apply_batches([Batch(deltas, None, b"", b"")])
    monkeypatch.setattr(TargetWriter, "add", lambda *_: None)
    failed = moving(run, data, target, "--switch")
    assert failed.code == 1
    assert "the two sides differ" in failed.err
    assert "(Tweets 12)" in failed.err
    assert run("account", "add", "ben").code == 0  # the source is open again
    monkeypatch.undo()
    monkeypatch.setattr(mover, "ROUND_S", 0.0)
    assert moving(run, data, target, "--switch").json()["differences"] == 0
    assert read_all(target) == read_all(data)


# Usage that is late.


def test_a_switch_waits_for_the_usage_of_every_worker(run, data, target, filled):
    """A worker has it in memory until after the source was closed."""
    month, app_id = "2026-11", int(filled["app_id"])
    limits = SimpleNamespace(is_sealed=(data / "limits.sealed").exists)
    with closing(open_registry(data)) as registry, ThreadPoolExecutor(1) as pool:
        meter = UsageMeter(registry.usage, now_s=lambda: CLOCK_S)
        worker = UsageWriter(meter, limits=limits, database=registry.database)
        with meter.in_flight:
            moved = pool.submit(moving, run, data, target, "--switch")
            wait_for(limits.is_sealed)
            worker.write()  # with a request in flight, so there will be more
            meter.count_answer(app_id, [7])
        assert not moved.done()
        worker.write()
        assert moved.result().json()["switched"]
    with closing(open_registry(target)) as registry:
        used = registry.usage.read_app_usage(app_id, [month])[month]
        assert (used.requests, used.handles) == (1, 1)


def test_a_worker_that_does_not_write_its_usage_stops_the_switch(
    run, data, target, filled, monkeypatch
):
    """A body that arrives slowly may take as long as the setting allows."""
    monkeypatch.setenv("OPENENGAGEMENT_BODY_TIMEOUT_S", "7")
    monkeypatch.setattr(mover, "_USAGE_MIN_S", 0.0)
    monkeypatch.setattr(mover, "_AFTER_BODY_S", -6.0)
    with closing(open_registry(data)) as registry:
        registry.database.join_writers()
        said = refusal(run, data, target, "--switch")
        assert "has not written its usage within 1 s: it is overloaded, or a request's body" in said
        assert run("account", "add", "ben").code == 0  # the source is open again
    assert moving(run, data, target, "--switch").json()["differences"] == 0


# Two moves at once, and one after the other.


def test_another_process_cannot_interfere(run, data, target, filled, tmp_path):
    """A move that has begun holds both places, to its end."""
    other = add_source(run, tmp_path / "other")
    for place in (data, target):
        target.mkdir(exist_ok=True)
        with closing(lock_folder(place)) as lock:
            assert lock.is_held()
            for options in ((), ("--switch",)):
                assert f"from or to {place}" in refusal(run, data, target, *options)
    with closing(lock_folder(data)):
        assert f"from or to {data}" in refusal(run, data, tmp_path / "third", "--switch")
        ended = run("move", "--from", data, "--release", "--yes")
        assert (ended.code, "another process is moving data" in ended.err) == (1, True)
    with closing(lock_folder(target)):
        assert f"from or to {target}" in refusal(run, other, target)
        assert not (target / "server.key").exists()
    assert moving(run, data, target, "--switch").json()["differences"] == 0


def test_a_source_that_has_moved_does_not_move_to_another_target(
    run, data, target, filled, tmp_path
):
    """Otherwise both targets would count."""
    assert moving(run, data, target, "--switch").code == 0
    for options in ((), ("--switch",)):
        said = refusal(run, data, tmp_path / "third", *options)
        assert f"or was moved, to {target}" in said
    assert "or was moved" in run("account", "add", "ben").err  # the source stays closed


def test_an_interrupted_switch_goes_on_to_the_same_target_only(
    run, data, target, filled, tmp_path, monkeypatch
):
    monkeypatch.setattr(mover.Mover, "_copy_last", lambda _: 1 / 0)
    monkeypatch.setattr(mover, "release_side", lambda _: None)
    with pytest.raises(ZeroDivisionError):
        moving(run, data, target, "--switch")
    monkeypatch.undo()
    monkeypatch.setattr(mover, "ROUND_S", 0.0)
    assert moving(run, data, tmp_path / "third").code == 1
    assert "--release" in refusal(run, data, tmp_path / "third", "--switch")
    assert moving(run, data, target, "--switch").json()["differences"] == 0


def test_an_unfinished_target_is_no_source(run, data, target, filled, tmp_path):
    assert moving(run, data, target).code == 0
    assert "has not finished" in refusal(run, target, tmp_path / "third")


def test_a_lost_lock_opens_nothing(run, data, target, filled, monkeypatch):
    """PostgreSQL was restarted, so another process may move the source now."""
    lost = []
    monkeypatch.setattr(place_lock._FolderLock, "is_held", lambda _: not lost)
    monkeypatch.setattr(mover.Mover, "_copy_last", lambda _: lost.append(True))
    said = refusal(run, data, target, "--switch")
    assert "may be sealed still, because the lock of the move was lost" in said
    assert ("--switch again" in said, "--release" in said) == (True, True)
    assert run("account", "add", "ben").code == 1  # it stays sealed
    monkeypatch.undo()
    monkeypatch.setattr(mover, "ROUND_S", 0.0)
    assert moving(run, data, target, "--switch").json()["differences"] == 0


def test_a_source_that_cannot_be_opened_again_is_named(run, data, target, filled, monkeypatch):
    def fail(_):
        raise StoreUnavailable("registry", "it was stopped")

    monkeypatch.setattr(mover.Mover, "_copy_last", lambda _: 1 / 0)
    monkeypatch.setattr(mover, "release_side", fail)
    said = refusal(run, data, target, "--switch")
    assert f"{data} may be sealed still" in said
    assert "the registry store is unavailable: it was stopped. Run" in said


# Refusals.


def refusal(run, data, target, *options):
    done = moving(run, data, target, *options)
    assert done.code == 1, done.out
    return done.err


def test_the_same_place_is_refused(run, data, filled):
    assert "are the same place" in refusal(run, data, data.parent / "x" / ".." / data.name)
    assert "are the same place" in refusal(run, "cluster", "cluster")


def test_a_target_must_be_named(run, data):
    assert "with --to" in run("move", "--from", data).err


def test_a_source_without_data_is_refused(run, data, target):
    assert "is not a data folder" in refusal(run, data, target)
    assert not target.exists()


def test_a_target_that_is_in_use_is_refused(run, data, target, filled):
    assert run("account", "add", "zoe", folder=target).code == 0
    (target / "server.key").unlink()
    assert "is not empty, and no move has filled it" in refusal(run, data, target)


def test_a_target_of_another_source_is_refused(run, data, target, filled, tmp_path):
    other = tmp_path / "other"
    assert moving(run, data, other, "--switch").code == 0
    assert moving(run, data, target).code == 1  # the source is sealed
    zoe = add_source(run, tmp_path / "zoe")
    (other / "server.key").unlink()
    assert "was filled from other stores" in refusal(run, zoe, other)


def test_other_keys_in_the_target_are_refused(run, data, target, filled):
    target.mkdir()
    (target / "server.key").write_bytes(Fernet.generate_key() + b"\n")
    (target / "server.key").chmod(0o600)
    assert "has other keys than the source" in refusal(run, data, target)


def test_keys_that_do_not_fit_the_source_are_refused(run, data, target, filled):
    (data / "server.key").write_bytes(Fernet.generate_key() + b"\n")
    assert "do not decrypt every secret" in refusal(run, data, target)


def test_a_cluster_needs_settings(run, data, filled):
    assert "SERVER_KEYS lacks 1 of the 1 keys" in refusal(run, data, "cluster")
    assert "set OPENENGAGEMENT_STORE" in refusal(run, "cluster", data)


def test_a_faulty_option_of_a_database_is_refused(run, data, filled, monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("OPENENGAGEMENT_REGISTRY", "postgresql://ana@127.0.0.1/x?sslmod=require")
    monkeypatch.setenv("OPENENGAGEMENT_STORE", "clickhouse://127.0.0.1/x")
    monkeypatch.setenv("OPENENGAGEMENT_SERVER_KEYS", (data / "server.key").read_text().strip())
    said = refusal(run, data, "cluster")
    assert 'the registry cannot be used: invalid URI query parameter: "sslmod"' in said


def test_a_newer_source_is_refused(run, data, target, filled):
    with closing(sqlite3.connect(data / "counters.sqlite3")) as db:
        db.execute("PRAGMA user_version = 99")
    assert "another version of the server" in refusal(run, data, target)


def test_two_processes_do_not_move_at_once(run, data, target, filled, monkeypatch):
    """The second one begins while the first one works."""
    tweets = passes.Pass.tweets

    def interrupt(self):
        monkeypatch.setattr(passes.Pass, "tweets", tweets)
        state = MoveState.read(self.target.stores.counters)
        theirs = replace_run(state)
        position = Position(PROGRESS, theirs, msgspec.json.encode(state))
        other = Batch(no_counters(), None, b"", b"", position=position)
        self.target.stores.counters.apply_batches([other])
        tweets(self)

    monkeypatch.setattr(passes.Pass, "tweets", interrupt)
    assert "another process is moving data" in refusal(run, data, target)
    assert moving(run, data, target, "--switch").code == 0


def replace_run(state):
    return msgspec.json.encode(msgspec.structs.replace(state, run="other", step=state.step + 1))
