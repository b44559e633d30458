"""The table of an author's Tweets: a question for the API, and the shape of its answers. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from openengagement.engagement.request import TWEET_IDS_MAX
from openengagement.engagement.types import Endpoint, Tweet, parse_decimal
from openengagement.portal.series import (
    LABELS,
    RATE,
    RATE_OF,
    TOTALS_TYPES,
    Number,
    rate_of,
    read_tweet_ids,
    sort_by,
)

AT_ONCE: Final = TWEET_IDS_MAX[Endpoint.TOTALS]
PICKED_MAX: Final = TWEET_IDS_MAX[Endpoint.HISTORICAL]
ROWS_A_PAGE: Final = 50
POSTED: Final = "posted"
METRICS: Final = (*TOTALS_TYPES, RATE)
# Which figures each of the answer's arrays says are not kept for a Tweet so old.
_TOO_OLD: Final = {
    "unsupported_for_impressions_engagements_tweet_ids": RATE_OF,
    "unsupported_for_video_views_tweet_ids": ("video_views",),
}
_PAGE_MAX: Final = 99_999_999

Figures = Mapping[str, Number]


@dataclass(frozen=True, slots=True)
class View:
    """How the table is to be shown, as it stands in its address; `page` counts from 1."""

    sort: str
    ascending: bool
    page: int
    picked: tuple[str, ...]

    @property
    def by_time(self) -> bool:
        return self.sort == POSTED

    def parameters(self, **changes: str) -> dict[str, str]:
        """The query of its address; a change to nothing leaves a parameter out."""
        asked = {
            "sort": self.sort,
            "order": "ascending" if self.ascending else "",
            "tweet_ids": ",".join(self.picked),
        }
        return {name: value for name, value in (asked | changes).items() if value}

    def heading(self, name: str) -> dict[str, Any]:
        """A column that it can be sorted by: what it is called, where that leads, how it stands."""
        here = name == self.sort
        order = "ascending" if here and not self.ascending else ""
        stands = ("ascending" if self.ascending else "descending") if here else None
        return {
            "name": name,
            "label": LABELS.get(name, "Posted"),
            "sorted": stands,
            "parameters": self.parameters(sort=name, order=order),
        }


def read_view(pairs: Iterable[tuple[str, str]]) -> View:
    """Read an address's query; what makes no sense counts as not given."""
    every = list(pairs)
    given = dict(every)
    sort = given.get("sort", "")
    return View(
        sort if sort in METRICS else POSTED,
        ascending=given.get("order") == "ascending",
        page=parse_decimal(given.get("page", ""), maximum=_PAGE_MAX) or 1,
        picked=read_tweet_ids(every)[:PICKED_MAX],
    )


def build_request(tweet_ids: Sequence[str]) -> dict[str, Any]:
    """The API's request behind a part of the table, of at most `AT_ONCE` Tweets."""
    return {
        "tweet_ids": list(tweet_ids),
        "engagement_types": list(TOTALS_TYPES),
        "groupings": {"tweets": {"group_by": ["tweet.id", "engagement.type"]}},
    }


def shape_figures(answer: Mapping[str, Any]) -> Mapping[str, Figures]:
    """Each Tweet's figures from the API's answer; None where a Tweet is too old to have one."""
    figures: dict[str, dict[str, Number]] = {
        tweet_id: {name: int(counts[name]) for name in TOTALS_TYPES}
        for tweet_id, counts in answer["tweets"].items()
    }
    for array, names in _TOO_OLD.items():
        for tweet_id in answer.get(array, ()):
            figures[tweet_id].update(dict.fromkeys(names))
    for each in figures.values():
        engagements, impressions = (each[name] for name in RATE_OF)
        old = engagements is None or impressions is None
        each[RATE] = None if old else rate_of(int(engagements or 0), int(impressions or 0))
    return figures


def sort_tweets(
    tweets: Sequence[Tweet], view: View, *, figures: Mapping[str, Figures]
) -> list[Tweet]:
    """The Tweets, which come newest first, in the order of the view."""
    if view.by_time:
        return list(reversed(tweets)) if view.ascending else list(tweets)
    keys = [figures[str(tweet.tweet_id)][view.sort] for tweet in tweets]
    return sort_by(tweets, keys, ascending=view.ascending)


def turn_to(tweets: Sequence[Tweet], page: int) -> tuple[Sequence[Tweet], int, int]:
    """The Tweets of a page, which page it is, and how many there are."""
    pages = max(1, -(-len(tweets) // ROWS_A_PAGE))
    page = min(max(page, 1), pages)
    return tweets[(page - 1) * ROWS_A_PAGE : page * ROWS_A_PAGE], page, pages
