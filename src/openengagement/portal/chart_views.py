"""A chart as its template shows it: its form, its table and its key. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from openengagement.engagement.types import DAY_S, HOUR_S
from openengagement.language.current import gettext as _
from openengagement.portal.chart_figures import Chart
from openengagement.portal.periods import describe_until
from openengagement.portal.series import LINES_MAX, RATE, ChartQuery, format_number
from openengagement.portal.zones import Zone

LINES: Final = "lines"
AREAS: Final = "areas"
BARS: Final = "bars"
_BARS_MAX: Final = 31  # more of them would be too narrow


@dataclass(frozen=True, slots=True)
class ChartView:
    """What the template of a chart needs.

    `form` is how the script draws it. `starts` are those of its parts of time, in Unix seconds,
    empty if they follow `start_s` every `step_s`. `order` lists the columns, the largest first, of
    which `largest` are drawn, all if it is 0. `until` says until when the last part is counted,
    empty if it is over.
    """

    heading: str
    total: str
    form: str
    form_words: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Markup]]
    start_s: int
    step_s: int
    starts: str
    head: str
    caption: str
    order: str
    largest: int
    adds_up: bool
    every_line: bool
    nothing: bool
    until: str
    zone: Zone
    span: str


def describe_chart(
    query: ChartQuery, chart: Chart, *, names: Sequence[str], zone: Zone, now_s: float
) -> ChartView:
    """Describe a chart. `names` are those of its columns, and its days are those of `zone`."""
    times, form = chart.times, _form_of(query, chart)
    first, last = times.labels[0], times.labels[-1]
    return ChartView(
        heading=_heading(query),
        total=format_number(chart.total),
        form=form,
        form_words=_form_words(form, query),
        columns=names,
        rows=_rows(chart),
        start_s=times.starts_s[0],
        step_s=HOUR_S if query.hourly else DAY_S,
        starts="" if query.hourly else ",".join(map(str, times.starts_s)),
        head=_head(query, zone),
        caption=_caption(query, zone),
        order=",".join(map(str, _order(chart))),
        largest=LINES_MAX - 1 if len(chart.columns) > LINES_MAX else 0,
        adds_up=query.metric != RATE,
        every_line=query.every_line,
        nothing=not any(any(row) for row in chart.rows),
        until=describe_until(now_s, zone) if chart.is_running(now_s) else "",
        zone=zone,
        span=_("%(first)s to %(last)s (%(zone)s)", first=first, last=last, zone=zone.name),
    )


def _form_of(query: ChartQuery, chart: Chart) -> str:
    """Choose bars for few counts of one thing, or of a whole with parts."""
    is_stacked = query.stacked and query.can_stack
    few = len(chart.rows) <= _BARS_MAX and not query.cumulative and query.metric != RATE
    if few and (is_stacked or len(chart.columns) == 1):
        return BARS
    return AREAS if is_stacked else LINES


def _form_words(form: str, query: ChartQuery) -> str:
    texts = {
        LINES: _("Line chart of %(label)s", label=query.label),
        AREAS: _("Stacked areas of %(label)s", label=query.label),
        BARS: _("Bar chart of %(label)s", label=query.label),
    }
    return texts[form]


def _heading(query: ChartQuery) -> str:
    parts = (
        query.label,
        _("cumulative") if query.cumulative else "",
        _("by hour") if query.hourly else _("by day"),
    )
    return ", ".join(part for part in parts if part)


def _head(query: ChartQuery, zone: Zone) -> str:
    if query.hourly:
        return _("Hour (%(zone)s)", zone=zone.name)
    return _("Day (%(zone)s)", zone=zone.name)


def _caption(query: ChartQuery, zone: Zone) -> str:
    if query.hourly:
        return _("%(label)s by hour, in %(zone)s", label=query.label, zone=zone.name)
    return _("%(label)s by day, in %(zone)s", label=query.label, zone=zone.name)


def _order(chart: Chart) -> list[int]:
    """Return the columns of a chart, the largest first."""
    if len(chart.columns) == 1:
        return [0]
    places = {name: at for at, name in enumerate(chart.columns)}
    return [places[rank.tweet_id] for rank in chart.ranking]


def _rows(chart: Chart) -> list[tuple[str, Markup]]:
    """Build the table's rows: a time, and the HTML of its cells.

    The cells are joined here, because a template would take three times as long for 25 Tweets over
    672 hours. They hold digits and number marks only, so nothing needs escaping.
    """
    return [
        (time, Markup("<td>" + "</td><td>".join(map(format_number, row)) + "</td>"))  # noqa: S704
        for time, row in zip(chart.times.labels, chart.rows, strict=True)
    ]
