"""My Tweets: an author's own Tweets with their figures, to sort and to pick for a chart."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from openengagement.engagement.types import Endpoint, Tweet, format_time
from openengagement.errors import ApiError
from openengagement.language.current import gettext as _
from openengagement.portal.account_figures import TWEETS_MAX, AccountFigures
from openengagement.portal.api_figures import ApiFigures
from openengagement.portal.csv_files import csv_response
from openengagement.portal.figure_faults import NOT_NOW
from openengagement.portal.page_request import PageRequest
from openengagement.portal.periods import CUSTOM, Period, list_periods, read_period
from openengagement.portal.rendering import PageRenderer, Refusal, redirect
from openengagement.portal.series import LABELS
from openengagement.portal.totals import (
    PICKED_MAX,
    POSTED,
    Figures,
    TableView,
    build_request,
    has_pressed_button,
    paginate,
    read_view,
    shape_figures,
)
from openengagement.portal.tweet_sums import TweetSums
from openengagement.portal.tweet_views import TweetView, TweetViews
from openengagement.portal.zones import describe_other, read_zone
from openengagement.stores.contract import TweetStore

PATH: Final = "/explore"


class Explorer:
    """Handlers of `/explore`.

    `figures` answers as the API does, for the Tweets of a page. `account_figures` reads the sums of
    all Tweets, to sort them.
    """

    def __init__(
        self,
        renderer: PageRenderer,
        figures: ApiFigures,
        *,
        account_figures: AccountFigures,
        views: TweetViews,
    ) -> None:
        self._renderer = renderer
        self._figures = figures
        self._account_figures = account_figures
        self._views = views

    def show(self, request: PageRequest) -> Response:
        """`GET /explore`."""
        author_id, view = request.author_id, read_view(request.query_pairs)
        if has_pressed_button(request.query_pairs):
            changes = {"page": str(view.page)} if view.page > 1 else {}
            changes |= {"pick": "all"} if view.pick_all else {}
            return redirect(f"{request.base}{PATH}?{urlencode(view.parameters(**changes))}")
        period = self._read_period(request, view)
        context: dict[str, Any] = {
            "title": request.titled(_("My {tweets}"), _("{Tweets}")),
            "scripts": ("page.js", "explore.js"),
            "pictures": True,
            "picked_none": ("pick", "none") in request.query_pairs,
            **_controls(request, view, period=period),
        }
        if self._figures.is_protected(author_id):
            return self._render(request, context | {"state": "protected"})
        tweets, more = self._account_figures.list(author_id)
        if not tweets:
            return self._render(request, context | {"state": "empty"})
        try:
            table = self._build_table(request, tweets, view=view, period=period)
        except (ApiError, OverflowError) as error:
            return self._refuse(request, error)
        listed_max = TWEETS_MAX if more else None
        return self._render(request, context | {"state": "table", "listed_max": listed_max} | table)

    def export(self, request: PageRequest) -> Response:
        """`GET /explore/tweets.csv`: every listed Tweet as a file, in the order of the table."""
        author_id, view = request.author_id, read_view(request.query_pairs)
        period = self._read_period(request, view)
        tweets: Sequence[Tweet] = []
        if not self._figures.is_protected(author_id):
            tweets = self._views.search(self._account_figures.list(author_id)[0], view.search)
        try:
            sums = self._account_figures.read_tweets(tweets, period)
        except (ApiError, OverflowError) as error:
            return self._refuse(request, error)
        order = _order(tweets, view, sums=sums)
        columns = [sums.values(name) for name in view.metrics]
        described = self._views.describe([tweets[at] for at in order])
        named = (_("posted"), _("text"), _("link"), _("{Tweet} ID"))
        header = [*named, *(LABELS[name] for name in view.metrics)]
        figures = ([column[at] for column in columns] for at in order)
        name = request.file_name("tweets.csv")
        return csv_response(name, header, rows=_lines(described, figures))

    def _read_period(self, request: PageRequest, view: TableView) -> Period | None:
        """Read the period, None for the counts since posting."""
        if "period" not in view.period:
            return None
        figures, zone = self._account_figures, read_zone(request.query, request.cookies)
        return read_period(view.period, now_s=figures.now_s(), floor_s=figures.floor_s, zone=zone)

    def _render(self, request: PageRequest, context: Mapping[str, Any]) -> Response:
        period = context["period"]
        status = 400 if period and period.faults else 200
        return self._renderer.render(request, "explore", context=context, status=status)

    def _refuse(self, request: PageRequest, error: ApiError | OverflowError) -> Response:
        heading = _("The {tweets} cannot be shown now")
        if isinstance(error, OverflowError):
            text = _("A sum is too large for this server.")
            return self._renderer.refuse(request, Refusal(500, heading, text))
        refusal = Refusal(error.status, heading, NOT_NOW)
        return self._renderer.refuse(request, refusal)

    def _build_table(
        self,
        request: PageRequest,
        tweets: Sequence[Tweet],
        *,
        view: TableView,
        period: Period | None,
    ) -> dict[str, Any]:
        """Build the template's context for one page of the table.

        Raises:
            ApiError: as the API refuses the request for the figures.
            OverflowError: a sum might be too large.
        """
        tweets = self._views.search(tweets, view.search)
        sums = None if view.by_time else self._account_figures.read_tweets(tweets, period)
        every = [tweets[at] for at in _order(tweets, view, sums=sums)]
        if view.pick_all:
            view = view.picking(str(tweet.tweet_id) for tweet in every)
        shown, page, pages = paginate(every, view.page)
        figures = self._read_figures(shown, view, period=period, author_id=request.author_id)
        rows = [
            {"tweet": tweet, "figures": figures[tweet_id]}
            for tweet_id, tweet in self._views.describe(shown).items()
            if tweet_id in figures
        ]
        return self._describe_table(request, rows, view=view) | {
            "tweets": len(every),
            "page": page,
            "pages": pages,
            **_controls(request, view, period=period),  # with what was picked
        }

    def _describe_table(
        self, request: PageRequest, rows: Sequence[dict[str, Any]], *, view: TableView
    ) -> dict[str, Any]:
        here = [row["tweet"].tweet_id for row in rows]
        body = build_request(here)
        totals = self._figures.describe_request(Endpoint.TOTALS, body, origin=request.origin)
        return {
            "columns": [view.heading(name) for name in view.metrics],
            "posted": view.heading(POSTED),
            "rows": rows,
            "picked": view.picked,
            "picked_all": view.pick_all,
            "picked_elsewhere": [picked for picked in view.picked if picked not in here],
            "picked_max": PICKED_MAX,
            "sort": view.parameters(tweet_ids=""),
            "csv": f"{request.base}/explore/tweets.csv?{urlencode(view.parameters(tweet_ids=''))}",
            "clear": f"{request.base}{PATH}?{urlencode(view.parameters(tweet_ids=''))}",
            "q": view.search,
            "show_all": f"{request.base}{PATH}?{urlencode(view.parameters(q=''))}",
            "has_dashes": any(None in row["figures"].values() for row in rows),
            "request": None if "period" in view.period else totals,
        }

    def _read_figures(
        self, tweets: Sequence[Tweet], view: TableView, *, period: Period | None, author_id: int
    ) -> Mapping[str, Figures]:
        """Map the Tweets of a page to their figures.

        Counts since posting are the API's answer to one request, which the page shows. A Tweet that
        became unavailable meanwhile is missing.
        """
        ids = [str(tweet.tweet_id) for tweet in tweets]
        if not ids:
            return {}
        if period is None:
            body = build_request(ids)
            return shape_figures(self._figures.read(Endpoint.TOTALS, body, account_id=author_id))
        sums = self._account_figures.read_tweets(tweets, period)
        columns = {name: sums.values(name) for name in view.metrics}
        return {
            tweet_id: {name: values[at] for name, values in columns.items()}
            for at, tweet_id in enumerate(ids)
        }


def newest_tweet(tweets: TweetStore, author_id: int) -> int | None:
    """Return the id of an author's newest Tweet; None if there is none."""
    newest = tweets.list_tweets(author_id, limit=1)
    return newest[0].tweet_id if newest else None


def _order(tweets: Sequence[Tweet], view: TableView, *, sums: TweetSums | None) -> Sequence[int]:
    """Return the indexes of Tweets, given newest first, in the order of the view."""
    if view.by_time or sums is None:
        return range(len(tweets))[:: -1 if view.ascending else 1]
    return sums.order(view.sort, ascending=view.ascending)


def _lines(
    described: Mapping[str, TweetView], figures: Iterator[Sequence[Any]]
) -> Iterator[list[object]]:
    """Yield the row of each Tweet in a file. Spreadsheets keep only 15 digits of a bare id."""
    for (tweet_id, tweet), numbers in zip(described.items(), figures, strict=True):
        yield [
            *(
                format_time(tweet.posted_at_s),
                tweet.text,
                tweet.url,
                _("{Tweet} %(id)s", id=tweet_id),
            ),
            *(float(f"{each:.6g}") if isinstance(each, float) else each for each in numbers),
        ]


def _controls(request: PageRequest, view: TableView, *, period: Period | None) -> dict[str, Any]:
    """Build the context of the switch between periods. Links keep order, search and picks."""
    path, zone = request.base + PATH, read_zone(request.query, request.cookies)
    kept = view.parameters(period="", first="", last="")
    ever = {"label": _("Since posting"), "href": f"{path}?{urlencode(kept)}", "current": not period}
    name = period.name if period else ""
    given = view.parameters()
    return {
        "period": period,
        "periods": [ever, *list_periods(name, path=path, kept=kept)],
        "is_custom": name == CUSTOM,
        "kept": kept,
        "zone": zone,
        "other_zone": describe_other(zone, given, path=path),
    }
