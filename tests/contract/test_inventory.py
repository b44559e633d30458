"""What `stores.inventory` promises, for every engine."""

from contextlib import closing

import numpy as np
import polars as pl
import pytest

from contract.backends import Embedded
from contract.deltas import make_batch, make_contents, make_deltas, make_tweets
from openengagement.engagement.counters import no_counters
from openengagement.engagement.types import ID_MAX
from openengagement.errors import StoreUnavailable
from openengagement.files import UnusableFile
from openengagement.stores.contract import Applied, Authored, Batch, Position
from openengagement.stores.inventory import (
    NEVER,
    PROGRESS,
    MoveState,
    refuse_unfinished,
)

HOUR = 490_000
LARGE = 7_000_000_000_000_000_000
FIRST = (-(2**62), b"")
REASON = "it is being moved"


@pytest.fixture
def inventory(store):
    return store.inventory()


def rows_of(counters):
    """The counters as rows, as `make_deltas` takes them, with one type each."""
    ids = np.repeat(counters.ids, np.diff(counters.starts)).tolist()
    return list(zip(ids, counters.cells.tolist(), counters.counts.tolist(), strict=True))


def plain(rows):
    return rows_of(make_deltas(rows))


def test_counters_are_read_by_their_range(store, inventory):
    rows = [(each, HOUR + each % 3, {"replies": each}) for each in range(1, 7)]
    store.apply_batches([make_batch([*rows, (LARGE, HOUR, {"favorites": 2})])])
    store.apply_batches([make_batch([(3, HOUR, {"replies": 1})])])
    expected = [*rows, (LARGE, HOUR, {"favorites": 2})]
    expected[2] = (3, HOUR, {"replies": 4})
    assert rows_of(inventory.read_counters(0, ID_MAX)) == plain(expected)
    assert rows_of(inventory.read_counters(2, 4)) == plain(expected[2:4])
    assert rows_of(inventory.read_counters(7, LARGE - 1)) == []
    assert inventory.count()[0] >= 7


def test_totals_of_pruned_hours_are_in_hour_0(store, inventory):
    store.apply_batches([make_batch([(1, HOUR, {"replies": 3}), (1, HOUR + 9, {"replies": 4})])])
    store.prune(oldest_hour=HOUR + 1)
    expected = [(1, 0, {"replies": 3}), (1, HOUR + 9, {"replies": 4})]
    assert rows_of(inventory.read_counters(0, ID_MAX)) == plain(expected)


def test_an_undone_counter_is_none(store, inventory):
    store.apply_batches([make_batch([(1, HOUR, {"replies": 3})])])
    store.apply_batches([make_batch([(1, HOUR, {"replies": -3})])])
    assert rows_of(inventory.read_counters(0, ID_MAX)) == []


def test_cuts_reach_the_end(store, inventory):
    """Each slice has a bounded number of counters, and each Tweet is in one slice."""
    ids = np.arange(1, 200_001, 2)
    rows = [(each, HOUR, {"replies": 1, "favorites": 1}) for each in ids.tolist()]
    store.apply_batches([make_batch(rows)])
    after, found = 0, []
    while after < ID_MAX:
        last = inventory.cut(after)
        assert last > after
        found.append(inventory.read_counters(after, last))
        after = last
    assert np.array_equal(np.concatenate([each.ids for each in found]), ids)
    assert max(each.rows for each in found) < 150_000


def test_an_empty_store(store, inventory):
    assert inventory.is_empty()
    assert inventory.cut(0) == ID_MAX
    assert inventory.read_counters(0, ID_MAX).rows == 0
    assert inventory.next_tweets(0, 10).height == 0
    assert inventory.next_videos(0, 10) == []
    assert inventory.next_keys(FIRST, 10) == []
    store.apply_batches(
        [Batch(no_counters(), None, b"", b"", position=Position(PROGRESS, b"1", None))]
    )
    assert inventory.is_empty()  # only a move was here


@pytest.mark.parametrize("kind", ["tweet", "counter", "key", "position"])
def test_a_store_that_is_not_empty(store, inventory, kind):
    if kind == "tweet":
        store.apply_tweets(make_tweets((1, 7, 100, None, False)))
    elif kind == "counter":
        store.apply_batches([make_batch([(1, HOUR, {"replies": 1})])])
    elif kind == "key":
        store.apply_batches([make_batch([], key=b"key")])
    else:
        store.apply_batches([make_batch([], position=Position("log", b"5", None))])
    assert not inventory.is_empty()


def test_tweets_have_all_their_columns(store, inventory):
    store.apply_tweets(make_tweets((1, 7, 100, "clip", False), (2, 8, 200, None, True)))
    store.apply_tweets(make_contents((3, False, "Hello", "https://example.com/3", "")))
    found = inventory.next_tweets(0, 10)
    assert found.rows()[:2] == [
        (1, 7, 100, "clip", False, "", "", ""),
        (2, 8, 200, None, True, "", "", ""),
    ]
    assert found.rows()[2][-3:] == ("Hello", "https://example.com/3", "")
    assert inventory.next_tweets(1, 1).get_column("id").to_list() == [2]
    assert found.schema == pl.DataFrame(schema=found.schema).schema


def test_videos_keep_their_numbers_and_views(store, inventory):
    store.apply_tweets(make_tweets((1, 7, 100, "clip", False), (2, 7, 100, "film", False)))
    store.apply_batches([make_batch([(1, HOUR, {"video_views": 5})])])
    videos = inventory.next_videos(0, 10)
    numbers = {video_id: number for number, video_id in videos}
    assert set(numbers) == {"clip", "film"}
    assert inventory.number_videos(["film", "clip"]) == numbers
    new = inventory.number_videos(["new"])["new"]
    assert new not in numbers.values()
    assert inventory.read_views([numbers["clip"], numbers["film"], new]) == [5, 0, 0]
    assert inventory.next_videos(max(numbers.values()), 10) == [(new, "new")]


def test_forgotten_videos_are_not_listed(store, inventory):
    store.apply_tweets(make_tweets((1, 7, 100, "clip", False)))
    store.forget(Authored([7], [1], []))
    assert inventory.next_videos(0, 10) == []


def test_keys_in_the_order_of_their_times(store, inventory, clock):
    store.apply_batches([make_batch([], key=b"b"), make_batch([], key=b"a", outcome=b"first")])
    clock.at_s += 100
    store.apply_batches([make_batch([], key=b"0")])
    forever = Batch(no_counters(), b"c", b"digest", b"outcome", expires=False)
    store.apply_batches([forever])
    rows = inventory.next_keys(FIRST, 10)
    if len(rows) < 4:  # an engine may return the others with the next call
        rows += inventory.next_keys(rows[-1].place, 10)
    assert [row.key for row in rows] == [b"a", b"b", b"0", b"c"]
    assert (rows[0].digest, rows[0].outcome) == (b"digest", b"first")
    assert rows[3].applied_at_s == NEVER
    assert rows[2].applied_at_s - rows[0].applied_at_s == 100
    assert [row.key for row in inventory.next_keys(rows[0].place, 1)] == [b"b"]
    assert inventory.next_keys(rows[3].place, 10) == []


def test_positions(store, inventory):
    store.apply_batches([make_batch([], position=Position("log/1", b"\x05", None))])
    assert inventory.list_positions() == {"log/1": b"\x05"}


def test_a_sealed_store_refuses_every_change(store, inventory, backend, clock):
    store.apply_tweets(make_tweets((1, 7, 100, "clip", False)))
    store.apply_batches([make_batch([(1, HOUR, {"replies": 1})], key=b"known")])
    other = backend.open(clock)
    inventory.seal(REASON)
    try:
        assert other.inventory().is_sealed()
        changes = [
            lambda: other.apply_batches([make_batch([(1, HOUR, {"replies": 1})])]),
            lambda: other.apply_batches([make_batch([], key=b"new")]),
            lambda: other.apply_batches([make_batch([], position=Position("log", b"1", None))]),
            lambda: other.apply_tweets(make_tweets((1, 8, None, None, None))),
            lambda: other.apply_tweets(make_tweets((2, 8, 100, "new", False))),
            lambda: other.apply_tweets(make_contents((1, None, "text", None, None))),
            lambda: other.delete_tweet(1),
            lambda: other.forget(Authored([7], [1], [])),
        ]
        for change in changes:
            with pytest.raises(StoreUnavailable, match=REASON):
                change()
        assert other.read_totals([1], ["replies"]).tolist() == [[1]]
        assert other.read_outcome(b"known", b"digest") == b"outcome"
        inventory.seal(REASON)  # it may be repeated
        inventory.release()
        assert not inventory.is_sealed()
        for change in changes:
            change()
        inventory.release()
    finally:
        other.close()


def test_merges_go_on_in_a_sealed_store(tmp_path):
    with closing(Embedded(tmp_path).open()) as store:
        inventory = store.inventory()
        for number in range(1, 40):
            store.apply_batches([make_batch([(number, HOUR, {"replies": number})])])
        before = rows_of(inventory.read_counters(0, ID_MAX))
        inventory.seal(REASON)
        store._compactor._flush_present()
        assert store.measure()["unflushed_segments"] == 0
        assert rows_of(inventory.read_counters(0, ID_MAX)) == before


def test_the_keys_of_repeats_are_answered(store):
    """A copied key answers as the first time: the batch does not count again."""
    copied = Batch(no_counters(), b"key", b"digest", b"the first outcome")
    store.apply_batches([copied])
    again = make_batch([(1, HOUR, {"replies": 1})], key=b"key")
    assert store.apply_batches([again]) == [Applied(True, b"the first outcome")]
    assert store.read_totals([1], ["replies"]).tolist() == [[0]]


def test_an_unfinished_target_is_refused(store):
    refuse_unfinished(store)
    states = [
        None,
        *(
            b'{"source":"a","run":"b","step":%d,"finished":%s}' % (step, finished)
            for step, finished in ((0, b"false"), (1, b"true"))
        ),
    ]
    store.apply_batches([make_batch([], position=Position(PROGRESS, states[1], None))])
    assert MoveState.read(store) == MoveState("a", "b", 0, False)
    with pytest.raises(UnusableFile, match="has not finished"):
        refuse_unfinished(store)
    store.apply_batches([make_batch([], position=Position(PROGRESS, states[2], states[1]))])
    refuse_unfinished(store)
