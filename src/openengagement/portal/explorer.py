"""My Tweets: an author's own, with their totals, to sort and to pick from."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from openengagement.engagement.types import Endpoint, Tweet
from openengagement.errors import ApiError
from openengagement.portal.asking import Asker
from openengagement.portal.desk import Desk, Refusal
from openengagement.portal.sign_in import to_sign_in
from openengagement.portal.totals import (
    AT_ONCE,
    METRICS,
    PICKED_MAX,
    POSTED,
    Figures,
    build_request,
    read_view,
    shape_figures,
    sort_tweets,
    turn_to,
)
from openengagement.portal.visits import Visit
from openengagement.stores.contract import TweetStore

LISTED_MAX: Final = 2000


class Explorer:
    """Handlers of `/explore`."""

    def __init__(self, desk: Desk, asker: Asker, *, tweets: TweetStore) -> None:
        self._desk = desk
        self._asker = asker
        self._tweets = tweets

    def show(self, visit: Visit) -> Response:
        """`GET /explore`."""
        if visit.session is None:
            return to_sign_in(visit)
        author_id = visit.session.account_id
        context: dict[str, Any] = {
            "title": "My Tweets",
            "scripts": ("page.js", "explore.js"),
            "picked_none": ("pick", "none") in visit.pairs,
        }
        if self._asker.is_protected(author_id):
            return self._desk.page(visit, "explore", context=context | {"state": "protected"})
        tweets = self._tweets.list_tweets(author_id, limit=LISTED_MAX + 1)
        if not tweets:
            return self._desk.page(visit, "explore", context=context | {"state": "empty"})
        try:
            table = self._lay_out(visit, tweets[:LISTED_MAX], author_id=author_id)
        except ApiError as error:
            why = Refusal(error.status, "Your Tweets cannot be shown now", ". ".join(error.texts))
            return self._desk.refuse(visit, why)
        more = {"state": "table", "listed_max": LISTED_MAX if len(tweets) > LISTED_MAX else None}
        return self._desk.page(visit, "explore", context=context | more | table)

    def _lay_out(self, visit: Visit, tweets: Sequence[Tweet], *, author_id: int) -> dict[str, Any]:
        """What the table holds.

        Raises:
            ApiError: as the API refuses its question.
        """
        view = read_view(visit.pairs)
        figures: dict[str, Figures] = {}
        if not view.by_time:
            figures = self._read_figures(tweets, author_id=author_id)
            tweets = [each for each in tweets if str(each.tweet_id) in figures]
        every = sort_tweets(tweets, view, figures=figures)
        shown, page, pages = turn_to(every, view.page)
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
            "picked_elsewhere": [each for each in view.picked if each not in here],
            "picked_max": PICKED_MAX,
            "sort": view.parameters(tweet_ids=""),
            "page": page,
            "pages": pages,
            "has_dashes": any(None in row["figures"].values() for row in rows),
            "request": self._asker.show(
                Endpoint.TOTALS,
                build_request([row["tweet_id"] for row in rows]),
                origin=visit.origin,
            ),
        }

    def _read_figures(self, tweets: Sequence[Tweet], *, author_id: int) -> dict[str, Figures]:
        """Each Tweet's totals; one that has become unavailable meanwhile has none."""
        ids = [str(tweet.tweet_id) for tweet in tweets]
        figures: dict[str, Figures] = {}
        for first in range(0, len(ids), AT_ONCE):
            request = build_request(ids[first : first + AT_ONCE])
            answer = self._asker.ask(Endpoint.TOTALS, request, account_id=author_id)
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
