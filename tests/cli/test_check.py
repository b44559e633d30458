"""`openengagement check` finds damage in every kind of file, and disturbs no server."""

import json
import os
import shutil
import sqlite3
import sys
from contextlib import closing

import pytest

from contract.deltas import make_batch
from openengagement.limits.lmdb import LmdbLimits
from openengagement.stores.embedded import compaction, segments
from support.cli import call_command, invoke
from support.folders import flip, open_store

TWEETS = range(1, 2001)


@pytest.fixture
def _no_merges(monkeypatch):
    monkeypatch.setattr(compaction.Compactor, "notify_commit", lambda _: None)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A data folder with a file of counters, a blob of counters, and an account."""
    folder = tmp_path_factory.mktemp("sound") / "data"
    call_command(folder, "account", "add", "owner", "--id", "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction.Compactor, "notify_commit", lambda _: None)
        store = open_store(folder)
        fill(store)
        store._compactor._merger.merge(store._compactor._merger.unflushed())
        fill(store)
        store.close()
    return folder


@pytest.fixture
def data(sound, tmp_path, _no_merges):
    """A copy of it."""
    return shutil.copytree(sound, tmp_path / "data")


def fill(store):
    rows = [(tweet, 5, {"replies": tweet % 9 + 1}) for tweet in TWEETS]
    store.apply_batches([make_batch(rows)])


def check(data):
    """Return the exit code, and the object that `--json` prints."""
    done = invoke("--data", str(data), "check", "--json")
    return done.exit_code, json.loads(done.stdout)


def segment_file(data):
    (path,) = (data / "counters.segments").glob("*.segment")
    return path


def change_counters(data, statement):
    with closing(sqlite3.connect(data / "counters.sqlite3", isolation_level=None)) as db:
        db.execute(statement)


def test_a_sound_folder(data):
    assert check(data) == (
        0,
        {
            "files": 3,
            "segments_without_checksums": 0,
            "clock_jumps": [],
            "outdated": [],
            "damaged": [],
        },
    )


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority on Linux")
def test_the_tests_own_process_keeps_its_priority_and_umask(data):
    """Both change in the command. Tests that follow it in this process must not see it."""
    before = os.getpriority(os.PRIO_PROCESS, 0), os.umask(0o022)
    check(data)
    after = os.getpriority(os.PRIO_PROCESS, 0), os.umask(before[1])

    assert after == (before[0], 0o022)


def test_nothing_is_created_or_changed(data):
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    check(data)
    after = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize("part", range(10))
def test_a_flipped_bit_in_each_array_of_a_file(data, part):
    path = segment_file(data)
    name, _, length, offset = segments._read_head(path.read_bytes())[part]
    flip(path, offset + length // 2, 2)
    code, found = check(data)
    assert code == 1, name
    (damage,) = found["damaged"]
    assert damage["file"] == f"counters.segments/{path.name}"
    assert "backup" in damage["remedy"]


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "head"])
def test_a_damaged_file(data, damage):
    path = segment_file(data)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": content[:9000], "head": b"x" + content[1:]}[damage])
    code, found = check(data)
    assert code == 1
    assert [each["file"] for each in found["damaged"]] == [f"counters.segments/{path.name}"]


def find(path, needle):
    at = path.read_bytes().find(needle)
    assert at > 0
    return at


def test_a_flipped_bit_in_a_blob(data):
    path = data / "counters.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        body = db.execute("SELECT body FROM segments WHERE body IS NOT NULL").fetchone()[0]
    db.close()
    flip(path, find(path, body[9000:9100]) + 50, 2)
    code, found = check(data)
    assert code == 1
    assert found["damaged"][0]["file"] == "counters.sqlite3 (segment 3)"


@pytest.mark.parametrize("name", ["registry.sqlite3", "counters.sqlite3"])
@pytest.mark.parametrize("damage", ["head of a page", "cut", "no database", "missing"])
def test_a_damaged_database(data, name, damage):
    path = data / name
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    content = bytearray(path.read_bytes())
    if damage == "head of a page":
        content[4096:4104] = b"\xff" * 8
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[: 4096 * 3])
    elif damage == "no database":
        path.write_bytes(b"no database" * 1000)
    else:
        path.unlink()
    code, found = check(data)
    assert code == 1
    assert {each["file"] for each in found["damaged"]} == {name}


def test_a_person_sees_the_file_and_the_remedy(data):
    flip(segment_file(data), 5000, 2)
    done = invoke("--data", str(data), "check")
    assert done.exit_code == 1
    assert (
        f"{segment_file(data).name} is damaged: block 0 does not have its checksum. " in done.stderr
    )
    assert "Restore a backup into an empty folder with `openengagement restore`" in done.stderr


def test_segments_of_older_versions_are_named(data):
    change_counters(data, "UPDATE segments SET checksum = NULL")
    code, found = check(data)
    assert (code, found["segments_without_checksums"]) == (0, 2)
    done = invoke("--data", str(data), "check")
    assert "until they are merged" in done.stderr


def test_jumps_of_the_clock_are_shown(data):
    jump = "(1795342500.5, 1803204900.5)"
    change_counters(data, f"INSERT INTO clock_jumps (from_s, to_s) VALUES {jump}")
    code, found = check(data)
    assert (code, found["clock_jumps"]) == (
        0,
        [
            {
                "noticed_by": "idempotency keys",
                "from": "2026-11-22T10:15:00Z",
                "to": "2027-02-21T10:15:00Z",
            }
        ],
    )
    done = invoke("--data", str(data), "check")
    assert "The clock was set from 2026-11-22T10:15:00Z to 2027-02-21T10:15:00Z" in done.stderr


def test_jumps_that_only_a_server_noticed_are_shown(data):
    limits = LmdbLimits(data)
    for now_s, uptime_s in ((1_795_342_500, 100), (1_795_343_205, 105), (1_795_342_510, 110)):
        limits.expire(now_s=now_s, uptime_s=uptime_s, window_s=300)
    limits.close()
    code, found = check(data)
    assert (code, found["files"]) == (0, 4)
    assert found["clock_jumps"] == [
        {"noticed_by": "nonces", "from": "2026-11-22T10:15:05Z", "to": "2026-11-22T10:26:45Z"},
        {"noticed_by": "nonces", "from": "2026-11-22T10:26:50Z", "to": "2026-11-22T10:15:10Z"},
    ]


@pytest.mark.parametrize("keep", [100, 4096, 8192])
def test_damaged_limits_are_reported_and_kept(data, keep):
    """A server that starts would replace them."""
    LmdbLimits(data).close()
    (path,) = data.glob("limits-*.lmdb")
    path.write_bytes(path.read_bytes()[:keep].ljust(keep, b"x") if keep < 8192 else b"x" * keep)
    before = path.read_bytes()
    code, found = check(data)
    assert code == 1
    (damage,) = found["damaged"]
    assert (damage["file"], "remove the file" in damage["remedy"]) == (path.name, True)
    assert path.read_bytes() == before


def test_limits_of_an_earlier_boot_are_left_alone(data):
    path = data / "limits-earlier.lmdb"
    path.write_bytes(b"x")
    os.utime(path, (0, 0))
    assert check(data)[0] == 0
    assert [each.name for each in data.glob("limits-*")] == [path.name]


def content(data):
    return {path.name: path.read_bytes() for path in data.glob("*.sqlite3")}


@pytest.mark.parametrize(("version", "remedy"), [(7, "Start a server"), (99, "with the version")])
def test_counters_of_another_version_are_not_touched(data, version, remedy):
    change_counters(data, f"PRAGMA user_version = {version}")
    before = content(data)
    code, found = check(data)
    assert (code, found["damaged"]) == (1, [])
    [outdated] = found["outdated"]
    assert outdated["file"] == "counters.sqlite3"
    assert f"version is {version}" in outdated["reason"]
    assert remedy in outdated["remedy"]
    assert content(data) == before


@pytest.mark.parametrize(
    ("statement", "version", "remedy"),
    [
        ("UPDATE alembic_version SET version_num = '0004'", "0004", "Start a server"),
        ("DROP TABLE alembic_version", "unknown", "Start a server"),
        ("UPDATE alembic_version SET version_num = '0099'", "0099", "with the version"),
    ],
)
def test_a_registry_of_another_version_is_not_touched(data, statement, version, remedy):
    """Opening the folder would upgrade it."""
    with closing(sqlite3.connect(data / "registry.sqlite3", isolation_level=None)) as db:
        db.execute(statement)
    before = content(data)
    code, found = check(data)
    assert (code, found["damaged"]) == (1, [])
    [outdated] = found["outdated"]
    assert outdated["file"] == "registry.sqlite3"
    assert f"version is {version}" in outdated["reason"]
    assert remedy in outdated["remedy"]
    assert content(data) == before
    done = invoke("--data", str(data), "check")
    assert "registry.sqlite3 was not verified: its version is" in done.stderr


def test_a_folder_that_does_not_exist(tmp_path):
    done = invoke("--data", str(tmp_path / "none"), "check")
    assert done.exit_code == 1
    assert "is not a folder" in done.stderr
    assert not (tmp_path / "none").exists()
