"""`restore`: a backup in an empty folder, verified; or nothing."""

import json
import os
import shutil
import signal
import subprocess

import pytest

from support.cli import EXECUTABLE, server_environment
from support.folders import COUNTERS, REGISTRY, SEGMENTS, flip, open_store, total
from support.waiting import wait_for

ROW = {"tweet_id": "5", "type": "replies", "at": "2026-11-20T10:00:00Z"}


@pytest.fixture
def load(run, tmp_path):
    def loaded(folder, count, *, flush):
        path = tmp_path / "rows.ndjson"
        path.write_text(json.dumps(ROW | {"count": count}) + "\n")
        assert run("load", "events", path, folder=folder).code == 0
        if flush:
            store = open_store(folder)
            store.prune(oldest_hour=0)  # moves all counters to a segment file
            store.close()

    return loaded


@pytest.fixture
def backup(run, data, owned_app, load, tmp_path):
    """A backup with counters in a segment file and in the database."""
    load(data, 3, flush=True)
    load(data, 4, flush=False)
    assert run("backup", tmp_path / "backup").code == 0
    return tmp_path / "backup"


@pytest.fixture
def new(tmp_path):
    return tmp_path / "deep" / "new"


def test_a_backup_is_restored(run, backup, owned_app, new):
    before = {path: path.read_bytes() for path in backup.rglob("*") if path.is_file()}
    printed = run("restore", backup, "--json", folder=new).json()
    assert printed["folder"] == str(new)
    assert printed["bytes"] > 0
    assert total(new) == 7
    assert run("token", "issue", owned_app, folder=new).code == 0
    assert run("check", folder=new).code == 0
    assert [path.name for path in new.rglob("*") if path.stat().st_mode & 0o077] == []
    assert not list(new.glob("restore.*"))
    assert {path: path.read_bytes() for path in backup.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("inside", [[], ["lost+found"]])
def test_an_empty_folder_or_volume_is_filled(run, backup, new, inside):
    new.mkdir(parents=True)
    for name in inside:
        (new / name).mkdir()
    assert run("restore", backup, folder=new).code == 0
    assert total(new) == 7
    assert [name for name in inside if not (new / name).exists()] == []


@pytest.mark.parametrize("name", ["note.txt", "counters.sqlite3-wal", ".hidden", "server.key"])
def test_a_folder_that_is_not_empty_is_refused(run, backup, new, name):
    new.mkdir(parents=True)
    (new / name).write_text("mine")
    done = run("restore", backup, folder=new)
    assert done.code == 1
    assert "is not empty" in done.err
    assert [(path.name, path.read_text()) for path in new.iterdir()] == [(name, "mine")]


def test_a_used_data_folder_is_refused(run, backup, data, load):
    load(data, 5, flush=False)
    done = run("restore", backup)
    assert (done.code, "is not empty" in done.err) == (1, True)
    assert total(data) == 12


def refuses(run, backup, new, says):
    new.mkdir(parents=True, exist_ok=True)
    done = run("restore", backup, folder=new)
    assert done.code == 1
    assert says in done.err
    assert "othing was restored" in done.err
    assert "Traceback" not in done.err
    assert list(new.iterdir()) == []


@pytest.mark.parametrize("name", [REGISTRY, COUNTERS])
def test_an_incomplete_backup(run, backup, new, name):
    (backup / name).unlink()
    refuses(run, backup, new, f"it has no {name}")


def segment_of(backup):
    (segment,) = (backup / SEGMENTS).glob("*.segment")
    return segment


def test_a_backup_without_a_segment(run, backup, new):
    segment_of(backup).unlink()
    refuses(run, backup, new, "lacks 1 segment file")


def test_a_backup_without_its_key(run, backup, new):
    """It may be kept elsewhere. Put it back before restoring, so that it is verified."""
    key = (backup / "server.key").rename(backup.parent / "key")
    refuses(run, backup, new, "server.key is missing")
    key.rename(backup / "server.key")
    assert run("restore", backup, folder=new).code == 0


def test_a_backup_with_the_key_of_another_folder(run, backup, new):
    (backup / "server.key").write_text(run("key", "generate").out)
    refuses(run, backup, new, "cannot decrypt any secret")


@pytest.mark.parametrize("at", [10, 4096, -4096])
def test_a_backup_with_a_damaged_segment(run, backup, new, at):
    segment = segment_of(backup)
    data = segment.read_bytes()
    used = [index for index in range(4096, len(data)) if data[index]]
    flip(segment, at if at == 10 else used[0 if at > 0 else -1], 0)
    refuses(run, backup, new, "damaged")


@pytest.mark.parametrize("name", [REGISTRY, COUNTERS])
@pytest.mark.parametrize("damage", ["truncated", "garbage"])
def test_a_backup_with_a_damaged_database(run, backup, new, name, damage):
    content = (backup / name).read_bytes()
    half = len(content) // 8192 * 4096
    (backup / name).write_bytes(content[:half] if damage == "truncated" else os.urandom(half))
    refuses(run, backup, new, name.partition(".")[0])


def test_a_copy_of_a_killed_server_is_restored_with_its_log(run, data, backup, new, load, tmp_path):
    store = open_store(data)  # keeps the log
    load(data, 5, flush=False)
    killed = shutil.copytree(data, tmp_path / "killed")
    store.close()
    assert (killed / f"{COUNTERS}-wal").stat().st_size
    assert run("restore", killed, folder=new).code == 0
    assert total(new) == 12


def test_holes_stay_holes(run, data, owned_app, new, tmp_path, load):
    load(data, 3, flush=True)
    run("backup", tmp_path / "backup")
    run("restore", tmp_path / "backup", folder=new)
    sizes = [
        sum(path.stat().st_blocks for path in (folder / SEGMENTS).glob("*.segment"))
        for folder in (data, new)
    ]
    assert 0 < sizes[1] <= 2 * sizes[0]


def test_a_folder_whose_restore_was_killed_is_refused(run, backup, new):
    """It may hold anything between nothing and all of it."""
    endless = backup / SEGMENTS / "endless.segment"
    os.mkfifo(endless)  # nobody writes to it, so the copy cannot finish before the signal
    process = subprocess.Popen(
        [EXECUTABLE, "--data", new, "restore", backup],
        stderr=subprocess.PIPE,
        env=server_environment(),
    )
    try:
        wait_for(lambda: (new / "restore.unfinished").exists() or process.poll() is not None)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    endless.unlink()
    assert (new / "restore.unfinished").exists()
    before = sorted(new.rglob("*"))
    for command in (["account", "add", "x"], ["prune", "--older-than-days", 9]):
        done = run(*command, folder=new)
        assert done.code == 1
        assert "a restore into this folder has not finished" in done.err
    assert sorted(new.rglob("*")) == before
    assert "is not empty" in run("restore", backup, folder=new).err
    shutil.rmtree(new)
    assert run("restore", backup, folder=new).code == 0
    assert total(new) == 7
