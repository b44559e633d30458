"""The figures of a chart: the API request behind it, and its parts of time. Pure functions.

Every figure is taken from the API's answer. Only running sums, the engagement rate, and the days of
another zone than UTC are computed here. Such days consist of whole hours in UTC, as in `periods`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate, pairwise
from typing import Any, Final

from openengagement.engagement.types import DAY_S, HOUR_S, format_time, hour_of, parse_time
from openengagement.engagement.window import WINDOW_MAX_S
from openengagement.language.current import gettext as _
from openengagement.language.current import ngettext
from openengagement.portal.periods import begun_day, first_hour
from openengagement.portal.series import RATE, ChartQuery, Number, rate_of, sort_by_number
from openengagement.portal.zones import UTC_ZONE, Zone

_ONE_DAY: Final = timedelta(days=1)
_TOO_OLD_FOR_VIEWS: Final = "unsupported_for_video_views_tweet_ids"


def fit_zone(query: ChartQuery, zone: Zone, *, now_s: float) -> Zone:
    """Return the zone of a chart's days: `zone`, or UTC if the API cannot answer for it.

    The API answers for at most 672 hours. In a zone whose clocks were set back, 28 days have 673.
    """
    try:
        first, last = (date.fromisoformat(text) for text in (query.start, query.end))
        start_s = first_hour(first, zone=zone) * HOUR_S
        end_s = min(first_hour(last + _ONE_DAY, zone=zone) * HOUR_S, now_s)
    except (ValueError, OverflowError):
        return zone
    fits_in_utc = (last - first + _ONE_DAY).total_seconds() <= WINDOW_MAX_S
    return UTC_ZONE if fits_in_utc and end_s - start_s > WINDOW_MAX_S else zone


def build_request(query: ChartQuery, *, now_s: float, zone: Zone = UTC_ZONE) -> dict[str, Any]:
    """Build the API request behind a chart. `now_s` is in Unix seconds."""
    today = zone.at(now_s).date()
    start, end = (_begun_day(text, today=today) for text in (query.start, query.end))
    by_hour = query.hourly or not zone.is_utc
    times = ["engagement.type", "engagement.day", *(["engagement.hour"] if by_hour else [])]
    request: dict[str, Any] = {
        "tweet_ids": list(query.tweet_ids),
        "engagement_types": list(query.types),
        "groupings": {
            "chart": {"group_by": ["tweet.id", *times] if query.per_tweet else times},
            "ranking": {"group_by": ["tweet.id", "engagement.type"]},
            "total": {"group_by": ["engagement.type"]},
        },
    }
    if start:
        request["start"] = _start_of(start, zone)
    if start == today.isoformat() and first_hour(today, zone=zone) > hour_of(now_s):
        # In the first minutes of a day of a zone that is half an hour off, no hour of it has begun.
        request["start"] = format_time(hour_of(now_s) * HOUR_S)
    if end and end != today.isoformat():  # the API ends at the present by default
        request["end"] = _start_of(end, zone, days=1)
    return request


def _begun_day(text: str, *, today: date) -> str:
    try:
        return begun_day(date.fromisoformat(text), today=today).isoformat()
    except ValueError:
        return text


def _start_of(text: str, zone: Zone, *, days: int = 0) -> str:
    """Return the start of a day, or of one some days later, as the API reads it.

    Text that is not a date goes to the API unchanged, which refuses it.
    """
    try:
        day = date.fromisoformat(text) + days * _ONE_DAY
        return day.isoformat() if zone.is_utc else format_time(first_hour(day, zone=zone) * HOUR_S)
    except (ValueError, OverflowError):
        return text


@dataclass(frozen=True, slots=True)
class Rank:
    """A Tweet of a chart and its total."""

    tweet_id: str
    value: Number


@dataclass(frozen=True, slots=True)
class Times:
    """The parts of time of a chart, hours or days, in order.

    `labels` are local: `2026-11-21` or `2026-11-21 09:00`. `starts_s` are in Unix seconds, and
    `end_s` is the end of the last part. Part number n has the counts from index `edges[n]` of the
    API's answer to before `edges[n + 1]`.
    """

    labels: Sequence[str]
    starts_s: Sequence[int]
    end_s: int
    edges: Sequence[int]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart's figures: one row per part of time, with one number per column.

    The window is that of the API's answer. `unavailable`, `too_old` and `foreign` are ids; a
    foreign Tweet is somebody else's.
    """

    window_start_s: float
    window_end_s: float
    times: Times
    columns: list[str]
    rows: list[tuple[Number, ...]]
    ranking: list[Rank]
    total: Number
    unavailable: list[str]
    too_old: list[str]
    foreign: list[str]

    def is_running(self, now_s: float) -> bool:
        """Whether the last part of time is not over."""
        return now_s < self.times.end_s


def shape_chart(query: ChartQuery, answer: Mapping[str, Any], *, zone: Zone = UTC_ZONE) -> Chart:
    """Build a chart from the API's answer to `build_request`."""
    too_old = set(answer.get(_TOO_OLD_FOR_VIEWS, ()))
    unavailable = list(answer.get("unavailable_tweet_ids", ()))
    trees = answer["chart"] if query.per_tweet else {"": answer["chart"]}
    times = _read_times(next(iter(trees.values()))[query.types[0]], query, zone=zone)
    columns = [
        [None] * len(times.labels) if name in too_old else _read_line(query, tree, times=times)
        for name, tree in trees.items()
    ]
    ranking = [
        Rank(tweet_id, None if tweet_id in too_old else _fold(query, counts))
        for tweet_id, counts in answer["ranking"].items()
    ]
    together = _together(len(ranking)) if len(ranking) > 1 else ranking[0].tweet_id
    return Chart(
        window_start_s=parse_time(answer["start"]),
        window_end_s=parse_time(answer["end"]),
        times=times,
        columns=[name or together for name in trees],
        rows=list(zip(*columns, strict=True)),
        ranking=sort_by_number(ranking, [rank.value for rank in ranking]),
        total=_fold(query, answer["total"]),
        unavailable=unavailable,
        too_old=sorted(too_old),
        foreign=[
            each for each in query.tweet_ids if each not in {*answer["ranking"], *unavailable}
        ],
    )


def _together(count: int) -> str:
    return ngettext("%(count)s {tweet}", "All %(count)s {tweets} together", count)


def _read_times(days: Mapping[str, Any], query: ChartQuery, *, zone: Zone) -> Times:
    if not query.hourly and zone.is_utc:
        starts = [int(parse_time(day)) for day in days]
        return Times(list(days), starts, starts[-1] + DAY_S, range(len(starts) + 1))
    day, hours = next(iter(days.items()))
    first = int(parse_time(f"{day}T{next(iter(hours))}:00:00Z"))
    count = sum(map(len, days.values()))
    starts = list(range(first, first + count * HOUR_S, HOUR_S))
    if not query.hourly:
        return _join_days(starts, zone)
    labels = [f"{zone.at(start):%Y-%m-%d %H:%M}" for start in starts]
    return Times(labels, starts, starts[-1] + HOUR_S, range(count + 1))


def _join_days(hours: Sequence[int], zone: Zone) -> Times:
    """Join hours, given by their starts, to the days of a zone."""
    days = [zone.at(start).date() for start in hours]
    edges = [at for at, day in enumerate(days) if not at or day != days[at - 1]]
    labels = [days[at].isoformat() for at in edges]
    end_s = first_hour(days[-1] + _ONE_DAY, zone=zone) * HOUR_S
    return Times(labels, [hours[at] for at in edges], end_s, [*edges, len(hours)])


def _read_line(query: ChartQuery, tree: Mapping[str, Any], *, times: Times) -> list[Number]:
    """Read the numbers of a column in the order of time."""
    lines: list[Iterable[int]] = []
    for name in query.types:
        counts = list(map(int, _leaves(tree[name])))
        sums = [sum(counts[first:end]) for first, end in pairwise(times.edges)]
        lines.append(accumulate(sums) if query.cumulative else sums)
    if query.metric == RATE:
        return [rate_of(*pair) for pair in zip(*lines, strict=True)]
    return list(lines[0])


def _leaves(days: Mapping[str, Any]) -> Iterable[str]:
    """Yield the counts of an answer by day, or by day and hour."""
    for each in days.values():
        if isinstance(each, str):
            yield each
        else:
            yield from each.values()


def _fold(query: ChartQuery, counts: Mapping[str, str]) -> Number:
    numbers = [int(counts[name]) for name in query.types]
    return rate_of(*numbers) if query.metric == RATE else numbers[0]


def chart_table(
    query: ChartQuery, chart: Chart, *, names: Sequence[str], zone: Zone = UTC_ZONE
) -> tuple[list[str], list[list[object]]]:
    """Return the header and the rows of a chart's CSV file. `names` are those of the columns.

    Hours are in UTC: a local hour comes twice when the clocks are set back.
    """
    times = chart.times
    unit = _("hour (UTC)") if query.hourly else _("day (%(zone)s)", zone=zone.name)
    labels = [f"{UTC_ZONE.at(start):%Y-%m-%d %H:%M}" for start in times.starts_s]
    rows: list[list[object]] = [
        [time, *(float(f"{value:.6g}") if isinstance(value, float) else value for value in row)]
        for time, row in zip(labels if query.hourly else times.labels, chart.rows, strict=True)
    ]
    return [unit, *(f"{query.metric}: {name}" for name in names)], rows
