"""The watch notices every commit of any process, also where SQLite rebuilds its WAL index."""

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from openengagement import sqlite_commits
from openengagement.sqlite_commits import CommitWatch
from support.waiting import PATIENCE_S

WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
db.execute("PRAGMA synchronous = OFF")
for value in range(int(sys.argv[2])):
    db.execute("UPDATE counter SET value = value + 1")
    if value % 50 == 49:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
"""
BEGIN = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"


@contextmanager
def opened(path):
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as db:
        yield db


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.sqlite3"
    with opened(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE counter (value INTEGER)")
        db.execute("INSERT INTO counter VALUES (0)")
    return path


@pytest.fixture
def watch(path):
    with closing(CommitWatch(path)) as watch:
        yield watch


@pytest.fixture
def db(path):
    with opened(path) as db:
        yield db


def add_one(db):
    db.execute("UPDATE counter SET value = value + 1")


def uses_the_index(watch):
    return isinstance(watch.mark(), bytes)


def test_a_commit_changes_the_mark_and_a_read_does_not(watch, db):
    assert uses_the_index(watch)
    marks = [watch.mark()]
    for _ in range(100):
        add_one(db)
        db.execute("SELECT * FROM counter").fetchall()
        assert watch.mark() == watch.mark()
        marks.append(watch.mark())
    assert len(set(marks)) == 101


def test_a_rolled_back_transaction_leaves_the_mark(watch, db):
    before = watch.mark()
    db.execute("BEGIN IMMEDIATE")
    add_one(db)
    assert watch.mark() == before
    db.execute("ROLLBACK")
    assert watch.mark() == before


@pytest.mark.parametrize("mode", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_commits_after_a_checkpoint_are_noticed(watch, db, mode):
    seen = set()
    for _ in range(20):
        add_one(db)
        seen.add(watch.mark())
        assert db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0] == 0
    assert len(seen) == 20


def test_a_watch_stays_right_while_other_connections_come_and_go(watch, path):
    seen = set()
    for _ in range(20):
        with opened(path) as db:  # closing the last writer checkpoints the log
            add_one(db)
        seen.add(watch.mark())
    assert len(seen) == 20
    assert uses_the_index(watch)


def test_a_database_that_was_deleted_and_made_again_has_its_own_index(watch, path):
    before = watch.mark()
    for file in path.parent.glob("a.sqlite3*"):
        file.unlink()
    with opened(path) as db, closing(CommitWatch(path)) as again:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE counter (value INTEGER)")
        first = again.mark()
        db.execute("INSERT INTO counter VALUES (0)")
        assert again.mark() != first
    assert watch.mark() == before


def test_the_index_of_a_closed_database_is_closed(tmp_path):
    """A process that opens many databases does not run out of descriptors."""
    before = len([*Path("/proc/self/fd").iterdir()])
    for number in range(20):
        with opened(tmp_path / f"{number}.sqlite3") as db:
            db.execute("PRAGMA journal_mode = WAL")
            with closing(CommitWatch(tmp_path / f"{number}.sqlite3")) as watch:
                assert uses_the_index(watch)
    assert len([*Path("/proc/self/fd").iterdir()]) < before + 5


def test_the_locks_of_sqlite_survive_other_watches(watch, path, db):
    """Closing a descriptor of the index would release the locks that SQLite holds on it."""
    db.execute("BEGIN IMMEDIATE")
    for _ in range(3):
        CommitWatch(path).close()
    refused = subprocess.run(
        [sys.executable, "-c", BEGIN, path], capture_output=True, text=True, check=False
    )
    assert "database is locked" in refused.stderr
    assert uses_the_index(watch)


@pytest.fixture(params=["no WAL", "no index", "unknown version", "being rebuilt"])
def without_index(request, path, monkeypatch):
    """A watch of a database whose index cannot be used."""
    if request.param == "no WAL":
        with opened(path) as db:
            db.execute("PRAGMA journal_mode = DELETE")
    elif request.param == "no index":
        monkeypatch.setattr(sqlite_commits, "_INDEXES", sqlite_commits._Indexes())
        monkeypatch.setattr(sqlite_commits.os, "open", _refuse)
    elif request.param == "unknown version":
        monkeypatch.setattr(sqlite_commits, "_VERSION", b"\0\0\0\1")
    else:
        monkeypatch.setattr(sqlite_commits, "_INITIALIZED", 8)  # not always 1
    with closing(CommitWatch(path)) as watch:
        yield watch


def _refuse(*_given):
    raise PermissionError


def test_without_an_index_sqlite_is_asked(without_index, db):
    seen = {without_index.mark() for _ in range(3)}
    assert len(seen) == 1
    for _ in range(20):
        add_one(db)
        seen.add(without_index.mark())
    assert len(seen) == 21


def test_a_half_written_header_is_not_used(watch, monkeypatch):
    torn = bytearray(96)
    torn[12] = torn[60] = 1
    torn[20] = 5  # differs in the copy
    monkeypatch.setattr(watch, "_index", torn)
    assert isinstance(watch.mark(), int)


@pytest.mark.heavy
def test_no_commit_of_several_fast_processes_is_missed(watch, path, db):
    """The rule of every cache: while the mark is the same, so is the database."""
    count, rounds = 400, 0
    done = threading.Event()
    seen = {}
    wrong = []

    def read():
        with opened(path) as own:
            while not done.is_set():
                mark = watch.mark()
                value = own.execute("SELECT value FROM counter").fetchone()
                if watch.mark() == mark and seen.setdefault(mark, value) != value:
                    wrong.append((mark, value, seen[mark]))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        while len(seen) <= 10:  # fast writers may end before a busy machine runs the readers
            command = [sys.executable, "-c", WRITER, str(path), str(count)]
            writers = [subprocess.Popen(command) for _ in range(2)]
            assert [writer.wait(PATIENCE_S) for writer in writers] == [0, 0]
            rounds += 1
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert not wrong
    assert db.execute("SELECT value FROM counter").fetchone() == (2 * count * rounds,)
