"""Draw the counts of a query: lines over time, or a bar for each Tweet. Needs the extra `plot`.

plotille draws lines as text, rich draws bars as text, and matplotlib draws pictures.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, Final

from rich.bar import Bar
from rich.console import Console
from rich.table import Table

from openengagement_client.command_line.printing import printable
from openengagement_client.errors import InvalidQuery
from openengagement_client.results import Result

PICTURES: Final = (".png", ".svg")
_TWEETS_MAX: Final = 10  # with a line of their own
_BARS_MAX: Final = 30
_MARKERS: Final = "*o+x#@%&=~"  # tell lines apart where there are no colours
_COLORS: Final = ("blue", "red", "green", "yellow", "magenta", "cyan", "white")
_BAR_WIDTH: Final = 40


@dataclass(frozen=True, slots=True)
class Chart:
    """Counts by x and series. `x` are times, hours of the day, or labels of bars.

    `dropped` bars are not shown.
    """

    title: str
    x: list[Any]
    series: Mapping[str, list[int]]
    is_timed: bool
    dropped: int = 0


def make_chart(result: Result) -> Chart:
    """Build the chart of a result's only grouping.

    Over time there is a line for each engagement type, summed over the Tweets; with one type, up
    to ten Tweets have a line each. Without time there is a bar for each Tweet and type.

    Raises:
        InvalidQuery: there is nothing to draw.
    """
    columns = result.columns()
    if not (size := len(columns["count"])):
        raise InvalidQuery("there are no counts to draw")
    tweets = columns.get("tweet_id", ["all Tweets"] * size)
    kinds = columns.get("engagement_type", ["count"] * size)
    if "day" in columns or "hour" in columns:
        by_tweet = len(set(kinds)) == 1 and 1 < len(set(tweets)) <= _TWEETS_MAX
        times, title = _times(columns), kinds[0] if by_tweet else ""
        sums = _sum_up(times, tweets if by_tweet else kinds, counts=columns["count"])
        return _chart(sums, sorted(set(times)), title=title, is_timed=True)
    labels = list(dict.fromkeys(tweets))
    shown = labels[:_BARS_MAX]
    chart = _chart(_sum_up(tweets, kinds, counts=columns["count"]), shown, title="", is_timed=False)
    return replace(chart, dropped=len(labels) - len(shown))


def _sum_up(x: list[Any], names: list[str], *, counts: list[int]) -> dict[str, dict[Any, int]]:
    sums: dict[str, dict[Any, int]] = defaultdict(lambda: defaultdict(int))
    for at, name, count in zip(x, names, counts, strict=True):
        sums[name][at] += count
    return sums


def _chart(sums: dict[str, dict[Any, int]], x: list[Any], *, title: str, is_timed: bool) -> Chart:
    series = {name: [found[at] for at in x] for name, found in sums.items()}
    return Chart(title, x, series, is_timed)


def _times(columns: Mapping[str, list[Any]]) -> list[Any]:
    """Return the time of each row: of an hour, of a day, or the hour of the day."""
    if "day" not in columns:
        return columns["hour"]
    hours = columns.get("hour", [0] * len(columns["day"]))
    return [
        datetime.combine(day, time(hour), UTC)
        for day, hour in zip(columns["day"], hours, strict=True)
    ]


def draw_text(chart: Chart, console: Console) -> None:
    """Print a chart."""
    if chart.title:
        console.print(printable(chart.title), markup=False)
    if chart.is_timed:
        # plotille colours its text itself, so rich must not wrap or mark it up.
        console.file.write(_text_lines(chart, console) + "\n")
    else:
        console.print(_text_bars(chart))


def _text_lines(chart: Chart, console: Console) -> str:
    import plotille  # noqa: PLC0415 - optional

    figure = plotille.Figure()
    figure.width, figure.height = max(20, min(console.width, 160) - 24), 16
    figure.with_colors = console.is_terminal and not console.no_color
    figure.x_label = "time (UTC)" if isinstance(chart.x[0], datetime) else "hour (UTC)"
    figure.y_label = "count"
    figure.set_x_limits(min_=_naive(chart.x[0]), max_=_naive(chart.x[-1]))
    figure.set_y_limits(min_=min(0, *map(min, chart.series.values())))
    figure.register_label_formatter(float, lambda value, chars, **_: f"{value:,.0f}".rjust(chars))
    for number, (name, counts) in enumerate(chart.series.items()):
        figure.plot(
            [_naive(each) for each in chart.x],
            counts,
            label=printable(name),
            lc=_COLORS[number % len(_COLORS)] if figure.with_colors else None,
            marker=None if figure.with_colors else _MARKERS[number % len(_MARKERS)],
        )
    text: str = figure.show(legend=len(chart.series) > 1)
    return text


def _naive(x: Any) -> Any:  # noqa: ANN401 - a time or a number
    """Drop the zone, which is UTC: plotille would show times in the zone of this machine."""
    return x.replace(tzinfo=None) if isinstance(x, datetime) else x


def _text_bars(chart: Chart) -> Table:
    table = Table("", "", "", "", box=None, show_header=False)
    table.columns[2].justify = "right"
    largest = max(1, *(max(counts) for counts in chart.series.values()))
    for index, label in enumerate(chart.x):
        for number, (name, counts) in enumerate(chart.series.items()):
            count = counts[index]
            table.add_row(
                printable(label) if number == 0 else "",
                printable(name) if len(chart.series) > 1 else "",
                f"{count:,}",
                Bar(largest, 0, max(0, count), width=_BAR_WIDTH),
            )
    return table


def draw_picture(chart: Chart, path: Path) -> None:
    """Write a chart as PNG or SVG, by the ending of the file. Needs matplotlib.

    Raises:
        InvalidQuery: it has another ending.
    """
    if path.suffix not in PICTURES:
        raise InvalidQuery(f"{path.name} must end with one of {', '.join(PICTURES)}")
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional

    size = (9.0, 4.5) if chart.is_timed else (9.0, 1.5 + 0.3 * len(chart.x) * len(chart.series))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    if chart.is_timed:
        _picture_lines(chart, axes)
    else:
        _picture_bars(chart, axes)
    axes.set_title(_plain(chart.title))
    if len(chart.series) > 1:
        axes.legend()
    # A picture of the same counts has the same bytes.
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, dpi=150, metadata=metadata)


def _picture_lines(chart: Chart, axes: Any) -> None:  # noqa: ANN401 - matplotlib's
    from matplotlib import dates  # noqa: PLC0415 - optional

    for name, counts in chart.series.items():
        axes.plot(chart.x, counts, label=_plain(name))
    is_time = isinstance(chart.x[0], datetime)
    if is_time:
        locator = axes.xaxis.get_major_locator()
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=UTC))
    axes.set_xlabel("time (UTC)" if is_time else "hour of the day (UTC)")
    axes.set_ylabel("count")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(bottom=min(0, *map(min, chart.series.values())))


def _picture_bars(chart: Chart, axes: Any) -> None:  # noqa: ANN401 - matplotlib's
    height = 0.8 / len(chart.series)
    for number, (name, counts) in enumerate(chart.series.items()):
        places = [index + number * height for index in range(len(counts))]
        bars = axes.barh(places, counts, height=height, label=_plain(name))
        axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    middle = 0.4 - height / 2
    axes.set_yticks([index + middle for index in range(len(chart.x))], map(_plain, chart.x))
    axes.invert_yaxis()
    axes.margins(x=0.1)  # for the labels of the longest bars
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("count")


def _plain(text: str) -> str:
    """Return text in which matplotlib finds no formulas."""
    return printable(text).replace("$", r"\$")
