"""Merging: nothing is lost or counted twice, whoever reads, writes, fails or dies meanwhile."""

import contextlib
import errno
import random
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from contract.deltas import make_batch, make_tweets
from openengagement.clock import SystemClock
from openengagement.engagement.types import TYPE_NAMES
from openengagement.stores.embedded import compaction, manifest, segments
from openengagement.stores.embedded.compaction import choose_files, choose_fresh
from openengagement.stores.embedded.manifest import Listed
from openengagement.stores.embedded.store import EmbeddedStore
from support.waiting import wait_for


@pytest.fixture
def by_hand(monkeypatch):
    """Merges happen when a test says so."""
    monkeypatch.setattr(compaction.Compactor, "note", lambda _: None)


def listed(store):
    return manifest.list_segments(store._database.connection())


def files(store):
    return sorted(path.name for path in store._folder.glob("*.segment"))


def fresh(store):
    """How many are in the database: at least FRESH_MAX only until the background comes to them."""
    return sum(each.file is None for each in listed(store))


def fill(store, commits=10, first=0):
    for at in range(first, first + commits):
        rows = [(tweet, at, {"replies": tweet, "favorites": 1}) for tweet in range(1, 9)]
        store.apply_batches([make_batch(rows)])


def gather_files(store, count):
    for at in range(count):
        fill(store, first=10 * at)
        store._compactor.gather()


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


def test_fresh_ones_become_a_file(store, by_hand):
    fill(store)
    assert store._compactor.gather()
    assert [each.file is None for each in listed(store)] == [False]
    assert [each.file for each in listed(store)] == files(store)
    check(store, 10)


def test_files_become_a_larger_one(store, by_hand):
    gather_files(store, 6)
    assert len(files(store)) == 6
    assert store._compactor.carry()
    assert [each.file for each in listed(store)] == files(store)
    assert len(files(store)) == 1
    check(store, 60)


@pytest.mark.parametrize("count", [100, 20_000, 2**30, -100, -20_000])
def test_totals_that_need_more_room_than_their_hours(store, by_hand, count):
    rows = [(tweet, hour, {"replies": count}) for tweet in (1, 2) for hour in range(50)]
    for at in range(4):
        store.apply_batches([make_batch(rows)])
        store._compactor._merge(store._compactor._list_fresh())
        store._compactor._merge(listed(store))
        assert [each.file is None for each in listed(store)] == [False]
        assert store.read_totals([1, 2], ["replies"]).tolist() == [[50 * (at + 1) * count]] * 2


def test_merging_goes_on_by_itself(store):
    fill(store, 80)  # of which those who help while they commit leave 14
    wait_for(lambda: fresh(store) < compaction.FRESH_MAX)
    check(store, 80)


def test_who_commits_faster_than_is_gathered_helps(store, monkeypatch):
    """With the background asleep, the database never holds more than the backlog."""
    monkeypatch.setattr(compaction.Compactor, "_run", lambda *_: None)
    most = 0
    for at in range(90):
        fill(store, 1, first=at)
        most = max(most, fresh(store))
    assert most <= compaction.BACKLOG_MAX
    check(store, 90)


@pytest.mark.parametrize("place", ["cut", "merge_at_once", "_sync", "swap_segments"])
def test_a_merge_that_fails_leaves_everything(store, by_hand, monkeypatch, place):
    fill(store)
    with monkeypatch.context() as patch:
        patch.setattr(compaction, place, lambda *_, **__: 1 / 0)
        assert not store._compactor._try(store._compactor.gather)
    assert len(listed(store)) == 10
    check(store, 10)

    assert store._compactor.gather()
    check(store, 10)


@pytest.mark.parametrize("place", ["cut", "_sync", "swap_segments"])
def test_a_merge_that_fails_leaves_no_file(store, by_hand, monkeypatch, place):
    fill(store)
    monkeypatch.setattr(compaction, place, lambda *_, **__: 1 / 0)
    for _ in range(3):
        assert not store._compactor._try(store._compactor.gather)
    assert files(store) == []


@pytest.mark.parametrize("place", ["_start", "_list", "_sweep"])
def test_what_was_committed_is_said_to_be(store, monkeypatch, place):
    """Whatever becomes of merging: else the batch would come again, and count twice."""
    monkeypatch.setattr(compaction.Compactor, place, lambda _: 1 / 0)
    (answer,) = store.apply_batches([make_batch([(1, 5, {"replies": 1})])])
    assert not answer.duplicate
    assert store.read_totals([1], ["replies"]).tolist() == [[1]]


def test_segments_are_merged_by_one(store, by_hand):
    """Two that merge the same would count it twice; the second one is refused."""
    fill(store)
    chosen = listed(store)
    store._compactor._merge(chosen)
    with store._database.writing() as db, pytest.raises(RuntimeError, match="lock"):
        manifest.swap_segments(db, chosen, rows=1, reach=1, file="x")
    check(store, 10)


def test_a_damaged_file_is_named(store, by_hand):
    fill(store)
    store._compactor.gather()
    (name,) = files(store)
    (store._folder / name).write_bytes(b"")
    store._known = {}
    with pytest.raises(OSError, match=f"{name} is damaged"):
        store.read_totals([1], ["replies"])


def test_what_is_pruned_still_weighs_its_totals(store, by_hand):
    """A file of many totals and few hours is no small one: it would be carried again and again."""
    store.apply_batches([make_batch([(at, 5, {"replies": 1}) for at in range(1, 1001)])])
    store.prune(oldest_hour=6)
    assert [each.rows for each in listed(store)] == [1000]


@pytest.mark.parametrize("growth", [1, 1.5, 0.7])
def test_settling_leaves_little_to_look_into(store, by_hand, monkeypatch, growth):
    """A row of loads, ever larger or smaller ones, and no server: files become fewer in time."""
    monkeypatch.setattr(compaction, "_FILES_MAX", 8)
    most = 0
    for at in range(14):
        tweets = int((5 if growth >= 1 else 500) * growth**at) + 1
        store.apply_batches([make_batch([(each, at, {"replies": 1}) for each in range(1, tweets)])])
        store._compactor._merge(store._compactor._list_fresh())
        store.compact()
        most = max(most, len(listed(store)))
    assert most <= compaction._FILES_MAX
    assert len(listed(store)) < most


def test_settling_waits_for_who_merges(store, by_hand, monkeypatch):
    monkeypatch.setattr(compaction, "_FILES_MAX", 8)
    gather_files(store, 9)
    with store._compactor._carrying.held():
        settling = threading.Thread(target=store.compact)
        settling.start()
        settling.join(0.2)
        assert settling.is_alive()
        assert len(listed(store)) == 9
    settling.join()
    assert len(listed(store)) == 1


def test_what_others_left_is_merged(open_store, monkeypatch):
    """A load that ends leaves files behind; the server that starts next merges them."""
    with monkeypatch.context() as patched:
        patched.setattr(compaction.Compactor, "note", lambda _: None)
        first = open_store()
        gather_files(first, 3)
        first.close()
    store = open_store()
    assert len(listed(store)) == 3
    store.start_compaction()
    wait_for(lambda: len(listed(store)) == 1)
    check(store, 30)


def test_files_are_let_go_of_in_another_thread(store, by_hand, monkeypatch):
    """Freeing a large file takes its time, which no reader has."""
    monkeypatch.setattr(segments, "_LET_GO_AFTER_S", 0.1)
    gather_files(store, 6)
    check(store, 60)
    ended = []
    for each in store._known.values():
        weakref.finalize(each.data, lambda: ended.append(threading.current_thread().name))
    del each
    store._compactor.carry()
    check(store, 60)
    wait_for(lambda: len(ended) == 6)
    assert ended == ["let-go"] * 6


def test_a_server_merges_what_others_leave_beside_it(open_store, by_hand, monkeypatch):
    """A load beside a server merges by itself; once it has ended, what it left is the server's."""
    monkeypatch.setattr(compaction, "_OTHERS_S", 0.05)
    monkeypatch.setattr(compaction, "_QUIET_S", 0.1)
    server, other = open_store(), open_store()
    server.start_compaction()
    time.sleep(0.5)  # what it does when it starts is done
    gather_files(other, 3)
    wait_for(lambda: len(files(other)) == 1)
    check(server, 30)


def test_neither_a_failed_merge_nor_its_log_line_touches_a_commit(store, monkeypatch):
    """A full disk that holds the log too; whoever were told of it would send the batch again."""

    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    commits = 2 * compaction.BACKLOG_MAX
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        monkeypatch.setattr(compaction, "_sync", fail)
        fill(store, commits)
        with contextlib.suppress(OSError):
            full.close()
    monkeypatch.undo()
    check(store, commits)
    assert all(thread.is_alive() for thread in store._compactor._threads.values())


def test_a_server_goes_on_where_another_died_at_it(open_store, by_hand, monkeypatch):
    """One that loads beside it, say, is killed with files half carried."""
    monkeypatch.setattr(compaction, "_OTHERS_S", 0.05)
    monkeypatch.setattr(compaction, "_QUIET_S", 0.02)
    server, other = open_store(), open_store()
    gather_files(other, 3)
    (other._folder / "half.segment").write_bytes(b"what it had written")
    with other._compactor._carrying.held():
        looks = []
        tell = server._compactor._list
        monkeypatch.setattr(server._compactor, "_list", lambda: looks.append(1) or tell())
        server.start_compaction()
        wait_for(lambda: len(looks) > 50)
        assert len(files(server)) == 4
    wait_for(lambda: len(files(server)) == 1)
    check(server, 30)


def test_a_copy_is_whole_though_files_go_while_it_is_made(
    open_store, by_hand, monkeypatch, tmp_path
):
    store, other = open_store(), open_store()
    gather_files(other, 3)
    read = manifest.read_segment

    def carry_first(*args, **kwargs):
        monkeypatch.setattr(manifest, "read_segment", read)
        assert other._compactor.carry(quiet=True)
        return read(*args, **kwargs)

    monkeypatch.setattr(manifest, "read_segment", carry_first)
    folder = tmp_path / "copy"
    folder.mkdir()
    store.copy_to(folder)
    assert manifest.read_segment is read
    copy = EmbeddedStore(folder / store._path.name, clock=SystemClock(), idempotency_keep_days=90)
    check(copy, 30)
    copy.close()


def test_it_is_quiet_once_two_looks_are_alike(store, by_hand, monkeypatch):
    looks = iter([1, 2, 3, 3, 4])
    monkeypatch.setattr(compaction, "_QUIET_S", 0)
    monkeypatch.setattr(compaction.Compactor, "_list", lambda _: next(looks))
    assert store._compactor._wait_for_quiet(threading.Event())
    assert next(looks) == 4


def test_it_is_not_quiet_while_there_is_news(store, by_hand):
    news = threading.Event()
    news.set()
    assert not store._compactor._wait_for_quiet(news)


def test_a_merge_that_fails_is_not_tried_again_and_again(open_store, by_hand, monkeypatch):
    """As when the disk is full: only when something else is there to merge."""
    monkeypatch.setattr(compaction, "_OTHERS_S", 0.01)
    monkeypatch.setattr(compaction, "_QUIET_S", 0.01)
    store = open_store()
    gather_files(store, 3)
    tried = []
    monkeypatch.setattr(segments.SegmentFile, "finish", lambda _: tried.append(1) or 1 / 0)
    store.start_compaction()
    wait_for(lambda: tried)
    time.sleep(0.3)
    assert len(tried) == 1
    fill(store, 1, first=30)
    wait_for(lambda: len(tried) > 1)
    store.close()
    assert len(files(store)) == 3


def test_what_a_dead_process_left_is_swept_up(store, tmp_path, by_hand):
    fill(store)
    store._compactor.gather()
    kept = files(store)
    (store._folder / "0123.segment").write_bytes(b"half")
    store._compactor._sweep()
    assert files(store) == kept
    check(store, 10)


def test_nothing_is_swept_while_somebody_merges(store, by_hand):
    (store._folder / "0123.segment").write_bytes(b"half")
    with store._compactor._carrying.held():
        store._compactor._sweep()
    assert files(store) == ["0123.segment"]


def test_a_file_that_goes_while_it_is_looked_for(store, by_hand, monkeypatch):
    """A reader lists a file, it is merged away, and the reader looks again."""
    gather_files(store, 6)
    store._known = {}
    read, carried = manifest.read_segment, []

    def slowly(db, each, *, folder):
        if not carried and threading.current_thread() is threading.main_thread():
            carried.append(threading.Thread(target=store._compactor.carry))
            carried[0].start()
            carried[0].join()
        return read(db, each, folder=folder)

    monkeypatch.setattr(manifest, "read_segment", slowly)
    check(store, 60)
    assert carried


def test_a_file_that_is_really_missing_is_told(store, by_hand):
    fill(store)
    store._compactor.gather()
    (store._folder / files(store)[0]).unlink()
    store._known = {}
    with pytest.raises(FileNotFoundError, match="missing"):
        store.read_totals([1], ["replies"])


def test_what_a_reader_holds_stays_its_own(store, by_hand):
    gather_files(store, 6)
    with store._database.snapshot() as db:
        held = store._view(db)
        before = [each.hours.counts.sum() for each in held]
        thread = threading.Thread(target=store._compactor.carry)
        thread.start()
        thread.join()
        assert [each.hours.counts.sum() for each in held] == before
    check(store, 60)


def test_pruned_hours_are_gone_and_totals_stay(store, by_hand):
    fill(store)
    store._compactor.gather()
    fill(store, first=10, commits=3)

    assert store.prune(oldest_hour=11) == 11 * 8 * 2  # in however many segments each was
    hours, totals = snapshot(store)
    assert not hours[:, :, :11].any()
    assert hours[:8, TYPE_NAMES.index("favorites"), 11:13].tolist() == [[1, 1]] * 8
    assert totals[:8, TYPE_NAMES.index("favorites")].tolist() == [13] * 8
    assert store.prune(oldest_hour=11) == 0


def test_totals_that_cancel_out_stay_nothing_when_their_hours_go(store, by_hand):
    store.apply_batches([make_batch([(1, 5, {"replies": 1}), (1, 9, {"replies": -1})])])
    store.prune(oldest_hour=6)
    assert store.read_totals([1], ["replies"]).tolist() == [[0]]
    assert store.read_buckets([1], ["replies"], start_hour=0, end_hour=10).sum() == -1


def test_readers_see_every_commit_wholly_while_merges_run(store):
    done, faults = threading.Event(), []

    def watch():
        last = 0
        while not done.is_set():
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


# What to merge


def sized(*rows, file="f"):
    return [Listed(at, each, 1, file) for at, each in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "quiet", "due"),
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
def test_when_gathering_is_due(rows, quiet, due):
    fresh = sized(*rows, file=None)
    assert choose_fresh(fresh, quiet=quiet) == (fresh if due else [])


def test_gathering_takes_the_oldest_and_no_more_than_fits():
    fresh = sized(*[1_500_000] * 9, file=None)
    assert choose_fresh(fresh, quiet=False) == fresh[:3]
    assert choose_fresh(sized(9_000_000, 5, file=None), quiet=False)[0].rows == 9_000_000


@pytest.mark.parametrize(
    ("rows", "quiet", "chosen"),
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
def test_which_files_are_carried(rows, quiet, chosen):
    got = choose_files(sized(*rows), quiet=quiet)
    assert [each.rows for each in got] == chosen


def test_files_stay_few_and_counters_are_seldom_rewritten():
    """A long life of gatherings, on paper: so many files at most, so many rewrites of a row."""
    chance, rows, rewritten, most = random.Random(1), [], 0, 0
    for _ in range(5000):
        rows.append(chance.randint(500_000, 4_000_000))
        while chosen := choose_files(sized(*rows), quiet=False):
            for each in chosen:
                rows.remove(each.rows)
            rows.append(sum(each.rows for each in chosen))
            rewritten += rows[-1]
        most = max(most, len(rows))
    times = np.log(5000) / np.log(3)
    assert most <= 2 * times + compaction._CARRY_MIN
    assert rewritten / sum(rows) <= times


def test_what_moving_views_adds_is_merged_too(open_store):
    """Tweets that come with videos leave a segment a commit, like events."""
    first = open_store()
    first.apply_batches([make_batch([(at, 5, {"video_views": 1}) for at in range(1, 101)])])
    first.close()
    store = open_store()
    for at in range(1, 91):  # of which those who help while they register leave two dozen
        store.apply_tweets(make_tweets((at, 7, 1000, at, None)))
    wait_for(lambda: fresh(store) < compaction.FRESH_MAX)
    assert store.read_totals(list(range(1, 101)), ["video_views"]).sum() == 100
