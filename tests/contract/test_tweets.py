"""Tweets, and the views of a video that several of them carry."""

import pytest

from contract.deltas import make_batch, make_tweets
from openengagement.engagement.types import Tweet

VIDEO, OTHER = 70, 71


def views(store, *ids):
    return store.read_totals(list(ids), ["video_views"])[:, 0].tolist()


def see(store, tweet_id, count, hour=10):
    store.apply_batches([make_batch([(tweet_id, hour, {"video_views": count, "replies": 1})])])


def carry(store, *pairs, deleted=False):
    store.apply_tweets(
        make_tweets(*((tweet_id, 1, 0, video, deleted) for tweet_id, video in pairs))
    )


def test_registered_tweets_are_read(store):
    store.apply_tweets(make_tweets((5, 7, 1000, None, False), (6, 8, 2000, VIDEO, True)))

    assert store.read_tweets([6, 9, 5]) == {
        5: Tweet(5, 7, 1000, deleted=False),
        6: Tweet(6, 8, 2000, deleted=True),
    }


def test_the_last_registration_holds(store):
    store.apply_tweets(make_tweets((5, 7, 1000, None, False)))
    store.apply_tweets(make_tweets((5, 8, 2000, VIDEO, True)))
    assert store.read_tweets([5])[5] == Tweet(5, 8, 2000, deleted=True)

    store.apply_tweets(
        make_tweets((5, 1, 1, None, True), (6, 1, 1, None, False), (5, 9, 3, None, False))
    )
    assert store.read_tweets([5])[5] == Tweet(5, 9, 3, deleted=False)


def test_no_tweets_at_all(store):
    store.apply_tweets(make_tweets())

    assert store.read_tweets([]) == {}


def test_very_many_tweets(store):
    store.apply_tweets(make_tweets(*((at, at % 7 + 1, at, None, False) for at in range(1, 5001))))

    found = store.read_tweets(list(range(1, 5003)))
    assert len(found) == 5000
    assert found[4999] == Tweet(4999, 4999 % 7 + 1, 4999, deleted=False)


def test_deleting(store):
    carry(store, (5, None))
    see(store, 5, 2)

    assert store.delete_tweet(5)
    assert store.read_tweets([5])[5].deleted
    assert store.delete_tweet(5), "it is still registered"
    assert not store.delete_tweet(6)
    assert views(store, 5) == [2], "its counters are kept"


def test_registering_again_undoes_a_deletion(store):
    carry(store, (5, None))
    store.delete_tweet(5)
    carry(store, (5, None))

    assert not store.read_tweets([5])[5].deleted


def test_counters_before_registration_are_kept(store):
    see(store, 5, 4)
    carry(store, (5, None))

    assert store.read_totals([5], ["replies", "video_views"]).tolist() == [[1, 4]]


@pytest.mark.parametrize("registered", ["before", "after", "between"])
def test_views_of_a_video_are_shared(store, registered):
    pairs = [(5, VIDEO), (6, VIDEO), (7, OTHER), (8, None)]
    if registered == "before":
        carry(store, *pairs)
    for tweet_id, count in ((5, 1), (6, 2), (7, 4), (8, 8)):
        see(store, tweet_id, count)
        if registered == "between" and tweet_id == 6:
            carry(store, *pairs)
    if registered == "after":
        carry(store, *pairs)
    see(store, 5, 16, hour=11)

    assert views(store, 5, 6, 7, 8) == [19, 19, 4, 8]


def test_only_views_are_shared_and_only_in_totals(store):
    carry(store, (5, VIDEO), (6, VIDEO))
    see(store, 5, 3)

    assert store.read_totals([5, 6], ["replies", "video_views"]).tolist() == [[1, 3], [0, 3]]
    buckets = store.read_buckets([5, 6], ["video_views"], start_hour=0, end_hour=20)
    assert buckets.sum(axis=(1, 2)).tolist() == [3, 0]


def test_a_tweet_without_events_shows_its_videos_views(store):
    see(store, 5, 3)
    carry(store, (5, VIDEO), (6, VIDEO))

    assert views(store, 6, 5) == [3, 3]
    assert store.read_totals([6], ["replies", "video_views", "favorites"]).tolist() == [[0, 3, 0]]


def test_a_video_without_views(store):
    carry(store, (5, VIDEO), (6, VIDEO))
    store.apply_batches([make_batch([(5, 10, {"replies": 1})])])

    assert views(store, 5, 6) == [0, 0]


def test_views_move_with_the_video(store):
    carry(store, (5, VIDEO), (6, VIDEO), (7, OTHER))
    for tweet_id, count in ((5, 1), (6, 2), (7, 4)):
        see(store, tweet_id, count)

    carry(store, (6, OTHER))
    assert views(store, 5, 6, 7) == [1, 6, 6]
    carry(store, (6, None))
    assert views(store, 5, 6, 7) == [1, 2, 4]
    see(store, 6, 8)
    assert views(store, 5, 6, 7) == [1, 10, 4]
    carry(store, (6, VIDEO))
    assert views(store, 5, 6, 7) == [11, 11, 4]


def test_a_video_changed_within_one_registration(store):
    for tweet_id, count in ((5, 1), (6, 2), (7, 4)):
        see(store, tweet_id, count)

    carry(store, (5, VIDEO), (6, OTHER), (5, OTHER), (7, VIDEO), (6, VIDEO))

    assert views(store, 5, 6, 7) == [1, 6, 6]


def test_registering_the_same_again_moves_nothing(store):
    see(store, 5, 3)
    for _ in range(3):
        carry(store, (5, VIDEO), (6, VIDEO))

    assert views(store, 5, 6) == [3, 3]


def test_a_deleted_tweets_views_stay_with_the_video(store):
    carry(store, (5, VIDEO), (6, VIDEO))
    see(store, 5, 3)
    store.delete_tweet(5)
    see(store, 5, 4)

    assert views(store, 6) == [7]


def test_undone_views(store):
    carry(store, (5, VIDEO), (6, VIDEO))
    see(store, 5, 3)
    see(store, 6, -1)

    assert views(store, 5, 6) == [2, 2]


def test_several_batches_of_one_commit(store):
    carry(store, (5, VIDEO), (6, VIDEO))
    rows = [[(tweet_id, at, {"video_views": 1})] for tweet_id in (5, 6) for at in range(3)]
    store.apply_batches([make_batch(row, key=b"%d" % at) for at, row in enumerate(rows)])
    store.apply_batches([make_batch(row, key=b"%d" % at) for at, row in enumerate(rows)])

    assert views(store, 5, 6) == [6, 6]


def test_250_tweets_of_one_video(store):
    carry(store, *((at, VIDEO) for at in range(1, 251)))
    store.apply_batches([make_batch([(at, 1, {"video_views": at}) for at in range(1, 251)])])

    assert set(views(store, *range(250, 0, -1))) == {250 * 251 // 2}
