"""Views of a video: against a plain count over all Tweets with it, whatever happens in between."""

import random
from collections import Counter

import numpy as np
import pytest

from openengagement.engagement.counters import add_totals, cells_of, no_counters, sum_rows
from openengagement.engagement.types import TYPE_NAMES
from openengagement.engagement.videos import (
    VIDEO_VIEWS,
    add_video_views,
    ids_to_read,
    move_views,
    share_views,
)
from support.cases import cases

REPLIES = TYPE_NAMES.index("replies")


def deltas(*rows):
    """Deltas from `(tweet_id, hour, type number, count)`."""
    ids, hours, types, counts = np.array(rows or np.zeros((0, 4)), np.int64).T
    return sum_rows(ids, cells_of(hours, types), counts=counts)


def totals(parts, ids):
    sums = np.zeros((len(ids), len(TYPE_NAMES)), np.int64)
    for part in parts:
        add_totals(sums, part, tweet_ids=np.array(ids, np.int64))
    return sums


def views(parts, ids):
    return totals(parts, ids)[:, VIDEO_VIEWS]


def read(parts, tweet_ids, videos):
    sums = totals(parts, ids_to_read(tweet_ids, videos))
    return share_views(sums, tweet_ids, videos=videos)


def test_a_commit_without_views_is_left_as_it_is():
    replies = deltas((5, 10, REPLIES, 3))
    assert (
        add_video_views(replies, lambda _: pytest.fail("no video has to be looked up")) is replies
    )
    assert add_video_views(no_counters(), lambda _: {}).rows == 0


def test_only_tweets_with_views_are_looked_up():
    asked = []
    counted = deltas((5, 10, REPLIES, 3), (6, 10, VIDEO_VIEWS, 1), (7, 11, VIDEO_VIEWS, 2))
    added = add_video_views(counted, lambda ids: asked.append(ids) or {7: 70})
    assert asked == [[6, 7]]
    assert views([added], [6, 7, -70]).tolist() == [1, 2, 2]


def test_views_replace_those_of_each_tweet_with_a_video():
    parts = [deltas((5, 1, VIDEO_VIEWS, 3), (5, 1, REPLIES, 4), (-70, 1, VIDEO_VIEWS, 9))]
    assert read(parts, [6, 5, 8], {5: 70, 6: 70})[:, [VIDEO_VIEWS, REPLIES]].tolist() == [
        [9, 0], [9, 4], [0, 0]
    ]  # fmt: skip


def test_only_changed_videos_move_views():
    counted = [deltas((5, 1, VIDEO_VIEWS, 3), (6, 1, VIDEO_VIEWS, 4), (7, 1, VIDEO_VIEWS, 5))]
    moved = move_views(
        {5: 70, 6: 70}, {5: 70, 6: 71, 7: 71}, read_totals=lambda ids: totals(counted, ids)
    )
    assert views([moved], [-70, -71, 5, 6, 7]).tolist() == [-4, 9, 0, 0, 0]


@cases("seed", range(5))
def test_random_histories(seed):
    chance = random.Random(seed)
    videos, counted, parts = {}, Counter(), []
    for _ in range(60):
        if chance.random() < 0.3:
            after = {chance.randint(1, 6): chance.randint(70, 72) for _ in range(3)}
            before = {each: videos[each] for each in after if each in videos}
            parts.append(move_views(before, after, read_totals=lambda ids: totals(parts, ids)))
            videos |= after
        else:
            rows = [
                (chance.randint(1, 6), hour, VIDEO_VIEWS, chance.randint(-3, 9)) for hour in (1, 2)
            ]
            for tweet_id, _, _, count in rows:
                counted[tweet_id] += count
            known = dict(videos)
            parts.append(
                add_video_views(
                    deltas(*rows), lambda ids, k=known: {each: k[each] for each in ids if each in k}
                )
            )
    tweet_ids = list(range(1, 8))
    expected = [
        sum(
            count
            for other, count in counted.items()
            if other == each or (each in videos and videos.get(other) == videos[each])
        )
        for each in tweet_ids
    ]
    assert read(parts, tweet_ids, videos)[:, VIDEO_VIEWS].tolist() == expected
