"""Video views are shared: each Tweet with a video shows the views of all Tweets with it.

An engine keeps two counts: the views of each Tweet, and the views of each video. A video's id is
text, so the store of Tweets gives each video a number, which never changes. The counters of a video
have the id `-number`, so an engine stores and merges them like those of a Tweet. A reader gets the
video's count in place of the Tweet's own (api.md 2.2). "Video" below stands for this number.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from openengagement.engagement.counters import (
    HOUR_MAX,
    TYPE_MASK,
    AnyInts,
    Counters,
    Ints,
    cells_of,
    merge,
    sum_rows,
    to_totals,
)
from openengagement.engagement.overflow import verify_sum
from openengagement.engagement.types import TYPE_NAMES

VIDEO_VIEWS: Final = TYPE_NAMES.index("video_views")
# The hours of a video's views are never read, so all views count in the last possible hour.
_CELL: Final = cells_of(np.array([HOUR_MAX]), np.array([VIDEO_VIEWS]))


def add_video_views(
    deltas: Counters, read_videos: Callable[[Sequence[int]], Mapping[int, int]]
) -> Counters:
    """Add the views of each video to the deltas of a commit.

    `read_videos` returns the video of each of these Tweets that has one. No Tweet may change its
    video until the commit ends.
    """
    views = to_totals(deltas.where((deltas.cells & TYPE_MASK) == VIDEO_VIEWS))
    if not views.rows:
        return deltas
    videos = read_videos(views.ids.tolist())
    shared = np.isin(views.ids, list(videos))
    ids = views.ids[shared].tolist()
    return merge([deltas, views_of((videos[tweet_id] for tweet_id in ids), views.counts[shared])])


def move_views(
    before: Mapping[int, int],
    after: Mapping[int, int],
    *,
    read_totals: Callable[[Sequence[int]], Ints],
) -> Counters:
    """Compute the deltas of videos when Tweets change to the videos in `after`.

    `before` holds the present video of each Tweet in `after` that has one. `read_totals` returns
    the totals of Tweets, `[tweet, type number]`, with each Tweet's own views. No Tweet may change
    its video until the commit ends.
    """
    moved = [tweet_id for tweet_id, video in after.items() if before.get(tweet_id) != video]
    leaving = [index for index, tweet_id in enumerate(moved) if tweet_id in before]
    views = read_totals(moved)[:, VIDEO_VIEWS]
    gained = views_of((after[tweet_id] for tweet_id in moved), views)
    lost = views_of((before[moved[index]] for index in leaving), -views[leaving])
    return merge([gained, lost])


def ids_to_read(tweet_ids: Sequence[int], videos: Mapping[int, int]) -> list[int]:
    """List the ids whose totals `share_views` needs: the Tweets, then their videos."""
    return [*tweet_ids, *(-videos[tweet_id] for tweet_id in tweet_ids if tweet_id in videos)]


def share_views(totals: Ints, tweet_ids: Sequence[int], *, videos: Mapping[int, int]) -> Ints:
    """Replace the views of each Tweet that has a video by the views of the video.

    `totals` is `[id, type number]` of `ids_to_read`. The result is `[tweet, type number]`.
    """
    count = len(tweet_ids)
    shared = [index for index, tweet_id in enumerate(tweet_ids) if tweet_id in videos]
    totals[shared, VIDEO_VIEWS] = totals[count:, VIDEO_VIEWS]
    return totals[:count]


def views_of(videos: Iterable[int], counts: AnyInts) -> Counters:
    """Make counters of the views of videos.

    Raises:
        OverflowError: the views of a video are too many.
    """
    verify_sum(counts)
    ids = -np.fromiter(videos, np.int64, len(counts))
    return sum_rows(ids, np.broadcast_to(_CELL, len(counts)), counts=counts.astype(np.int64))
