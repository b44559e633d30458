"""What callers learn about an engine: its name, whether it blocks, and what else it offers."""

import pytest

from contract.deltas import make_batch, make_tweets
from openengagement.stores.contract import Compacts, Copies, Prunes, Stores

ROWS = [(5, 10, {"replies": 1}), (5, 20, {"replies": 2})]


ON_FILES = pytest.mark.parametrize("backend", ["embedded"], indirect=True)


def test_an_engine_says_what_callers_need_to_know(store):
    assert store.name
    assert store.blocking in {True, False}


def test_an_engine_that_is_both_halves_is_closed_once(store):
    assert Stores(store, store).engines == (store,)


def test_videos_have_numbers(store):
    """A number is that of one video, for ever, and fits into the id of a counter."""
    ids = ("13_70", "70", "9d0e", "\N{EN DASH}70", "7" * 128)
    videos = dict(enumerate(ids, start=1))
    register = [(tweet_id, 7, 1000, video_id, False) for tweet_id, video_id in videos.items()]
    store.apply_tweets(make_tweets(*register, (99, 7, 1000, None, False)))
    numbers = store.read_videos([*videos, 99, 100])

    assert set(numbers) == set(videos)
    assert len(set(numbers.values())) == len(ids)
    assert all(0 < number < 2**63 for number in numbers.values())
    store.apply_tweets(make_tweets(*((index + 10, *row[1:]) for index, row in enumerate(register))))
    again = store.read_videos([*videos, *range(10, 10 + len(ids))])
    assert again == numbers | {index + 9: number for index, number in numbers.items()}
    store.apply_tweets(make_tweets((1, 7, None, "70", None)))
    assert store.read_videos([1, 2]) == {1: numbers[2], 2: numbers[2]}


def test_prune_keeps_totals(store):
    assert isinstance(store, Prunes)
    store.apply_batches([make_batch(ROWS)])

    assert store.prune(oldest_hour=15) == 1
    assert store.read_totals([5], ["replies"]).tolist() == [[3]]
    buckets = store.read_buckets([5], ["replies"], start_hour=0, end_hour=30)
    assert (buckets.sum(), buckets[0, 0, 20]) == (2, 2)
    assert store.prune(oldest_hour=15) == 0


@ON_FILES
def test_compact_changes_no_answer(store):
    assert isinstance(store, Compacts)
    for _ in range(20):
        store.apply_batches([make_batch(ROWS)])
    store.start_compaction()
    store.compact()

    assert store.read_totals([5], ["replies"]).tolist() == [[60]]
    assert store.read_buckets([5], ["replies"], start_hour=0, end_hour=30).sum() == 60


@ON_FILES
def test_a_copy_has_everything(backend, store, tmp_path):
    assert isinstance(store, Copies)
    store.apply_tweets(make_tweets((5, 7, 1000, None, False)))
    store.apply_batches([make_batch(ROWS, key=b"k")])
    folder = tmp_path / "copy"
    folder.mkdir()
    store.copy_to(folder)
    store.apply_batches([make_batch(ROWS)])

    copy = type(backend)(folder).open()
    assert copy.read_totals([5], ["replies"]).tolist() == [[3]]
    assert set(copy.read_tweets([5])) == {5}
    assert copy.apply_batches([make_batch(ROWS, key=b"k")])[0].duplicate
    copy.close()
