"""Flush and compaction lose nothing and count nothing twice, whatever else happens."""

import contextlib
import errno
import random
import shutil
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from contract.deltas import make_batch, make_tweets
from openengagement.clock import SystemClock
from openengagement.engagement.types import TYPE_NAMES
from openengagement.errors import StoreDamaged
from openengagement.stores.embedded import compaction, manifest, merging, segment_removal
from openengagement.stores.embedded.compaction import StageResult, choose_files, choose_unflushed
from openengagement.stores.embedded.manifest import SegmentRecord, Unlisted
from openengagement.stores.embedded.segment_folder import SegmentFolder
from openengagement.stores.embedded.store import EmbeddedStore
from support.cases import cases
from support.folders import close_segments
from support.waiting import PATIENCE_S, wait_for


@pytest.fixture
def by_hand(monkeypatch):
    """Only the test itself starts merges."""
    monkeypatch.setattr(compaction.Compactor, "notify_commit", lambda _: None)


def listed(store):
    return manifest.list_segments(store._database.connection())


def files(store):
    return sorted(path.name for path in store._folder.glob("*.segment"))


def merger(store):
    return store._compactor._merger


def folder(store):
    return store._compactor.folder


def flush(store):
    return store._compactor.flush.run()


def compact_once(store, *, idle=False):
    return store._compactor.compaction.run(idle=idle)


def unflushed(store):
    """The number of unflushed segments. In the background it soon falls below FLUSH_MIN."""
    return sum(each.file is None for each in listed(store))


def fill(store, commits=10, first=0):
    for index in range(first, first + commits):
        rows = [(tweet, index, {"replies": tweet, "favorites": 1}) for tweet in range(1, 9)]
        store.apply_batches([make_batch(rows)])


def flush_files(store, count):
    for index in range(count):
        fill(store, first=10 * index)
        flush(store)


def snapshot(store):
    ids = list(range(1, 12))
    hours = store.read_buckets(ids, TYPE_NAMES, start_hour=0, end_hour=100)
    totals = store.read_totals(ids, TYPE_NAMES)
    return hours, totals


def check(store, commits):
    hours, totals = snapshot(store)
    assert (hours.sum(axis=2) == totals).all()
    assert totals[:8, TYPE_NAMES.index("replies")].tolist() == [
        commits * tweet for tweet in range(1, 9)
    ]
    assert totals[:, TYPE_NAMES.index("favorites")].tolist() == [commits] * 8 + [0] * 3


def test_unflushed_segments_become_a_file(store, by_hand):
    fill(store)
    assert flush(store) is StageResult.MERGED
    assert [each.file is None for each in listed(store)] == [False]
    assert [each.file for each in listed(store)] == files(store)
    check(store, 10)


def test_files_become_a_larger_one(store, by_hand):
    flush_files(store, 6)
    assert len(files(store)) == 6
    assert compact_once(store) is StageResult.MERGED
    assert [each.file for each in listed(store)] == files(store)
    assert len(files(store)) == 1
    check(store, 60)


@pytest.mark.parametrize("count", [100, 20_000, 2**30, -100, -20_000])
def test_totals_that_need_more_room_than_their_hours(store, by_hand, count):
    rows = [(tweet, hour, {"replies": count}) for tweet in (1, 2) for hour in range(50)]
    for index in range(4):
        store.apply_batches([make_batch(rows)])
        merger(store).merge(merger(store).unflushed())
        merger(store).merge(listed(store))
        assert [each.file is None for each in listed(store)] == [False]
        assert store.read_totals([1, 2], ["replies"]).tolist() == [[50 * (index + 1) * count]] * 2


def test_merges_run_in_the_background(store):
    fill(store, 80)  # commits flush some themselves, and leave at least 14
    wait_for(lambda: unflushed(store) < compaction.FLUSH_MIN)
    check(store, 80)


def test_commits_flush_when_the_background_does_not_keep_up(store, monkeypatch):
    """Without background threads, at most BACKLOG_MAX segments are unflushed."""
    monkeypatch.setattr(compaction.Stage, "_run_forever", lambda *_: None)
    most = 0
    for index in range(90):
        fill(store, 1, first=index)
        most = max(most, unflushed(store))
    assert most <= compaction.BACKLOG_MAX
    check(store, 90)


@pytest.mark.parametrize("place", ["cut", "merge_at_once", "sync_folder", "swap_segments"])
def test_a_failed_merge_changes_nothing(store, by_hand, monkeypatch, place):
    fill(store)
    with monkeypatch.context() as patch:
        patch.setattr(merging, place, lambda *_, **__: 1 / 0)
        assert flush(store) is StageResult.FAILED
    assert len(listed(store)) == 10
    check(store, 10)

    assert flush(store) is StageResult.MERGED
    check(store, 10)


@pytest.mark.parametrize("place", ["cut", "sync_folder", "swap_segments"])
def test_a_failed_merge_leaves_no_file(store, by_hand, monkeypatch, place):
    fill(store)
    monkeypatch.setattr(merging, place, lambda *_, **__: 1 / 0)
    for _ in range(3):
        assert flush(store) is StageResult.FAILED
    assert files(store) == []


@pytest.mark.parametrize("place", ["start", "unflushed", "remove_leftovers"])
def test_a_commit_is_acknowledged_though_merging_fails(store, monkeypatch, place):
    """Otherwise the batch would be sent again and count twice."""
    owners = {"start": compaction.Stage, "remove_leftovers": SegmentFolder}
    monkeypatch.setattr(owners.get(place, merging.Merger), place, lambda *_, **__: 1 / 0)
    (answer,) = store.apply_batches([make_batch([(1, 5, {"replies": 1})])])
    assert not answer.duplicate
    assert store.read_totals([1], ["replies"]).tolist() == [[1]]


def test_segments_are_merged_once(store, by_hand):
    """A second merge of the same segments would count them twice, so it is refused."""
    fill(store)
    chosen = listed(store)
    merger(store).merge(chosen)
    with store._database.writing() as db, pytest.raises(RuntimeError, match="lock"):
        manifest.swap_segments(db, chosen, into=SegmentRecord(0, 1, 1, "x"), content=0)
    check(store, 10)


def test_a_damaged_file_is_named(store, by_hand):
    fill(store)
    flush(store)
    (name,) = files(store)
    (store._folder / name).write_bytes(b"")
    close_segments(store)
    with pytest.raises(StoreDamaged, match=f"{name} is damaged"):
        store.read_totals([1], ["replies"])


def test_a_pruned_file_counts_its_totals_as_rows(store, by_hand):
    """If it seemed small for its few hours, it would be compacted again and again."""
    store.apply_batches([make_batch([(index, 5, {"replies": 1}) for index in range(1, 1001)])])
    store.prune(oldest_hour=6)
    assert [each.rows for each in listed(store)] == [1000]


@pytest.mark.parametrize("growth", [1, 1.5, 0.7])
def test_compact_leaves_few_files(store, by_hand, monkeypatch, growth):
    """A series of loads without a server, each larger or smaller than the one before."""
    monkeypatch.setattr(compaction, "_FILES_MAX", 8)
    most = 0
    for index in range(14):
        tweets = int((5 if growth >= 1 else 500) * growth**index) + 1
        store.apply_batches(
            [make_batch([(each, index, {"replies": 1}) for each in range(1, tweets)])]
        )
        merger(store).merge(merger(store).unflushed())
        store.compact()
        most = max(most, len(listed(store)))
    assert most <= compaction._FILES_MAX
    assert len(listed(store)) < most


def test_compact_waits_for_another_process(store, by_hand, monkeypatch):
    monkeypatch.setattr(compaction, "_FILES_MAX", 8)
    flush_files(store, 9)
    with store._compactor.compaction.lock.held():
        compacting = threading.Thread(target=store.compact)
        compacting.start()
        compacting.join(0.2)
        assert compacting.is_alive()
        assert len(listed(store)) == 9
    compacting.join()
    assert len(listed(store)) == 1


def test_files_of_an_ended_process_are_merged(open_store, monkeypatch):
    """A load that ends leaves files behind; the server that starts next merges them."""
    with monkeypatch.context() as patched:
        patched.setattr(compaction.Compactor, "notify_commit", lambda _: None)
        first = open_store()
        flush_files(first, 3)
        first.close()
    store = open_store()
    assert len(listed(store)) == 3
    store.start_compaction()
    wait_for(lambda: len(listed(store)) == 1)
    check(store, 30)


def test_removed_files_are_closed_in_another_thread(store, by_hand, monkeypatch):
    """Freeing a large file takes long, and no reader should wait for it."""
    read = threading.Event()
    sleep = SimpleNamespace(sleep=lambda _: read.wait(PATIENCE_S), monotonic=time.monotonic)
    monkeypatch.setattr(segment_removal, "time", sleep)
    flush_files(store, 6)
    check(store, 60)
    ended = []
    for each in store._reader._open[1].by_id.values():
        weakref.finalize(each.data, lambda: ended.append(threading.current_thread().name))
    del each
    compact_once(store)
    check(store, 60)
    read.set()
    wait_for(lambda: len(ended) == 6)
    assert ended == ["close-segments"] * 6


def test_a_server_merges_the_files_of_another_process(open_store, by_hand, monkeypatch):
    """A load merges its own segments while it runs. After it has ended, the server does."""
    monkeypatch.setattr(compaction, "_LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(compaction, "_IDLE_S", 0.1)
    server, other = open_store(), open_store()
    server.start_compaction()
    time.sleep(0.5)  # its work at the start is done
    flush_files(other, 3)
    wait_for(lambda: len(files(other)) == 1)
    check(server, 30)


def test_neither_a_failed_merge_nor_its_log_line_touches_a_commit(store, monkeypatch):
    """A full disk that holds the log too. An error would make the caller send the batch again."""

    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    commits = 2 * compaction.BACKLOG_MAX
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        monkeypatch.setattr(merging, "sync_folder", fail)
        fill(store, commits)
        with contextlib.suppress(OSError):
            full.close()
    monkeypatch.undo()
    check(store, commits)
    stages = (store._compactor.flush, store._compactor.compaction)
    assert all(stage.thread.is_alive() for stage in stages)


def test_a_server_continues_after_another_process_died_in_a_merge(open_store, by_hand, monkeypatch):
    """A load on the folder of a server, for example, is killed during a compaction."""
    monkeypatch.setattr(compaction, "_LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(compaction, "_IDLE_S", 0.02)
    server, other = open_store(), open_store()
    flush_files(other, 3)
    half = other._folder / f"merged-{'0' * 32}.unfinished"
    half.write_bytes(b"what it had written")
    with other._compactor.compaction.lock.held():
        looks = []
        read = merger(server).records
        monkeypatch.setattr(merger(server), "records", lambda: looks.append(1) or read())
        server.start_compaction()
        wait_for(lambda: len(looks) > 50)
        assert half.exists()
    wait_for(lambda: len(files(server)) == 1 and not half.exists())
    check(server, 30)


def test_a_copy_is_complete_though_files_are_removed_meanwhile(
    open_store, by_hand, monkeypatch, tmp_path
):
    store, other = open_store(), open_store()
    flush_files(other, 3)
    read = manifest.read_segment

    def compact_first(*args, **kwargs):
        monkeypatch.setattr(manifest, "read_segment", read)
        assert compact_once(other, idle=True) is StageResult.MERGED
        return read(*args, **kwargs)

    monkeypatch.setattr(manifest, "read_segment", compact_first)
    folder = tmp_path / "copy"
    folder.mkdir()
    store.copy_to(folder)
    assert manifest.read_segment is read
    copy = EmbeddedStore(folder / store._path.name, clock=SystemClock(), idempotency_keep_days=90)
    check(copy, 30)
    copy.close()


@pytest.mark.parametrize("linked", [{0, 1, 2}, {1}, {0, 2}], ids=["all", "one", "two of three"])
def test_a_snapshot_that_shares_files_by_hard_links_stays_whole(
    open_store, path, by_hand, monkeypatch, tmp_path, linked
):
    """`cp -al` makes such a snapshot. Another one has copies of some files."""
    monkeypatch.setattr(segment_removal, "_FREED_BYTES", 5000)
    store = open_store()
    flush_files(store, 3)
    store._database.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copied = tmp_path / "snapshot" / path.name
    copied.parent.mkdir()
    shutil.copy(path, copied)
    subprocess.run(["cp", "-al", store._folder, copied.parent], check=True)
    for index, name in enumerate(files(store)):
        if index not in linked:
            shutil.copy(store._folder / name, copied.parent / "content")
            (copied.parent / "content").replace(copied.with_suffix(".segments") / name)
    before = {each.name: each.read_bytes() for each in copied.parent.glob("*/*.segment")}

    assert compact_once(store, idle=True) is StageResult.MERGED

    assert not before.keys() & set(files(store))
    assert {each.name: each.read_bytes() for each in copied.parent.glob("*/*.segment")} == before
    check(store, 30)
    with contextlib.closing(
        EmbeddedStore(copied, clock=SystemClock(), idempotency_keep_days=90)
    ) as restored:
        check(restored, 30)


def test_a_store_is_idle_once_nothing_changes(store, by_hand, monkeypatch):
    looks = iter([1, 2, 3, 3, 4])
    monkeypatch.setattr(compaction, "_IDLE_S", 0)
    monkeypatch.setattr(merging.Merger, "records", lambda _: next(looks))
    assert store._compactor.flush._wait_until_idle()
    assert next(looks) == 4


def test_a_store_with_a_new_commit_is_not_idle(store, by_hand):
    store._compactor.flush.wake.set()
    assert not store._compactor.flush._wait_until_idle()


def test_a_failed_merge_is_not_repeated(open_store, by_hand, monkeypatch):
    """On a full disk, for example. It is tried again after the next commit."""
    monkeypatch.setattr(compaction, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(compaction, "_IDLE_S", 0.01)
    store = open_store()
    flush_files(store, 3)
    tried = []
    monkeypatch.setattr(merging.SegmentFile, "finish", lambda _: tried.append(1) or 1 / 0)
    store.start_compaction()
    wait_for(lambda: tried)
    time.sleep(0.3)
    assert len(tried) == 1
    fill(store, 1, first=30)
    wait_for(lambda: len(tried) > 1)
    store.close()
    assert len(files(store)) == 3


def leave(store, name, state=None):
    """Put a file into the folder of segments, recorded as `state`."""
    (store._folder / name).write_bytes(b"counters")
    if state:
        with store._database.writing() as db:
            manifest.note_unlisted(db, [name], state=state)


UNFINISHED = f"merged-{'a' * 32}.unfinished"


def test_files_that_a_crash_left_are_removed(store, by_hand):
    fill(store)
    flush(store)
    kept = files(store)
    leave(store, UNFINISHED)
    leave(store, "expected.segment", Unlisted.EXPECTED)
    leave(store, "replaced.segment", Unlisted.REPLACED)
    folder(store).remove_leftovers()
    assert files(store) == kept
    assert not (store._folder / UNFINISHED).exists()
    assert manifest.list_unlisted(store._database.connection()) == {}
    check(store, 10)


@pytest.mark.parametrize(
    "name", ["0123.segment", f"{'a' * 32}.segment", "x.unfinished", "merged-1.unfinished", "note"]
)
def test_no_other_file_is_ever_removed(store, by_hand, name):
    leave(store, name)
    leave(store, "kept.segment", Unlisted.KEPT)
    flush_files(store, 6)
    compact_once(store)
    store.prune(oldest_hour=5)
    folder(store).remove_leftovers()
    store.close()
    assert (store._folder / name).read_bytes() == b"counters"
    assert (store._folder / "kept.segment").read_bytes() == b"counters"


def test_a_listed_file_is_not_removed_whatever_else_is_recorded(store, by_hand):
    fill(store)
    flush(store)
    listed_files = files(store)
    with store._database.writing() as db:
        manifest.note_unlisted(db, listed_files, state=Unlisted.REPLACED)
    folder(store).remove_leftovers()
    check(store, 10)


def test_no_file_is_removed_during_a_merge(store, by_hand):
    leave(store, "0123.segment", Unlisted.REPLACED)
    with store._compactor.compaction.lock.held():
        folder(store).remove_leftovers()
    assert files(store) == ["0123.segment"]


def test_replaced_files_are_forgotten_once_their_removal_is_durable(store, by_hand):
    """The record of the last merge stays until the next one has synced the folder."""
    flush_files(store, 6)
    compact_once(store)
    assert len(manifest.list_unlisted(store._database.connection())) == 6
    fill(store)
    flush(store)
    assert manifest.list_unlisted(store._database.connection()) == {}


def test_a_file_that_is_merged_before_it_is_opened(store, by_hand, monkeypatch):
    """A reader lists a file, another process merges it, and the reader lists again."""
    flush_files(store, 6)
    close_segments(store)
    read, merged = manifest.read_segment, []

    def slowly(db, each, *, folder):
        if not merged and threading.current_thread() is threading.main_thread():
            merged.append(threading.Thread(target=store._compactor.compaction.run))
            merged[0].start()
            merged[0].join()
        return read(db, each, folder=folder)

    monkeypatch.setattr(manifest, "read_segment", slowly)
    check(store, 60)
    assert merged


def test_a_missing_file_is_an_error(store, by_hand):
    fill(store)
    flush(store)
    (store._folder / files(store)[0]).unlink()
    close_segments(store)
    with pytest.raises(StoreDamaged, match=r"\.segment is damaged: the file is missing"):
        store.read_totals([1], ["replies"])


def test_a_reader_can_use_files_that_were_merged_meanwhile(store, by_hand):
    flush_files(store, 6)
    with store._database.snapshot() as db:
        held = store._reader.segments(db)
        before = [each.hours.counts.sum() for each in held]
        thread = threading.Thread(target=store._compactor.compaction.run)
        thread.start()
        thread.join()
        assert [each.hours.counts.sum() for each in held] == before
    check(store, 60)


def test_prune_removes_hours_and_keeps_totals(store, by_hand):
    fill(store)
    flush(store)
    fill(store, first=10, commits=3)

    assert (
        store.prune(oldest_hour=11) == 11 * 8 * 2
    )  # each counter once, in however many segments it was
    hours, totals = snapshot(store)
    assert not hours[:, :, :11].any()
    assert hours[:8, TYPE_NAMES.index("favorites"), 11:13].tolist() == [[1, 1]] * 8
    assert totals[:8, TYPE_NAMES.index("favorites")].tolist() == [13] * 8
    assert store.prune(oldest_hour=11) == 0


def test_a_total_of_zero_stays_zero_when_hours_are_pruned(store, by_hand):
    store.apply_batches([make_batch([(1, 5, {"replies": 1}), (1, 9, {"replies": -1})])])
    store.prune(oldest_hour=6)
    assert store.read_totals([1], ["replies"]).tolist() == [[0]]
    assert store.read_buckets([1], ["replies"], start_hour=0, end_hour=10).sum() == -1


def test_readers_see_whole_commits_during_merges(store):
    done, faults = threading.Event(), []

    def watch():
        last = 0
        while not done.wait(0.001):
            hours, totals = snapshot(store)
            now = int(totals[0, TYPE_NAMES.index("favorites")])
            whole = (totals[:8, TYPE_NAMES.index("favorites")] == now).all()
            if now < last or not whole or (hours.sum(axis=2) > totals).any():
                faults.append((last, now))
            last = now

    watchers = [threading.Thread(target=watch) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    fill(store, 90)
    done.set()
    for watcher in watchers:
        watcher.join()
    assert not faults
    check(store, 90)


# Which segments are merged


def sized(*rows, file="f"):
    return [SegmentRecord(index, each, 1, file) for index, each in enumerate(rows)]


@cases(
    ("rows", "idle", "due"),
    [
        ([1] * 7, False, False),
        ([1] * 8, False, True),
        ([3_999_999], False, False),
        ([4_000_000], False, True),
        ([99_999], True, False),
        ([100_000], True, True),
        ([], True, False),
    ],
)
def test_when_a_flush_is_due(rows, idle, due):
    records = sized(*rows, file=None)
    assert choose_unflushed(records, idle=idle) == (records if due else [])


def test_a_flush_takes_the_oldest_and_no_more_than_fits():
    records = sized(*[1_500_000] * 9, file=None)
    assert choose_unflushed(records, idle=False) == records[:3]
    assert choose_unflushed(sized(9_000_000, 5, file=None), idle=False)[0].rows == 9_000_000


@cases(
    ("rows", "idle", "chosen"),
    [
        ([], False, []),
        ([4] * 5, False, []),
        ([4] * 6, False, [4] * 6),
        ([100, *[4] * 6], False, [4] * 6),
        ([13, *[4] * 6], False, [4] * 6),
        ([12, *[4] * 6], False, [*[4] * 6, 12]),
        ([40, 12, *[4] * 6], False, [*[4] * 6, 12]),
        ([18, 12, *[4] * 6], False, [*[4] * 6, 12, 18]),
        ([1, *[4] * 5], False, [1, *[4] * 5]),
        ([4, 5, 6, 7, 8, 9, 100], False, [4, 5, 6, 7, 8, 9]),
        ([4, 5, 6, 8, 12, 100], False, []),
        ([4, 4], True, [4, 4]),
        ([4, 5], True, [4, 5]),
        ([4, 33], True, []),
        ([4], True, []),
        ([5, 4, 4, 104], True, [4, 4, 5, 104]),
        ([5, 4, 4, 105], True, [4, 4, 5]),
    ],
)
def test_which_files_are_compacted(rows, idle, chosen):
    got = choose_files(sized(*rows), idle=idle)
    assert [each.rows for each in got] == chosen


def test_files_stay_few_and_counters_are_rarely_rewritten():
    """A simulation of many flushes bounds the number of files and of rewrites of a row."""
    chance, rows, rewritten, most = random.Random(1), [], 0, 0
    for _ in range(5000):
        rows.append(chance.randint(500_000, 4_000_000))
        while chosen := choose_files(sized(*rows), idle=False):
            for each in chosen:
                rows.remove(each.rows)
            rows.append(sum(each.rows for each in chosen))
            rewritten += rows[-1]
        most = max(most, len(rows))
    times = np.log(5000) / np.log(3)
    assert most <= 2 * times + compaction._COMPACT_MIN
    assert rewritten / sum(rows) <= times


def test_segments_of_moved_views_are_flushed(open_store):
    """Registering Tweets with videos adds a segment per commit, as events do."""
    first = open_store()
    first.apply_batches([make_batch([(index, 5, {"video_views": 1}) for index in range(1, 101)])])
    first.close()
    store = open_store()
    for index in range(1, 91):  # commits flush some themselves, and leave about 24
        store.apply_tweets(make_tweets((index, 7, 1000, str(index), None)))
    wait_for(lambda: unflushed(store) < compaction.FLUSH_MIN)
    assert store.read_totals(list(range(1, 101)), ["video_views"]).sum() == 100
