"""Tweets, and the views of a video that several Tweets share."""

import random
import threading

import pytest

from contract.deltas import make_batch, make_tweets
from openengagement.engagement.types import Tweet

VIDEO, OTHER = "13_1263145212760805376", "70"


def views(store, *ids):
    return store.read_totals(list(ids), ["video_views"])[:, 0].tolist()


def view(store, tweet_id, count, hour=10):
    store.apply_batches([make_batch([(tweet_id, hour, {"video_views": count, "replies": 1})])])


def register(store, *pairs, deleted=False):
    store.apply_tweets(
        make_tweets(*((tweet_id, 1, 0, video, deleted) for tweet_id, video in pairs))
    )


def test_registered_tweets_are_read(store):
    store.apply_tweets(make_tweets((5, 7, 1000, None, False), (6, 8, 2000, VIDEO, True)))

    assert store.read_tweets([6, 9, 5]) == {
        5: Tweet(5, 7, 1000, deleted=False),
        6: Tweet(6, 8, 2000, deleted=True),
    }


def test_tweets_come_in_the_given_order(store):
    """Answers list them so."""
    store.apply_tweets(make_tweets(*((each, 7, 1000, None, None) for each in (5, 6, 7, 8))))
    for asked in ([7, 9, 5], [6, 7, 9, 5, 8], [8, 6, 5], [5, 6, 7, 8]):
        assert [*store.read_tweets(asked)] == [each for each in asked if each != 9]


def test_the_last_registration_holds(store):
    store.apply_tweets(make_tweets((5, 7, 1000, None, False)))
    store.apply_tweets(make_tweets((5, 8, 2000, VIDEO, True)))
    assert store.read_tweets([5])[5] == Tweet(5, 8, 2000, deleted=True)

    store.apply_tweets(
        make_tweets((5, 1, 1, None, True), (6, 1, 1, None, False), (5, 9, 3, None, False))
    )
    assert store.read_tweets([5])[5] == Tweet(5, 9, 3, deleted=False)


FIRST = (5, 7, 1000, VIDEO, True)
MISSING = {
    "everything": ((5, 7, None, None, None), Tweet(5, 7, 1000, deleted=True), VIDEO),
    "all but the author": ((5, 8, None, None, None), Tweet(5, 8, 1000, deleted=True), VIDEO),
    "all but the time": ((5, 7, 2000, None, None), Tweet(5, 7, 2000, deleted=True), VIDEO),
    "all but the video": ((5, 7, None, OTHER, None), Tweet(5, 7, 1000, deleted=True), OTHER),
    "all but deleted": ((5, 7, None, None, False), Tweet(5, 7, 1000, deleted=False), VIDEO),
    "nothing": ((5, 9, 0, OTHER, False), Tweet(5, 9, 0, deleted=False), OTHER),
}


@pytest.mark.parametrize("at_once", [True, False], ids=["in one batch", "one after the other"])
@pytest.mark.parametrize(("again", "tweet", "video"), MISSING.values(), ids=MISSING)
def test_missing_fields_keep_their_values(store, again, tweet, video, at_once):
    register(store, (6, VIDEO), (7, OTHER))
    view(store, 6, 1)
    view(store, 7, 2)
    for rows in [[FIRST, again]] if at_once else [[FIRST], [again]]:
        store.apply_tweets(make_tweets(*rows))

    assert store.read_tweets([5])[5] == tweet
    assert views(store, 5) == [1 if video == VIDEO else 2]


@pytest.mark.parametrize(
    ("tweet_id", "created_at"),
    [(5, 1_288_834_974), (1_592_567_350_000_000_000, 1_668_532_619), (2**63 - 1, 3_487_858_230)],
)
def test_defaults_of_a_new_tweet(store, tweet_id, created_at):
    """Its time is that of its id, it is not deleted, and it has no video."""
    store.apply_tweets(make_tweets((tweet_id, 7, None, None, None)))

    assert store.read_tweets([tweet_id])[tweet_id] == Tweet(tweet_id, 7, created_at, deleted=False)
    view(store, tweet_id, 3)
    assert views(store, tweet_id) == [3]


def test_the_last_value_of_each_field_holds(store):
    store.apply_tweets(
        make_tweets(
            (5, 7, 1000, None, True),
            (6, 7, None, OTHER, None),
            (5, 8, None, VIDEO, None),
            (5, 9, 2000, None, False),
            (6, 7, None, VIDEO, None),
            (5, 9, None, None, None),
        )
    )
    view(store, 6, 4)

    assert store.read_tweets([5])[5] == Tweet(5, 9, 2000, deleted=False)
    assert views(store, 5, 6) == [4, 4]


@pytest.mark.parametrize("seed", range(4))
def test_batches_of_any_size_have_the_same_result(store, seed):
    """However rows are divided into batches, the last value of each field holds."""
    chance = random.Random(seed)
    known, seen = {}, {}
    for _ in range(8):
        rows = []
        for _ in range(chance.randint(1, 12)):
            row = (
                *(chance.randint(1, 6), chance.randint(1, 3)),
                *(chance.choice(values) for values in ((None, 0, 9), (None, VIDEO, OTHER))),
                chance.choice((None, True, False)),
            )
            before = known.get(row[0], (row[0], 0, 1_288_834_974, None, False))
            after = (old if new is None else new for old, new in zip(before, row, strict=True))
            known[row[0]] = tuple(after)
            rows.append(row)
        store.apply_tweets(make_tweets(*rows))
        watched = chance.choice(list(known))
        view(store, watched, 1)
        seen[watched] = seen.get(watched, 0) + 1

    tweets = {tweet_id: Tweet(*row[:3], deleted=row[4]) for tweet_id, row in known.items()}
    assert store.read_tweets(list(known)) == tweets
    mates = {
        tweet_id: [to for to in known if row[3] and known[to][3] == row[3]] or [tweet_id]
        for tweet_id, row in known.items()
    }
    expected = [sum(seen.get(mate, 0) for mate in mates[tweet_id]) for tweet_id in known]
    assert views(store, *known) == expected


def test_concurrent_changes_of_different_fields_are_both_kept(store):
    """Missing fields are looked up and written in the same transaction."""
    ids = range(1, 31)
    register(store, *((tweet_id, None) for tweet_id in ids))
    threads = [
        threading.Thread(target=lambda: [store.delete_tweet(tweet_id) for tweet_id in ids]),
        threading.Thread(
            target=lambda: [
                store.apply_tweets(
                    make_tweets(*((tweet_id, 1, None, None, None) for tweet_id in ids))
                )
                for _ in ids
            ]
        ),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(tweet.deleted for tweet in store.read_tweets(list(ids)).values())


def listed(store, author_id, limit=100):
    return [tweet.tweet_id for tweet in store.list_tweets(author_id, limit=limit)]


def test_an_authors_tweets_are_listed_newest_first(store):
    rows = ((5, 7, 1000), (6, 8, 9000), (9, 7, 500), (3, 7, 2000), (4, 7, 2000))
    store.apply_tweets(make_tweets(*((*row, None, False) for row in rows)))

    assert store.list_tweets(7, limit=2) == [
        Tweet(4, 7, 2000, deleted=False),
        Tweet(3, 7, 2000, deleted=False),
    ]
    assert listed(store, 7) == [4, 3, 5, 9]
    assert listed(store, 8) == [6]
    assert listed(store, 10) == []


def test_deleted_tweets_are_not_listed(store):
    rows = [(tweet_id, 7, tweet_id, VIDEO, tweet_id == 1) for tweet_id in (1, 2, 3)]
    store.apply_tweets(make_tweets(*rows))
    assert listed(store, 7) == [3, 2]

    store.delete_tweet(3)
    assert listed(store, 7, limit=1) == [2]
    store.apply_tweets(make_tweets((3, 7, None, None, False)))
    assert listed(store, 7) == [3, 2]


def test_a_tweet_is_listed_under_its_last_author(store):
    store.apply_tweets(make_tweets((5, 7, 1000, None, False)))
    store.apply_tweets(make_tweets((5, 8, None, None, None)))

    assert listed(store, 7) == []
    assert listed(store, 8) == [5]


def test_no_tweets_at_all(store):
    store.apply_tweets(make_tweets())

    assert store.read_tweets([]) == {}
    assert store.read_totals([], ["replies", "favorites"]).shape == (0, 2)


def test_very_many_tweets(store):
    store.apply_tweets(
        make_tweets(
            *((tweet_id, tweet_id % 7 + 1, tweet_id, None, False) for tweet_id in range(1, 5001))
        )
    )

    found = store.read_tweets(list(range(1, 5003)))
    assert len(found) == 5000
    assert found[4999] == Tweet(4999, 4999 % 7 + 1, 4999, deleted=False)


def test_deleting(store):
    register(store, (5, None))
    view(store, 5, 2)

    assert store.delete_tweet(5)
    assert store.read_tweets([5])[5].deleted
    assert store.delete_tweet(5), "a deleted Tweet is still registered"
    assert not store.delete_tweet(6)
    assert views(store, 5) == [2], "its counters are kept"


def test_only_an_explicit_value_undoes_a_deletion(store):
    register(store, (5, None))
    store.delete_tweet(5)
    register(store, (5, None), deleted=None)
    assert store.read_tweets([5])[5].deleted

    register(store, (5, None), deleted=False)
    assert not store.read_tweets([5])[5].deleted


def test_counters_before_registration_are_kept(store):
    view(store, 5, 4)
    register(store, (5, None))

    assert store.read_totals([5], ["replies", "video_views"]).tolist() == [[1, 4]]


@pytest.mark.parametrize("registered", ["before", "after", "between"])
def test_views_of_a_video_are_shared(store, registered):
    pairs = [(5, VIDEO), (6, VIDEO), (7, OTHER), (8, None)]
    if registered == "before":
        register(store, *pairs)
    for tweet_id, count in ((5, 1), (6, 2), (7, 4), (8, 8)):
        view(store, tweet_id, count)
        if registered == "between" and tweet_id == 6:
            register(store, *pairs)
    if registered == "after":
        register(store, *pairs)
    view(store, 5, 16, hour=11)

    assert views(store, 5, 6, 7, 8) == [19, 19, 4, 8]


def test_ids_as_large_as_real_ones(store):
    """Three in a row, so that each shard of a cluster has one together with a video."""
    ids = [2**62 + number for number in range(3)]
    for number, tweet_id in enumerate(ids):
        register(store, (tweet_id, f"13_{number}"))
        view(store, tweet_id, number + 1)
    assert views(store, *ids) == [1, 2, 3]
    assert store.read_totals(ids, ["replies"])[:, 0].tolist() == [1, 1, 1]
    assert store.read_buckets(ids, ["replies"], start_hour=10, end_hour=11).tolist() == [[[1]]] * 3


def test_only_views_are_shared_and_only_in_totals(store):
    register(store, (5, VIDEO), (6, VIDEO))
    view(store, 5, 3)

    assert store.read_totals([5, 6], ["replies", "video_views"]).tolist() == [[1, 3], [0, 3]]
    buckets = store.read_buckets([5, 6], ["video_views"], start_hour=0, end_hour=20)
    assert buckets.sum(axis=(1, 2)).tolist() == [3, 0]


def test_a_tweet_without_events_shows_its_videos_views(store):
    view(store, 5, 3)
    register(store, (5, VIDEO), (6, VIDEO))

    assert views(store, 6, 5) == [3, 3]
    assert store.read_totals([6], ["replies", "video_views", "favorites"]).tolist() == [[0, 3, 0]]


def test_a_video_without_views(store):
    register(store, (5, VIDEO), (6, VIDEO))
    store.apply_batches([make_batch([(5, 10, {"replies": 1})])])

    assert views(store, 5, 6) == [0, 0]


def test_views_move_with_the_video(store):
    register(store, (5, VIDEO), (6, VIDEO), (7, OTHER))
    for tweet_id, count in ((5, 1), (6, 2), (7, 4)):
        view(store, tweet_id, count)

    register(store, (6, OTHER))
    assert views(store, 5, 6, 7) == [1, 6, 6]
    register(store, (6, None))
    assert views(store, 5, 6, 7) == [1, 6, 6]
    view(store, 6, 8)
    assert views(store, 5, 6, 7) == [1, 14, 14]
    register(store, (6, VIDEO))
    assert views(store, 5, 6, 7) == [11, 11, 4]


def test_a_video_changed_within_one_registration(store):
    for tweet_id, count in ((5, 1), (6, 2), (7, 4)):
        view(store, tweet_id, count)

    register(store, (5, VIDEO), (6, OTHER), (5, OTHER), (7, VIDEO), (6, VIDEO))

    assert views(store, 5, 6, 7) == [1, 6, 6]


def test_registering_the_same_again_moves_nothing(store):
    view(store, 5, 3)
    for _ in range(3):
        register(store, (5, VIDEO), (6, VIDEO))

    assert views(store, 5, 6) == [3, 3]


def test_a_deleted_tweets_views_stay_with_the_video(store):
    register(store, (5, VIDEO), (6, VIDEO))
    view(store, 5, 3)
    store.delete_tweet(5)
    view(store, 5, 4)

    assert views(store, 6) == [7]


def test_undone_views_are_shared_too(store):
    register(store, (5, VIDEO), (6, VIDEO))
    view(store, 5, 3)
    view(store, 6, -1)

    assert views(store, 5, 6) == [2, 2]


def test_several_batches_of_one_commit(store):
    register(store, (5, VIDEO), (6, VIDEO))
    rows = [[(tweet_id, index, {"video_views": 1})] for tweet_id in (5, 6) for index in range(3)]
    store.apply_batches([make_batch(row, key=b"%d" % index) for index, row in enumerate(rows)])
    store.apply_batches([make_batch(row, key=b"%d" % index) for index, row in enumerate(rows)])

    assert views(store, 5, 6) == [6, 6]


def test_250_tweets_of_one_video(store):
    register(store, *((tweet_id, VIDEO) for tweet_id in range(1, 251)))
    store.apply_batches(
        [make_batch([(tweet_id, 1, {"video_views": tweet_id}) for tweet_id in range(1, 251)])]
    )

    assert set(views(store, *range(250, 0, -1))) == {250 * 251 // 2}
