"""What a pass changes in the target."""

import polars as pl
import pytest

from openengagement.engagement.tweets import TWEET_SCHEMA
from openengagement.moving.passes import compare_tweets
from openengagement.moving.tally import Pace, Tally

A = (1, 7, 100, "clip", False, "text", "url", "")
B = (2, 8, 200, None, True, "", "", "")


def tweets(*rows):
    return pl.DataFrame(list(rows), schema=TWEET_SCHEMA, orient="row")


def compare(wanted, present):
    forgotten, changed = compare_tweets(tweets(*wanted), tweets(*present))
    return forgotten.get_column("id").to_list(), changed.rows()


def test_equal_tweets():
    assert compare([A, B], [A, B]) == ([], [])


def test_new_tweets_have_no_content_to_store_if_it_is_empty():
    kept = (*A[:7], None)
    assert compare([A, B], []) == ([], [kept, (*B[:5], None, None, None)])


@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_a_changed_column(place):
    values = {1: 9, 2: 5, 3: "film", 4: True}
    changed = (*A[:place], values[place], *A[place + 1 :])
    assert compare([changed], [A]) == ([], [(*changed[:5], None, None, None)])


def test_changed_content():
    changed = (*A[:5], "new", "url", "picture")
    assert compare([changed], [A]) == ([], [(*A[:5], "new", None, "picture")])
    removed = (*A[:5], "", "", "")
    assert compare([removed], [A]) == ([], [(*A[:5], "", "", None)])


def test_tweets_that_are_gone_are_forgotten():
    assert compare([B], [A, B]) == ([1], [])


def test_a_tweet_without_its_video_is_forgotten_and_registered_again():
    without = (*A[:3], None, *A[4:])
    assert compare([without], [A]) == ([1], [(*without[:7], None)])


def test_no_tweets():
    assert compare([], []) == ([], [])


def test_a_tally_names_the_first_tweets():
    tally = Tally()
    tally.add("tweets", compared=3, differing=0)
    tally.add("counters", compared=30, differing=12, tweet_ids=range(1, 13))
    tally.add("counters", compared=30, differing=1, tweet_ids=[1])
    assert tally.describe() == "13 counters (Tweets 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)"
    assert tally.compared == {"tweets": 3, "counters": 60}


def test_a_pace_waits_for_the_rows_before(monkeypatch):
    now_s, slept = [10.0], []

    def sleep(seconds):
        slept.append(seconds)
        now_s[0] += seconds

    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    monkeypatch.setattr("time.sleep", sleep)
    pace = Pace(100)
    pace.wait(50)
    now_s[0] += 0.1  # the work itself
    pace.wait(50)
    pace.wait(0)
    assert slept == [0.5, 0.5, 0.0]
    Pace(0).wait(1000)
    assert len(slept) == 3
