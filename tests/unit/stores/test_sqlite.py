"""The SQLite file: durable settings, a bounded log, and locking."""

import errno
import os
import sqlite3
import threading
import time

import numpy as np
import pytest

from openengagement.engagement.counters import cells_of, sum_rows
from openengagement.engagement.types import TYPE_NAMES
from openengagement.errors import StoreDamaged, StoreUnavailable
from openengagement.stores.contract import Batch
from openengagement.stores.embedded import database, manifest
from openengagement.stores.embedded.tweets import LIST
from openengagement.stores.embedded.upgrade import VERSION
from support.folders import close_segments
from support.waiting import PATIENCE_S


def batch(rows=1, *, key=None, first=1):
    ids = np.arange(first, first + rows)
    cells = cells_of(np.full(rows, 10), np.full(rows, TYPE_NAMES.index("replies")))
    return Batch(sum_rows(ids, cells, counts=np.ones_like(ids)), key, b"digest", b"outcome")


def test_every_connection_syncs_each_commit(store):
    """Write-ahead log and `synchronous = FULL`: an acknowledged batch survives power loss."""
    seen = []

    def look():
        db = store._database.connection()
        seen.append(
            (
                db.execute("PRAGMA journal_mode").fetchone()[0],
                db.execute("PRAGMA synchronous").fetchone()[0],
            )
        )

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    look()

    assert seen == [("wal", 2)] * 4


def test_a_transaction_that_changes_no_row_is_no_commit(store):
    """Counting the commit would write a page, and every cache would read again."""
    store.apply_batches([batch(key=b"key")])
    before = store._database.mark()
    assert store.apply_batches([batch(key=b"key")])[0].duplicate
    assert not store.delete_tweet(404)
    assert store._database.mark() == before
    store.apply_batches([batch(key=b"other")])
    assert store._database.mark() != before


def test_listing_an_authors_tweets_reads_only_the_index(store):
    """The index is enough: SQLite sorts nothing and reads no deleted Tweets."""
    plan = store._database.connection().execute(f"EXPLAIN QUERY PLAN {LIST}", (7, 2))
    assert [row[3] for row in plan] == [
        "SEARCH tweets USING COVERING INDEX tweets_by_author (author_id=? AND deleted=?)"
    ]


@pytest.mark.parametrize("version", [-1, VERSION + 1])
def test_a_file_of_another_version_is_refused(open_store, version):
    made = open_store()
    made._database.connection().execute(f"PRAGMA user_version = {version}")
    made.close()

    with pytest.raises(OSError, match="another version"):
        open_store()


def test_the_schema_has_its_version(path, store):
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
    db.close()


def test_opening_again_keeps_the_data(open_store, store):
    store.apply_batches([batch(3)])
    assert open_store().read_totals([1, 2, 3], ["replies"]).sum() == 3


def test_the_log_stays_small(open_store, path, monkeypatch):
    """Commits write the log back to the database whenever it has reached a certain size."""
    monkeypatch.setattr(database, "_CHECKPOINT_PAGES", 200)
    store = open_store()
    for index in range(60):
        store.apply_batches([batch(300, first=index * 300 + 1)])
    assert path.with_name(f"{path.name}-wal").stat().st_size < 4 * 200 * 4096


def test_a_reader_waits_for_no_writer(store):
    """During a transaction, readers see the state before it."""
    store.apply_batches([batch()])
    inside, leave = threading.Event(), threading.Event()

    def write():
        with store._database.writing() as db:
            db.execute("DELETE FROM segments")
            inside.set()
            leave.wait(PATIENCE_S)

    writer = threading.Thread(target=write)
    writer.start()
    assert inside.wait(PATIENCE_S)
    began = time.monotonic()
    seen = store.read_totals([1], ["replies"])[0, 0]
    took_s = time.monotonic() - began
    leave.set()
    writer.join()

    assert seen == 1
    assert took_s < 20


def test_a_failed_transaction_is_rolled_back_and_releases_the_lock(store):
    store.apply_batches([batch(first=5)])

    def fail():
        with store._database.writing() as db:
            db.execute("DELETE FROM segments")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.read_totals([5], ["replies"])[0, 0] == 1
    store.apply_batches([batch(first=5)])
    assert store.read_totals([5], ["replies"])[0, 0] == 2


def test_a_full_disk_makes_the_store_unavailable(store):
    store.apply_batches([batch(key=b"before")])
    store._database.connection().execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreUnavailable, match=r"embedded store is unavailable: .* full"):
        store.apply_batches([batch(50_000, key=b"k")])

    store._database.connection().execute("PRAGMA max_page_count = 1000000")
    assert store.read_totals([1, 2], ["replies"]).tolist() == [[1], [0]]
    assert not store.apply_batches([batch(50_000, key=b"k")])[0].duplicate


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.ENOMEM])
def test_a_segment_that_cannot_be_opened_now_makes_the_store_unavailable(store, monkeypatch, code):
    def fail(*_, **__):
        raise OSError(code, "in the way")

    store.apply_batches([batch()])
    close_segments(store)
    monkeypatch.setattr(manifest, "read_segment", fail)
    with pytest.raises(StoreUnavailable, match=os.strerror(code)):
        store.read_totals([1], ["replies"])


def test_a_file_system_that_became_read_only_makes_the_store_unavailable(store):
    """The kernel does that after an I/O error."""
    store._database.connection().execute("PRAGMA query_only = 1")
    with pytest.raises(StoreUnavailable, match="readonly"), store._database.writing() as db:
        db.execute("DELETE FROM tweets")
    with pytest.raises(StoreUnavailable), store._database.writing():
        raise OSError(errno.EROFS, "Read-only file system")


def test_a_damaged_database_is_named(open_store, path):
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreDamaged, match=r"counters.sqlite3 is damaged: file is not a database"):
        open_store()


def test_our_own_mistakes_stay_what_they_are(store):
    with pytest.raises(sqlite3.OperationalError, match="no such table"), store._database.writing():
        store._database.connection().execute("SELECT * FROM likes")


def test_the_file_is_sound_after_a_busy_life(tmp_path, store):
    for index in range(30):
        store.apply_batches(
            [batch(50, key=b"%d" % index), batch(50, key=b"%d" % (index // 2), first=20)]
        )
        store.delete_tweet(index)
    db = sqlite3.connect(tmp_path / "counters.sqlite3")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
