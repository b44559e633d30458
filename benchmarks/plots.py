"""Draw docs/benchmarks/*.svg from results.json, without measuring again.

.venv-bench/bin/python benchmarks/plots.py [--results FILE] [--folder FOLDER] [--png]

It needs matplotlib, which the product does not. Figures that a run did not measure are not drawn. A
bar is the median of the runs; the line on it goes from the minimum to the maximum.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from peers_tables import TIMES_A_PEER

DOCS = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
OURS, PEER, WEAK, LIMIT, INK = "#0b6bcb", "#8a94a3", "#cdd3db", "#c2410c", "#1f2937"
WIDE, ROW_HEIGHT = 7.2, 0.36  # inches
INGEST = {
    "ingest_ours": "openengagement, files",
    "stream_http": "openengagement, HTTP",
    "ingest_postgresql": "PostgreSQL, COPY and upserts",
    "ingest_redis_always": "Redis, AOF always",
    "ingest_redis_everysec": "Redis, AOF every second",
    "ingest_duckdb": "DuckDB, raw events",
    "ingest_chdb": "chDB, SummingMergeTree",
    "ingest_sqlite": "SQLite alone, folded beforehand",
}
ENDPOINTS = {"totals": "/totals", "28hr": "/28hr", "historical": "/historical"}
Found = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw docs/benchmarks/*.svg from results.json.")
    parser.add_argument("--results", type=Path, default=DOCS / "results.json")
    parser.add_argument("--folder", type=Path, default=DOCS)
    parser.add_argument("--png", action="store_true", help="pictures to look at, instead of SVG")
    options = parser.parse_args()
    found = json.loads(options.results.read_text())["figures"]
    plt.rcParams.update(STYLE)
    for name, (part, needed, draw) in PLOTS.items():
        if needed in found.get(part, {}):
            figure = draw(found)
            path = options.folder / f"{name}.{'png' if options.png else 'svg'}"
            figure.savefig(path, dpi=110, metadata=None if options.png else {"Date": None})
            plt.close(figure)


STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": PEER,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.facecolor": "white",  # so that it can be read on a dark page too
    "svg.hashsalt": "openengagement",  # the same figures give the same file
}
Bar = tuple[str, Found, str]  # label, spread, colour


def _bars(axes: Axes, bars: Sequence[Bar], form: Callable[[float], str]) -> None:
    """Draw horizontal bars, the first on top, with the range as a line and the median as text."""
    for index, (_, spread, colour) in enumerate(bars):
        median, low, high = (spread[key] for key in ("median", "low", "high"))
        axes.barh(index, median, color=colour, height=0.62)
        axes.plot([low, high], [index, index], color=INK, linewidth=1)
        axes.annotate(
            form(median),
            (max(median, high), index),
            (5, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(range(len(bars)), [label for label, *_ in bars])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.16)
    axes.set_xlim(left=0)


def _limit(axes: Axes, at: float, text: str) -> None:
    axes.axvline(at, color=LIMIT, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(right=max(axes.get_xlim()[1], at * 1.3))
    axes.annotate(
        text,
        (at, 1),
        (3, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=LIMIT,
        fontsize=8,
    )


def _thousands(axis: Any) -> None:  # noqa: ANN401 - either axis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _sized(rows: int) -> tuple[Any, Axes]:
    return plt.subplots(figsize=(WIDE, 0.9 + ROW_HEIGHT * rows))


def ingest(found: Found) -> Any:  # noqa: ANN401 - a figure
    """Draw events per second, ours and the alternatives', the fastest on top."""
    bars = []
    for name, label in INGEST.items():
        if "rate" in found.get(name, {}):
            theirs = PEER if found[name].get("durable") else WEAK
            ours = label.startswith("openengagement")
            bars.append((label, found[name]["rate"], OURS if ours else theirs))
    bars.sort(key=lambda bar: -bar[1]["median"])
    figure, axes = _sized(len(bars))
    _bars(axes, bars, lambda value: f"{value:,.0f}")
    _thousands(axes.xaxis)
    axes.set_title("Events counted per second")
    if any(colour == WEAK for *_, colour in bars):
        axes.set_xlabel("pale: a power loss can lose an acknowledged batch")
    return figure


def over_time(found: Found) -> Any:  # noqa: ANN401
    """Draw the rate while the store fills."""
    figure, axes = plt.subplots(figsize=(WIDE, 2.8))
    for name, label, colour in (
        ("stream_files", "from files", OURS),
        ("stream_http", "over HTTP", PEER),
    ):
        line = found.get(name, {}).get("over_time", {"x": []})
        if line["x"]:
            axes.plot(line["x"], line["y"], color=colour, linewidth=1.8)
            end = (line["x"][-1], line["y"][-1])
            axes.annotate(label, end, (5, 0), textcoords="offset points", va="center", color=colour)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.margins(x=0.12)
    _thousands(axes.yaxis)
    axes.set_xlabel("million events in the store")
    axes.set_title("Events counted per second, in slices of ten seconds")
    return figure


def while_writing(found: Found) -> Any:  # noqa: ANN401
    """Draw the latency of reads, idle and while events come in."""
    kinds = [
        ("reads_idle", "nothing is written"),
        ("reads_while_file", "load events runs"),
        ("reads_while_http", "8 producers send"),
    ]
    bars = [
        (f"{label}: {share}", found[name][f"{share}_ms"], OURS if share == "p99" else WEAK)
        for name, label in kinds
        for share in ("p50", "p99")
    ]
    figure, axes = _sized(len(bars))
    _bars(axes, bars, lambda value: f"{value:,.1f} ms")
    _limit(axes, 3 * found["reads_idle"]["p99_ms"]["median"], "3 x idle p99")
    axes.set_title("/totals with 250 Tweets, 50 per second: latency in ms", pad=18)
    return figure


def flatness(found: Found) -> Any:  # noqa: ANN401
    """Draw the cost of a request with a hundred times as many counters."""
    bars = [
        (f"{label}: {what}", found[f"flat_{name}"][key], OURS if key == "cpu_ratio" else PEER)
        for name, label in ENDPOINTS.items()
        for key, what in (("cpu_ratio", "CPU"), ("p50_ratio", "latency"))
    ]
    figure, axes = _sized(len(bars))
    _bars(axes, bars, lambda value: f"{value:.2f}")
    _limit(axes, 1.5, "target: at most 1.5")
    axes.axvline(1, color=PEER, linewidth=0.8)
    axes.set_title("CPU of a request at 100 million counters / at 1 million", pad=18)
    return figure


def reads(found: Found) -> Any:  # noqa: ANN401
    """Draw our rate over that of the alternative service."""
    bars = [(label, found[f"http_{name}"]["rate_ratio"], OURS) for name, label in ENDPOINTS.items()]
    figure, axes = _sized(len(bars))
    _bars(axes, bars, lambda value: f"{value:.1f} times")
    target = TIMES_A_PEER["totals"]
    _limit(axes, target, f"target of /totals: at least {target}")
    axes.set_title("Requests per second / those of FastAPI + SQLAlchemy + PostgreSQL", pad=18)
    return figure


# Each with the part, and the figure in it, that must have been measured.
PLOTS: dict[str, tuple[str, str, Callable[[Found], Any]]] = {
    "ingest": ("ingest_ours", "rate", ingest),
    "over-time": ("stream_files", "over_time", over_time),
    "while-writing": ("reads_idle", "p99_ms", while_writing),
    "flatness": ("flat_totals", "cpu_ratio", flatness),
    "reads": ("http_totals", "rate_ratio", reads),
}


if __name__ == "__main__":
    main()
