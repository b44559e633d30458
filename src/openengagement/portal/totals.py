"""The table of an author's Tweets: the API request behind it, and its figures. Pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from openengagement.engagement.request import TWEET_IDS_MAX
from openengagement.engagement.types import Endpoint, Tweet, parse_decimal
from openengagement.http.forms import given_once
from openengagement.language.current import gettext as _
from openengagement.portal.series import (
    LABELS,
    RATE,
    RATE_OF,
    TIMED_TYPES,
    TOTALS_TYPES,
    Number,
    rate_of,
    read_tweet_ids,
)

TWEETS_PER_REQUEST: Final = TWEET_IDS_MAX[Endpoint.TOTALS]
PICKED_MAX: Final = TWEET_IDS_MAX[Endpoint.HISTORICAL]
ROWS_A_PAGE: Final = 50
SEARCH_LENGTH_MAX: Final = 128  # characters
POSTED: Final = "posted"
METRICS: Final = (*TOTALS_TYPES, RATE)  # of counts since posting
PERIOD_METRICS: Final = (*TIMED_TYPES, RATE)
_PERIOD: Final = ("period", "first", "last", "zone")
# Array of the answer -> the metrics for which the Tweets in that array are too old.
_TOO_OLD: Final = {
    "unsupported_for_impressions_engagements_tweet_ids": RATE_OF,
    "unsupported_for_video_views_tweet_ids": ("video_views",),
}
_PAGE_MAX: Final = 99_999_999
# The form of the list sends `sort_by` with every button.
_BUTTONS: Final = frozenset({"resort", "apply", "show", "sort_by"})

Figures = Mapping[str, Number]


@dataclass(frozen=True, slots=True)
class TableView:
    """How the table is shown, as read from the URL. `page` counts from 1.

    `period` holds the parameters of the period, without `period` if counts are those since posting.
    """

    sort: str
    ascending: bool
    page: int
    picked: tuple[str, ...]
    search: str = ""
    period: Mapping[str, str] = field(default_factory=dict)
    pick_all: bool = False

    @property
    def metrics(self) -> Sequence[str]:
        """The metrics of the table: some have no hours, others are not served since posting."""
        return PERIOD_METRICS if "period" in self.period else METRICS

    @property
    def by_time(self) -> bool:
        return self.sort == POSTED

    def parameters(self, **changes: str) -> dict[str, str]:
        """Return the parameters of this view's URL. A change to empty text removes a parameter."""
        parameters = {
            "sort": self.sort,
            "order": "ascending" if self.ascending else "",
            "q": self.search,
            "tweet_ids": ",".join(self.picked),
            **self.period,
        }
        return {name: value for name, value in (parameters | changes).items() if value}

    def picking(self, tweet_ids: Iterable[str]) -> "TableView":
        """Return the view with the first of these Tweets picked, as many as a chart shows."""
        return replace(self, picked=tuple(islice(tweet_ids, PICKED_MAX)))

    def heading(self, name: str) -> dict[str, Any]:
        """Describe a sortable column: its label, its order, and the value that sorts by it."""
        current = name == self.sort
        order = "ascending" if current and not self.ascending else ""
        direction = ("ascending" if self.ascending else "descending") if current else None
        return {
            "name": name,
            "label": LABELS.get(name) or _("Posted"),
            "sorted": direction,
            "resort": f"{name} {order}".strip(),
        }


def read_view(pairs: Iterable[tuple[str, str]]) -> TableView:
    """Read a view from the pairs of a URL's query. Invalid values count as not given."""
    pairs = list(pairs)
    given = given_once(pairs)
    sort, order = _read_order(given)
    period = {name: given[name][:40] for name in _PERIOD if given.get(name)}
    metrics = PERIOD_METRICS if "period" in period else METRICS
    return TableView(
        sort if sort in metrics else POSTED,
        ascending=order == "ascending",
        page=parse_decimal(given.get("page", ""), maximum=_PAGE_MAX) or 1,
        picked=read_tweet_ids(pairs)[:PICKED_MAX],
        search="" if "show" in given else " ".join(given.get("q", "").split())[:SEARCH_LENGTH_MAX],
        period=period,
        pick_all=given.get("pick") == "all",
    )


def has_pressed_button(pairs: Iterable[tuple[str, str]]) -> bool:
    """Tell whether a button of the list sent this query. The view then has a shorter one."""
    return any(name in _BUTTONS for name, _ in pairs)


def _read_order(given: Mapping[str, str]) -> tuple[str, str]:
    """Return what the list is sorted by, and in which order: of the pressed button, or as before.

    Every button of the list sends the whole form, with the picked Tweets. `resort` is the button of
    a column, `apply` that of the field `sort_by`.
    """
    if "resort" in given:
        sort, _, order = given["resort"].partition(" ")
        return sort, order
    if "apply" in given:
        return given.get("sort_by", ""), ""
    return given.get("sort", ""), given.get("order", "")


def build_request(tweet_ids: Sequence[str]) -> dict[str, Any]:
    """Build the API request for the totals of at most `TWEETS_PER_REQUEST` Tweets."""
    return {
        "tweet_ids": list(tweet_ids),
        "engagement_types": list(TOTALS_TYPES),
        "groupings": {"tweets": {"group_by": ["tweet.id", "engagement.type"]}},
    }


def shape_figures(answer: Mapping[str, Any]) -> Mapping[str, Figures]:
    """Map Tweets to their figures from the API's answer; None where a Tweet is too old."""
    figures: dict[str, dict[str, Number]] = {
        tweet_id: {name: int(counts[name]) for name in TOTALS_TYPES}
        for tweet_id, counts in answer["tweets"].items()
    }
    for array, names in _TOO_OLD.items():
        for tweet_id in answer.get(array, ()):
            figures[tweet_id].update(dict.fromkeys(names))
    for counts in figures.values():
        counts[RATE] = rate_of(*(counts[name] for name in RATE_OF))
    return figures


def paginate(tweets: Sequence[Tweet], page: int) -> tuple[Sequence[Tweet], int, int]:
    """Return the Tweets of a page, the number of that page and the number of pages."""
    pages = max(1, -(-len(tweets) // ROWS_A_PAGE))
    page = min(max(page, 1), pages)
    return tweets[(page - 1) * ROWS_A_PAGE : page * ROWS_A_PAGE], page, pages
