"""A write-ahead log is applied only to the database that it belongs to."""

import shutil
import sqlite3
import subprocess
import sys

import pytest

from openengagement.files import UnusableFile
from openengagement.sqlite_files import connect, count_commit, is_new, refuse_foreign_log


@pytest.fixture
def path(tmp_path):
    """A name with characters that a URI would treat specially."""
    folder = tmp_path / "a ?b#c%20"
    folder.mkdir()
    return folder / "x.sqlite3"


def opened(path):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE IF NOT EXISTS rows (content BLOB)")
    return db


def commit(db, times=1):
    for _ in range(times):
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO rows VALUES (zeroblob(9000))")
        count_commit(db.execute)
        db.execute("COMMIT")


def copy(path, name):
    """Copy a database and its log, as they would be after `kill -9`."""
    target = path.parent / name
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            shutil.copy(source, target.with_name(name + suffix))
    return target


@pytest.fixture
def states(path):
    """Copies at several moments, each with a log that was not checkpointed."""
    db = opened(path)
    copies = []
    for number in range(4):
        commit(db, 5)
        copies.append(copy(path, f"copy{number}"))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    commit(db, 5)
    copies.append(copy(path, "copy4"))
    db.close()
    return copies


def test_a_database_fits_its_own_log(states):
    for state in states:
        refuse_foreign_log(state)
        with sqlite3.connect(state) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(("database", "log"), [(0, 2), (0, 4), (1, 4), (4, 0), (3, 1), (2, 0)])
def test_a_log_of_another_state_is_refused(states, database, log):
    shutil.copy(f"{states[log]}-wal", f"{states[database]}-wal")
    before = states[database].read_bytes()
    with pytest.raises(UnusableFile, match=r"-wal does not belong to .* Nothing was changed"):
        refuse_foreign_log(states[database])
    assert states[database].read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"short"])
def test_a_log_without_its_database_is_refused(states, content):
    """SQLite deletes such a log."""
    if content is None:
        states[2].unlink()
    else:
        states[2].write_bytes(content)
    with pytest.raises(UnusableFile):
        refuse_foreign_log(states[2])


@pytest.mark.parametrize("log", [b"", b"x" * 31, bytes(32), bytes(9000)])
def test_a_log_without_content_is_no_reason_to_refuse(states, log):
    states[0].with_name("copy0-wal").write_bytes(log)
    refuse_foreign_log(states[0])


def test_a_backup_fits_the_log_from_which_it_was_made(path):
    """Applying the log to it gives the newest state, not a mixture."""
    db = opened(path)
    commit(db, 3)
    with sqlite3.connect(path.parent / "backup") as target:
        db.backup(target)
    target.close()
    commit(db, 3)
    shutil.copy(f"{path}-wal", path.parent / "backup-wal")
    db.close()
    refuse_foreign_log(path.parent / "backup")
    with sqlite3.connect(path.parent / "backup") as mixed:
        assert mixed.execute("SELECT count(*) FROM rows").fetchone() == (6,)
        assert mixed.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_database_of_a_version_that_did_not_count_fits(path):
    db = opened(path)
    db.execute("INSERT INTO rows VALUES (zeroblob(90000))")
    old = copy(path, "old")
    db.close()
    refuse_foreign_log(old)


def test_the_number_starts_again_after_its_largest_value(path):
    db = opened(path)
    db.execute(f"PRAGMA application_id = {2**31 - 3}")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    commit(db, 6)
    assert db.execute("PRAGMA application_id").fetchone() == (3,)
    refuse_foreign_log(copy(path, "wrapped"))
    db.close()


WRITE = """
import sqlite3, sys
from openengagement.sqlite_files import count_commit
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA wal_autocheckpoint = 20")
db.execute("PRAGMA synchronous = OFF")
print(flush=True)
while True:
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO rows VALUES (zeroblob(9000))")
    count_commit(db.execute)
    db.execute("COMMIT")
"""


@pytest.mark.heavy
def test_a_live_writer_is_never_mistaken_for_another_state(path):
    """It checkpoints and restarts its log while both files are read."""
    db = opened(path)
    writer = subprocess.Popen([sys.executable, "-c", WRITE, path], stdout=subprocess.PIPE)
    writer.stdout.readline()
    looks, logs = 0, set()
    while looks <= 20 or len(logs) < 20:
        assert writer.poll() is None
        refuse_foreign_log(path)
        looks += 1
        logs.add(head_of_log(path))
    writer.kill()
    writer.communicate()
    refuse_foreign_log(path)
    db.close()


def head_of_log(path):
    """Return the first bytes of the log, which change when it restarts."""
    with path.with_name(f"{path.name}-wal").open("rb") as log:
        return log.read(32)


def test_which_databases_are_new(path, tmp_path):
    assert is_new(path)
    path.write_bytes(b"")
    assert is_new(path)
    sqlite3.connect(path).execute("PRAGMA journal_mode = WAL")
    assert path.stat().st_size
    assert is_new(path)
    opened(path).close()
    assert not is_new(path)
    path.write_bytes(b"no database" * 1000)
    assert not is_new(path)


def test_connecting_creates_no_file(path):
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        connect(path, mode="rw")
    assert not path.exists()
