"""A data folder that lacks a file, or has one of another state, is refused and not changed."""

import hashlib
import json
import shutil
import sqlite3
from functools import partial

import pytest

from support.cli import call_command
from support.folders import COUNTERS, REGISTRY, SEGMENTS, open_store, total
from support.ports import free_port

SET_ASIDE = ["missing", "empty", "without tables"]


def count_events(path, folder, events=3, *, flush=True):
    """Count events from the file at `path`, and move all counters to segment files."""
    row = {"tweet_id": "5", "type": "replies", "at": "2026-11-20T10:00:00Z"}
    marked = [row | {"count": number} for number in range(1, events + 1)]
    path.write_text("".join(json.dumps(each) + "\n" for each in marked))
    call_command(folder, "load", "events", str(path))
    if flush:
        store = open_store(folder)
        store.prune(oldest_hour=0)
        store.close()


@pytest.fixture
def count(tmp_path):
    """Counts events in a folder."""
    return partial(count_events, tmp_path / "rows.ndjson")


@pytest.fixture(scope="module")
def counted(owned, tmp_path_factory):
    """A folder with an account, an app and counters in a segment file. Tests work on copies."""
    folder = shutil.copytree(owned[0], tmp_path_factory.mktemp("counted") / "data")
    count_events(folder.parent / "rows.ndjson", folder)
    return folder


@pytest.fixture
def used(counted, data, owned_app):
    """The test's folder, with counters in a segment file."""
    return shutil.copytree(counted, data, dirs_exist_ok=True)


def content(folder):
    """The content of every file but locks, and files that SQLite makes while a database is open."""
    skipped = (".lock", "-wal", "-shm", ".mdb-lock", ".lmdb", ".lmdb-lock")
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(skipped)
    }


@pytest.fixture
def refused(run, data, tmp_path):
    """Checks that every kind of command refuses the folder, in one sentence, changing nothing."""
    rows = tmp_path / "more.ndjson"
    rows.write_text('{"tweet_id": "5", "type": "replies", "at": "2026-11-20T10:00:00Z"}\n')
    commands = [
        ("serve", "--port", free_port()),
        ("load", "events", rows),
        ("prune", "--older-than-days", "1"),
        ("backup", tmp_path / "copy"),
        ("account", "add", "x"),
        ("platform-key", "issue", "x"),
        ("key", "rotate"),
    ]

    def check(*says):
        before = content(data)
        for command in commands:
            done = run(*command)
            assert done.code == 1, command
            assert done.err.startswith("error: ")
            assert done.err.count("\n") == 1
            for text in says:
                assert text in done.err
            assert content(data) == before, command
        assert not (tmp_path / "copy").exists()

    return check


def set_aside(path, how):
    """Replace a database as a mistake would; return how to put it back."""
    kept = path.with_name(f"kept-{path.name}")
    path.rename(kept)
    if how == "empty":
        path.write_bytes(b"")
    elif how == "without tables":
        sqlite3.connect(path).execute("PRAGMA journal_mode = WAL")

    def put_back():
        kept.replace(path)

    return put_back


@pytest.mark.parametrize("how", SET_ASIDE)
def test_segments_without_their_database(used, refused, how):
    put_back = set_aside(used / COUNTERS, how)
    refused("counters.sqlite3 is missing or empty", "Nothing was changed", "restore")
    put_back()
    assert total(used) == 6


@pytest.mark.parametrize("how", SET_ASIDE)
def test_segments_without_their_database_and_without_accounts(run, data, count, refused, how):
    count(data)
    put_back = set_aside(data / COUNTERS, how)
    refused(SEGMENTS, "1 segment file (merged-", "counters.sqlite3 is missing or empty", "restore")
    put_back()
    assert total(data) == 6


@pytest.mark.parametrize("how", SET_ASIDE)
def test_a_registry_without_counters(run, data, owned_app, count, refused, how):
    """All counters are in the database, so there is no segment file to see."""
    count(data, flush=False)
    put_back = set_aside(data / COUNTERS, how)
    refused("counters.sqlite3 is missing or empty", "Nothing was changed", "restore")
    put_back()
    assert total(data) == 6


@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize("how", SET_ASIDE)
def test_counters_without_a_registry(run, data, owned_app, count, refused, how, flush):
    count(data, flush=flush)
    put_back = set_aside(data / REGISTRY, how)
    refused("registry.sqlite3 is missing or empty", "holds counters", "restore")
    put_back()
    assert run("token", "issue", owned_app).code == 0


def test_an_older_database(used, count, refused, tmp_path):
    """It lists files that were merged since, and does not list newer ones."""
    older = shutil.copy(used / COUNTERS, tmp_path / "older")
    count(used, 4)
    store = open_store(used)
    store._compactor.compaction.run(idle=True)
    store.close()
    newer = shutil.copy(used / COUNTERS, tmp_path / "newer")
    shutil.copy(older, used / COUNTERS)
    refused("lacks 1 segment file (merged-", "which counters.sqlite3 lists", "restore")
    shutil.copy(newer, used / COUNTERS)
    assert total(used) == 16


def test_a_database_from_before_the_first_segment(run, data, owned_app, count, refused, tmp_path):
    older = shutil.copy(data / COUNTERS, tmp_path / "older")
    count(data)
    newer = shutil.copy(data / COUNTERS, tmp_path / "newer")
    shutil.copy(older, data / COUNTERS)
    refused("has 1 segment file (merged-", "which counters.sqlite3 does not list")
    shutil.copy(newer, data / COUNTERS)
    assert total(data) == 6


def test_a_backup_copied_over_a_newer_folder(run, used, count, refused, tmp_path):
    """As `cp -r` does: newer segment files stay beside the older ones."""
    assert run("backup", tmp_path / "backup").code == 0
    count(used, 4)
    shutil.copytree(used, tmp_path / "newer")
    shutil.copytree(tmp_path / "backup", used, dirs_exist_ok=True)
    refused("has 1 segment file (merged-", "does not list")
    shutil.copytree(tmp_path / "newer", used, dirs_exist_ok=True)
    assert total(used) == 16


def test_segments_of_another_server(run, used, count, refused, tmp_path):
    other = tmp_path / "other"
    run("account", "add", "x", folder=other)
    count(other, 2)
    shutil.rmtree(used / SEGMENTS)
    shutil.copytree(other / SEGMENTS, used / SEGMENTS)
    refused("lacks 1 segment file", "which counters.sqlite3 lists")


def test_more_segments_of_another_server(run, used, count, refused, tmp_path):
    other = tmp_path / "other"
    run("account", "add", "x", folder=other)
    count(other, 2)
    shutil.copytree(other / SEGMENTS, used / SEGMENTS, dirs_exist_ok=True)
    refused("has 1 segment file", "does not list")


def test_segments_that_are_not_there_yet(used, refused, tmp_path):
    """A volume that is mounted late, or a restore that has not come to them."""
    (used / SEGMENTS).rename(tmp_path / "volume")
    refused("lacks 1 segment file", "which counters.sqlite3 lists")
    shutil.copytree(tmp_path / "volume", used / SEGMENTS, dirs_exist_ok=True)
    assert total(used) == 6


def test_many_files_are_counted_and_the_first_ones_named(used, refused):
    for number in range(9):
        (used / SEGMENTS / f"{number}.segment").write_bytes(b"x")
    refused("has 9 segment files (0.segment, 1.segment, 2.segment, ...)")


@pytest.mark.heavy
def test_an_older_database_over_the_log_of_a_killed_server(used, count, refused, tmp_path):
    """Neither the file nor its log is complete without the other."""
    killed = tmp_path / "killed"
    older = shutil.copy(used / COUNTERS, tmp_path / "older")
    count(used, 4, flush=False)
    store = open_store(used)  # an open connection keeps the log
    count(used, 5, flush=False)
    shutil.copytree(used, killed)
    store.close()
    shutil.rmtree(used)
    shutil.copytree(killed, used)
    assert (used / f"{COUNTERS}-wal").stat().st_size
    shutil.copy(older, used / COUNTERS)
    refused("counters.sqlite3-wal does not belong to counters.sqlite3", "Nothing was changed")
    shutil.copy(killed / COUNTERS, used / COUNTERS)
    assert total(used) == 6 + 10 + 15


@pytest.mark.heavy
def test_an_older_registry_over_the_log_of_a_killed_server(run, used, refused, tmp_path):
    older = shutil.copy(used / REGISTRY, tmp_path / "older")
    run("account", "add", "bea")
    held = sqlite3.connect(used / REGISTRY)
    held.execute("SELECT * FROM apps").fetchall()
    run("account", "add", "cem")
    newer = tmp_path / "newer"
    newer.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(used / f"{REGISTRY}{suffix}", newer)
    held.close()
    shutil.copy(newer / f"{REGISTRY}-wal", used)
    shutil.copy(older, used / REGISTRY)
    refused("registry.sqlite3-wal does not belong to registry.sqlite3")
    shutil.copy(newer / REGISTRY, used)
    shutil.copy(newer / f"{REGISTRY}-wal", used)
    assert run("account", "role", "cem", "member").code == 0


# The key file


def test_a_missing_key_file(run, used, owned_app, refused):
    key = (used / "server.key").read_bytes()
    (used / "server.key").unlink()
    refused("server.key is missing", "OPENENGAGEMENT_SERVER_KEYS")
    assert not (used / "server.key").exists()
    (used / "server.key").write_bytes(key)
    (used / "server.key").chmod(0o600)
    assert run("token", "issue", owned_app).code == 0


def test_the_key_file_of_another_folder(run, used, owned_app, refused, tmp_path):
    run("account", "add", "x", folder=tmp_path / "other")
    shutil.copy2(used / "server.key", tmp_path / "right")
    shutil.copy2(tmp_path / "other" / "server.key", used / "server.key")
    refused("server.key cannot decrypt any secret", "another data folder")
    shutil.copy2(tmp_path / "right", used / "server.key")
    assert run("token", "issue", owned_app).code == 0


def test_keys_of_the_environment_that_are_of_another_folder(run, used, refused, monkeypatch):
    other = run("key", "generate").out.strip()
    monkeypatch.setenv("OPENENGAGEMENT_SERVER_KEYS", other)
    refused("OPENENGAGEMENT_SERVER_KEYS cannot decrypt any secret")


def test_an_old_key_is_enough(run, used, owned_app):
    """A rotation may be under way, or have left secrets that no key opens."""
    path = used / "server.key"
    new = run("key", "generate").out.strip().encode()
    path.write_bytes(new + b"\n" + path.read_bytes())
    assert run("token", "issue", owned_app).code == 0


def test_secrets_beside_a_readable_one_may_be_unreadable(run, used, owned_app):
    run("app", "add", "Second", "--owner", "ana")
    with sqlite3.connect(used / REGISTRY) as db:
        db.execute("UPDATE apps SET consumer_secret = x'00' WHERE name = 'Second'")
    db.close()
    assert run("token", "issue", owned_app).code == 0


def test_a_missing_key_file_is_made_while_no_secret_needs_it(run, data):
    run("account", "add", "ana")
    (data / "server.key").unlink()
    assert run("account", "add", "bea").code == 0
    assert (data / "server.key").exists()


# Folders of a later version


def test_a_registry_of_a_later_version(used, refused):
    """Older versions showed a traceback of the library that migrates."""
    with sqlite3.connect(used / REGISTRY) as db:
        db.execute("UPDATE alembic_version SET version_num = '0099'")
    db.close()
    refused("later version", "schema 0099", "Nothing was changed")


def test_counters_of_a_later_version(used, refused):
    with sqlite3.connect(used / COUNTERS) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    refused("another version of the server (99)")


# Folders that are not refused


@pytest.mark.parametrize("parts", [(), ("server.key",), (REGISTRY,), ("server.key", REGISTRY)])
def test_a_folder_whose_creation_was_interrupted(run, data, tmp_path, parts):
    """The first start makes the registry, the key file and the counters, in this order."""
    nothing = tmp_path / "nothing.ndjson"
    nothing.touch()
    assert run("load", "events", nothing, folder=tmp_path / "new").code == 0
    data.mkdir()
    for part in parts:
        shutil.copy2(tmp_path / "new" / part, data)
    assert run("account", "add", "ana").code == 0
    assert (data / COUNTERS).exists()


def test_an_empty_registry_beside_counters_that_it_knows(run, data, count):
    """Events may come before any account."""
    count(data)
    assert run("account", "add", "ana").code == 0
    assert total(data) == 6


# A part that is lost for good: the steps of operating/data-folder.md


def test_a_lost_registry_is_replaced_and_the_counts_stay(run, used, tmp_path):
    new = tmp_path / "new"
    run("platform-key", "issue", "first", folder=new)
    for name in (REGISTRY, "server.key"):
        (used / name).unlink()
        shutil.copy2(new / name, used / name)
    assert run("account", "add", "ana").code == 0
    assert total(used) == 6


def test_lost_counters_are_replaced_and_the_accounts_stay(run, used, owned_app, tmp_path):
    new = tmp_path / "new"
    run("platform-key", "issue", "first", folder=new)
    (used / COUNTERS).unlink()
    shutil.copy2(new / COUNTERS, used / COUNTERS)
    for path in (used / SEGMENTS).glob("*.segment"):
        path.rename(tmp_path / path.name)
    assert run("token", "issue", owned_app).code == 0
    assert total(used) == 0


def test_a_sandbox_does_not_discard_the_counters_of_a_server(run, used, tmp_path):
    """Its folder is `sandbox` in the data folder, where somebody may keep another server."""
    used.rename(tmp_path / "sandbox")
    done = run("sandbox", "--port", free_port(), folder=tmp_path)
    assert (done.code, "was not made by a sandbox" in done.err) == (1, True)
    assert total(tmp_path / "sandbox") == 6
