"""My Tweets: an author's own Tweets with their totals, to sort and to pick for a chart."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from openengagement.engagement.types import Endpoint, Tweet, format_time
from openengagement.errors import ApiError
from openengagement.language.current import gettext as _
from openengagement.portal.api_figures import ApiFigures
from openengagement.portal.csv_files import csv_response
from openengagement.portal.figure_faults import NOT_NOW
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer, Refusal, redirect
from openengagement.portal.series import LABELS
from openengagement.portal.totals import (
    METRICS,
    PICKED_MAX,
    POSTED,
    TWEETS_PER_REQUEST,
    Figures,
    TableView,
    build_request,
    has_pressed_button,
    paginate,
    read_view,
    shape_figures,
    sort_tweets,
)
from openengagement.portal.tweet_views import TweetView, TweetViews
from openengagement.stores.contract import TweetStore

LISTED_MAX: Final = 20_000


class Explorer:
    """Handlers of `/explore`."""

    def __init__(
        self,
        renderer: PageRenderer,
        figures: ApiFigures,
        *,
        tweets: TweetStore,
        views: TweetViews,
    ) -> None:
        self._renderer = renderer
        self._figures = figures
        self._tweets = tweets
        self._views = views

    def show(self, request: PageRequest) -> Response:
        """`GET /explore`."""
        if has_pressed_button(request.query_pairs):
            view = read_view(request.query_pairs)
            page = {"page": str(view.page)} if view.page > 1 else {}
            return redirect(f"{request.base}/explore?{urlencode(view.parameters(**page))}")
        author_id = request.author_id
        context: dict[str, Any] = {
            "title": request.titled(_("My {tweets}"), _("{Tweets}")),
            "scripts": ("page.js", "explore.js"),
            "pictures": True,
            "picked_none": ("pick", "none") in request.query_pairs,
        }
        if self._figures.is_protected(author_id):
            return self._renderer.render(
                request, "explore", context=context | {"state": "protected"}
            )
        tweets = self._tweets.list_tweets(author_id, limit=LISTED_MAX + 1)
        if not tweets:
            return self._renderer.render(request, "explore", context=context | {"state": "empty"})
        try:
            table = self._build_table(request, tweets[:LISTED_MAX], author_id=author_id)
        except ApiError as error:
            return self._refuse(request, error)
        more = {"state": "table", "listed_max": LISTED_MAX if len(tweets) > LISTED_MAX else None}
        return self._renderer.render(request, "explore", context=context | more | table)

    def export(self, request: PageRequest) -> Response:
        """`GET /explore/tweets.csv`: every listed Tweet as a file, in the order of the table."""
        author_id, view = request.author_id, read_view(request.query_pairs)
        tweets: Sequence[Tweet] = []
        if not self._figures.is_protected(author_id):
            tweets = self._tweets.list_tweets(author_id, limit=LISTED_MAX)
            tweets = self._views.search(tweets, view.search)
        try:
            figures = self._read_figures(tweets, author_id=author_id)
        except ApiError as error:
            return self._refuse(request, error)
        shown = _sort_known(tweets, view, figures=figures)
        columns = (_("posted"), _("text"), _("link"), _("{Tweet} ID"))
        header = [*columns, *(LABELS[name] for name in METRICS)]
        cells = _cells(self._views.describe(shown), figures)
        return csv_response(request.file_name("tweets.csv"), header, rows=cells)

    def _refuse(self, request: PageRequest, error: ApiError) -> Response:
        heading = _("The {tweets} cannot be shown now")
        refusal = Refusal(error.status, heading, NOT_NOW)
        return self._renderer.refuse(request, refusal)

    def _build_table(
        self, request: PageRequest, tweets: Sequence[Tweet], *, author_id: int
    ) -> dict[str, Any]:
        """Build the template's context for one page of the table.

        Raises:
            ApiError: as the API refuses the request for the figures.
        """
        view = read_view(request.query_pairs)
        tweets = self._views.search(tweets, view.search)
        figures: dict[str, Figures] = {}
        if not view.by_time:
            figures = self._read_figures(tweets, author_id=author_id)
            every = _sort_known(tweets, view, figures=figures)
        else:
            every = sort_tweets(tweets, view, figures={})
        shown, page, pages = paginate(every, view.page)
        if view.by_time:
            figures = self._read_figures(shown, author_id=author_id)
        described = self._views.describe(shown)
        rows: list[dict[str, Any]] = [
            {"tweet": tweet, "figures": figures[tweet_id]}
            for tweet_id, tweet in described.items()
            if tweet_id in figures
        ]
        here = [row["tweet"].tweet_id for row in rows]
        return {
            "tweets": len(every),
            "q": view.search,
            "columns": [view.heading(name) for name in METRICS],
            "posted": view.heading(POSTED),
            "rows": rows,
            "picked": view.picked,
            "picked_elsewhere": [picked for picked in view.picked if picked not in here],
            "picked_max": PICKED_MAX,
            "sort": view.parameters(tweet_ids=""),
            "csv": f"{request.base}/explore/tweets.csv?{urlencode(view.parameters(tweet_ids=''))}",
            "page": page,
            "pages": pages,
            "has_dashes": any(None in row["figures"].values() for row in rows),
            "request": self._figures.describe_request(
                Endpoint.TOTALS,
                build_request(here),
                origin=request.origin,
            ),
        }

    def _read_figures(self, tweets: Sequence[Tweet], *, author_id: int) -> dict[str, Figures]:
        """Map Tweets to their totals. A Tweet that became unavailable meanwhile is missing."""
        ids = [str(tweet.tweet_id) for tweet in tweets]
        figures: dict[str, Figures] = {}
        for first in range(0, len(ids), TWEETS_PER_REQUEST):
            request = build_request(ids[first : first + TWEETS_PER_REQUEST])
            answer = self._figures.read(Endpoint.TOTALS, request, account_id=author_id)
            figures |= shape_figures(answer)
        return figures


def newest_tweet(tweets: TweetStore, author_id: int) -> int | None:
    """Return the id of an author's newest Tweet; None if there is none."""
    newest = tweets.list_tweets(author_id, limit=1)
    return newest[0].tweet_id if newest else None


def _sort_known(
    tweets: Sequence[Tweet], view: TableView, *, figures: Mapping[str, Figures]
) -> list[Tweet]:
    """Sort the Tweets that have figures. One that became unavailable meanwhile has none."""
    known = [tweet for tweet in tweets if str(tweet.tweet_id) in figures]
    return sort_tweets(known, view, figures=figures)


def _cells(
    described: Mapping[str, TweetView], figures: Mapping[str, Figures]
) -> Iterator[list[object]]:
    """Yield the row of each Tweet in a file. Spreadsheets keep only 15 digits of a bare id."""
    for tweet_id, tweet in described.items():
        numbers = [figures[tweet_id][name] for name in METRICS]
        yield [
            *(
                format_time(tweet.posted_at_s),
                tweet.text,
                tweet.url,
                _("{Tweet} %(id)s", id=tweet_id),
            ),
            *(float(f"{each:.6g}") if isinstance(each, float) else each for each in numbers),
        ]
