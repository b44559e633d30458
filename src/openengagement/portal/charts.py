"""Charts of some Tweets of an author's: the last 28 hours, or up to 28 days, by metric."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.responses import Response

from openengagement.errors import ApiError
from openengagement.portal.asking import Asker
from openengagement.portal.desk import Desk
from openengagement.portal.rendering import redirect
from openengagement.portal.series import (
    LABELS,
    RATE,
    TIMED_TYPES,
    Chart,
    Question,
    build_request,
    day_of,
    read_question,
    shape_chart,
    show_number,
    write_csv,
)
from openengagement.portal.sign_in import to_sign_in
from openengagement.portal.visits import Visit
from openengagement.stores.contract import TweetStore

_PATH: Final = "/explore/compare"
_SCRIPTS: Final = ("page.js", "vendor/uPlot.iife.min.js", "explore.js")


class Charts:
    """Handlers of `/explore/compare`."""

    def __init__(
        self, desk: Desk, asker: Asker, *, tweets: TweetStore, now_s: Callable[[], float]
    ) -> None:
        self._desk = desk
        self._asker = asker
        self._tweets = tweets
        self._now_s = now_s

    def show(self, visit: Visit) -> Response:
        """`GET /explore/compare`."""
        if visit.session is None:
            return to_sign_in(visit)
        question = read_question(visit.pairs)
        if not question.tweet_ids:
            return redirect("/explore?pick=none")
        try:
            chart = self._ask(question, visit.session.account_id)
        except ApiError as error:
            return self._refuse(visit, question, error=error)
        request = build_request(question, today=self._today())
        context = {
            "scripts": _SCRIPTS,
            "error": None,
            "chart": chart,
            "rows": _rows(chart),
            "total": show_number(chart.total),
            "window_s": [chart.window_start_s, chart.window_end_s],
            "ranking": self._rank(chart),
            "csv": f"{_PATH}.csv?{urlencode(question.parameters())}",
            "request": self._asker.show(question.endpoint, request, origin=visit.origin),
        }
        return self._desk.page(visit, "explore_compare", context=self._controls(question) | context)

    def export(self, visit: Visit) -> Response:
        """`GET /explore/compare.csv`: the figures of the chart at the same query."""
        if visit.session is None:
            return to_sign_in(visit)
        question = read_question(visit.pairs)
        if not question.tweet_ids:
            return redirect("/explore")
        try:
            chart = self._ask(question, visit.session.account_id)
        except ApiError as error:
            return self._refuse(visit, question, error=error)
        name = f"{question.metric}-{chart.times[0][:10]}-{chart.times[-1][:10]}.csv"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(write_csv(question, chart), media_type="text/csv", headers=headers)

    def _ask(self, question: Question, account_id: int) -> Chart:
        request = build_request(question, today=self._today())
        answer = self._asker.ask(question.endpoint, request, account_id=account_id)
        return shape_chart(question, answer)

    def _refuse(self, visit: Visit, question: Question, *, error: ApiError) -> Response:
        """The same page with what the API says instead of a chart, and all that was asked."""
        protected = visit.session and self._asker.is_protected(visit.session.account_id)
        context = {"scripts": (), "error": list(error.texts), "protected": protected}
        return self._desk.page(
            visit,
            "explore_compare",
            context=self._controls(question) | context,
            status=error.status,
        )

    def _controls(self, question: Question) -> dict[str, Any]:
        """What stands in the form, and where its short cuts lead."""
        today = self._today()
        spans = {"Last 28 hours": None, "7 days": 6, "28 days": 27}
        tabs = []
        for title, days in spans.items():
            since = (today - timedelta(days)).isoformat() if days else ""
            until = today.isoformat() if days else ""
            query = urlencode(question.parameters(start=since, end=until, by="day" if days else ""))
            here = (question.start, question.end) == (since, until)
            tabs.append({"title": title, "href": f"{_PATH}?{query}", "here": here})
        count = len(question.tweet_ids)
        return {
            "title": f"{question.label} of {count} Tweet{'s' if count > 1 else ''}",
            "question": question,
            "tabs": tabs,
            "metrics": {name: LABELS[name] for name in (*TIMED_TYPES, RATE)},
            "today": today.isoformat(),
            "choose": f"/explore?{urlencode({'tweet_ids': ','.join(question.tweet_ids)})}",
        }

    def _rank(self, chart: Chart) -> list[dict[str, Any]]:
        """The chart's Tweets by what they reached in its window."""
        tweets = self._tweets.read_tweets([int(rank.tweet_id) for rank in chart.ranking])
        most = max((rank.value or 0 for rank in chart.ranking), default=0)
        return [
            {
                "tweet_id": rank.tweet_id,
                "posted_at_s": tweets[int(rank.tweet_id)].created_at_s,
                "value": show_number(rank.value),
                "share": max(0, rank.value or 0) / most if most > 0 else 0,
            }
            for rank in chart.ranking
        ]

    def _today(self) -> date:
        return day_of(self._now_s())


def _rows(chart: Chart) -> list[tuple[str, Markup]]:
    """The table's rows: a time, and the cells of its numbers.

    Joined here, because a template takes three times as long for 25 Tweets over 672 hours. Digits
    and their marks are all that is in them: nothing to escape.
    """
    return [
        (time, Markup("<td>" + "</td><td>".join(map(show_number, row)) + "</td>"))  # noqa: S704
        for time, row in zip(chart.times, chart.rows, strict=True)
    ]
