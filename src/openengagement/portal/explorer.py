"""My Tweets: an author's own Tweets with their totals, to sort and to pick for a chart."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from openengagement.engagement.types import Endpoint, Tweet
from openengagement.errors import ApiError
from openengagement.portal.api_figures import ApiFigures
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer, Refusal
from openengagement.portal.totals import (
    METRICS,
    PICKED_MAX,
    POSTED,
    TWEETS_PER_REQUEST,
    Figures,
    build_request,
    paginate,
    read_view,
    shape_figures,
    sort_tweets,
)
from openengagement.stores.contract import TweetStore

LISTED_MAX: Final = 2000


class Explorer:
    """Handlers of `/explore`."""

    def __init__(self, renderer: PageRenderer, figures: ApiFigures, *, tweets: TweetStore) -> None:
        self._renderer = renderer
        self._figures = figures
        self._tweets = tweets

    def show(self, request: PageRequest) -> Response:
        """`GET /explore`."""
        author_id = request.account_id
        context: dict[str, Any] = {
            "title": "My Tweets",
            "scripts": ("page.js", "explore.js"),
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
            refusal = Refusal(
                error.status, "Your Tweets cannot be shown now", ". ".join(error.texts)
            )
            return self._renderer.refuse(request, refusal)
        more = {"state": "table", "listed_max": LISTED_MAX if len(tweets) > LISTED_MAX else None}
        return self._renderer.render(request, "explore", context=context | more | table)

    def _build_table(
        self, request: PageRequest, tweets: Sequence[Tweet], *, author_id: int
    ) -> dict[str, Any]:
        """Build the template's context for one page of the table.

        Raises:
            ApiError: as the API refuses the request for the figures.
        """
        view = read_view(request.query_pairs)
        figures: dict[str, Figures] = {}
        if not view.by_time:
            figures = self._read_figures(tweets, author_id=author_id)
            tweets = [tweet for tweet in tweets if str(tweet.tweet_id) in figures]
        every = sort_tweets(tweets, view, figures=figures)
        shown, page, pages = paginate(every, view.page)
        if view.by_time:
            figures = self._read_figures(shown, author_id=author_id)
        rows = _rows(shown, figures)
        here = {row["tweet_id"] for row in rows}
        return {
            "tweets": len(every),
            "columns": [_heading(view.heading(name)) for name in METRICS],
            "posted": _heading(view.heading(POSTED)),
            "rows": rows,
            "picked": view.picked,
            "picked_elsewhere": [picked for picked in view.picked if picked not in here],
            "picked_max": PICKED_MAX,
            "sort": view.parameters(tweet_ids=""),
            "page": page,
            "pages": pages,
            "has_dashes": any(None in row["figures"].values() for row in rows),
            "request": self._figures.describe_request(
                Endpoint.TOTALS,
                build_request([row["tweet_id"] for row in rows]),
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


def _rows(tweets: Sequence[Tweet], figures: Mapping[str, Figures]) -> list[dict[str, Any]]:
    return [
        {
            "tweet_id": str(tweet.tweet_id),
            "posted_at_s": tweet.created_at_s,
            "figures": figures[str(tweet.tweet_id)],
        }
        for tweet in tweets
        if str(tweet.tweet_id) in figures
    ]


def _heading(heading: Mapping[str, Any]) -> dict[str, Any]:
    return {**heading, "href": f"/explore?{urlencode(heading['parameters'])}"}
