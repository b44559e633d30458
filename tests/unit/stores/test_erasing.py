"""The files of the embedded store after an erasure: nothing of what was erased is in them."""

import errno
import sqlite3

import pytest

from contract.deltas import make_batch, make_tweets
from openengagement.errors import StoreDamaged, StoreUnavailable
from openengagement.stores.embedded import database, manifest
from openengagement.stores.embedded.compaction import Compactor
from openengagement.stores.embedded.merging import Merger, StoppedError
from support.folders import close_segments, flip
from support.traces import find_traces, forms_of_id, forms_of_text

ERASED = [2126287304677921922 + 4096 * index for index in range(40)]
KEPT = [2226287304677921921 + 4096 * index for index in range(40)]
VIDEO = "13_1263145212760805376"


def fill(store, commits=12, first=0):
    for index in range(first, first + commits):
        rows = [(each, index, {"replies": 1, "video_views": 2}) for each in ERASED + KEPT]
        store.apply_batches([make_batch(rows)])


def register(store):
    rows = [(each, 7, 1000, VIDEO, False) for each in ERASED]
    rows += [(each, 9, 1000, None, False) for each in KEPT]
    store.apply_tweets(make_tweets(*rows))


def erase(store):
    authored = store.read_authored([7])
    store.erase(authored.counter_ids)
    store.forget(authored)
    store.scrub()


def traces(path):
    forms = forms_of_text(VIDEO)
    for each in ERASED:
        forms |= forms_of_id(each)
    return find_traces(path.parent, forms)


def control(path):
    """The search itself finds Tweets that are still there."""
    return find_traces(path.parent, forms_of_id(KEPT[0]))


@pytest.fixture(params=["blobs", "files", "both", "pruned"])
def filled(request, store):
    """A store whose counters are in unflushed segments, in files, or in both."""
    register(store)
    fill(store, 3)
    if request.param != "blobs":
        store.prune(oldest_hour=2 if request.param == "pruned" else 0)  # flushes everything
    if request.param == "both":
        fill(store, 3, first=3)
    for each in ERASED[:5]:
        store.delete_tweet(each)
    return store


def test_no_file_has_a_trace_of_what_was_erased(filled, path):
    assert traces(path)
    assert control(path)
    before = filled.read_totals(KEPT, ["replies", "video_views"]).tolist()
    erase(filled)
    assert traces(path) == []
    assert control(path)
    assert filled.read_totals(KEPT, ["replies", "video_views"]).tolist() == before
    assert not filled.read_totals(ERASED, ["replies", "video_views"]).any()
    filled.compact()
    assert traces(path) == []


def test_no_trace_is_left_after_many_registrations_and_merges(store, path):
    """Tables and blobs are rewritten many times, which leaves copies in unused parts of pages."""
    for first in range(0, 60, 3):
        register(store)
        fill(store, 3, first=first)
        for each in ERASED[::3]:
            store.delete_tweet(each)
    store.compact()
    erase(store)
    assert traces(path) == []


def test_a_store_that_is_opened_again_agrees(filled, path, open_store):
    erase(filled)
    other = open_store()
    assert not other.read_totals(ERASED, ["replies"]).any()
    assert other.read_totals(KEPT, ["replies"]).all()


def test_readers_of_older_states_are_not_disturbed(filled, path, open_store):
    """A reader that has files open goes on, and sees the new state with its next read."""
    other = open_store(totals_cached_max=100)
    assert other.read_totals(ERASED, ["replies"]).all()
    erase(filled)
    assert not other.read_totals(ERASED, ["replies"]).any()


def test_an_empty_file_is_left_where_everything_was_erased(store, path):
    store.apply_batches([make_batch([(ERASED[0], 1, {"replies": 1})])])
    store.erase(ERASED)
    (record,) = manifest.list_segments(store._database.connection())
    assert record.rows == 0
    close_segments(store)
    assert not store.read_totals(ERASED, ["replies"]).any()
    fill(store, 9)
    store.compact()
    assert store.read_totals(KEPT, ["replies"])[:, 0].tolist() == [9] * len(KEPT)


# Failures


NO_ROOM = OSError(errno.ENOSPC, "no room")


def interrupt(monkeypatch, owner, name, *, after=0, error=NO_ROOM):
    """Let the call of a method fail, after some that succeed."""
    real, calls = getattr(owner, name), []

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) > after:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, failing)


@pytest.mark.parametrize("after", [0, 1])
def test_an_erasure_that_failed_is_completed_by_a_repeat(filled, path, monkeypatch, after):
    with monkeypatch.context() as patched:
        interrupt(patched, Merger, "_list", after=after)
        try:
            erase(filled)
        except OSError:
            assert filled.read_authored([7]).tweet_ids == ERASED  # they are still known
    erase(filled)
    assert traces(path) == []
    assert filled.read_totals(KEPT, ["replies"]).all()


def test_files_that_a_crash_left_are_removed(filled, path, monkeypatch):
    """The merged files stay on the disk if the process dies before it removes them."""
    from openengagement.stores.embedded import merging

    with monkeypatch.context() as patched:
        patched.setattr(merging, "remove_segments", lambda *_, **__: None)
        filled.erase(filled.read_authored([7]).counter_ids[:1])
    erase(filled)
    assert traces(path) == []


def test_a_store_that_is_closed_meanwhile_asks_to_try_again(filled, monkeypatch):
    interrupt(monkeypatch, Merger, "merge", error=StoppedError())
    with pytest.raises(StoreUnavailable):
        filled.erase(ERASED)


def test_damaged_counters_are_not_copied(store, path):
    register(store)
    fill(store, 2)
    store.prune(oldest_hour=0)
    (file,) = path.with_suffix(".segments").glob("*.segment")
    flip(file, 4100, 3)
    close_segments(store)
    with pytest.raises(StoreDamaged):
        store.erase(ERASED)
    assert store.read_authored([7]).tweet_ids == ERASED


def test_a_log_in_use_is_reported(store, path, monkeypatch):
    monkeypatch.setattr(Compactor, "notify_commit", lambda _: None)  # its threads read, too
    register(store)
    monkeypatch.setattr("openengagement.sqlite_files._SCRUBS", 2)
    store._database.connection().execute("PRAGMA busy_timeout = 10")
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM tweets").fetchone()
    with pytest.raises(StoreUnavailable, match="in use"):
        store.scrub()
    reader.execute("COMMIT")
    reader.close()
    store.scrub()
    assert path.with_name(f"{path.name}-wal").stat().st_size == 0


def test_a_full_disk_during_a_scrub_is_a_failure_that_may_pass(store, monkeypatch):
    def full(_):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(database, "scrub", full)
    with pytest.raises(StoreUnavailable):
        store.scrub()
