"""The tables that compare our server with the alternatives, in Markdown, missing ones included."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from measure import Spread
from rows import Row, at_least

Figures = Mapping[str, Any]
NAMES = {
    "ours": "ours (`load events`, start-up included)",
    "postgresql": "PostgreSQL, COPY and upserts",
    "redis_always": "Redis, `appendfsync always`",
    "redis_everysec": "Redis, `appendfsync everysec`",
    "duckdb": "DuckDB, raw events",
    "chdb": "chDB, SummingMergeTree",
    "sqlite": "limit: SQLite alone, deltas folded beforehand",
}
INGEST = (
    "contender",
    "version",
    "ours / its events/s",
    "events/s",
    "durable per batch",
    "CPU µs per event",
    "bytes per counter",
    "memory, PSS MiB",
    "250 totals: p50 ms",
    "p99 ms",
)
ENDPOINTS = {
    "totals": "/totals, 250 Tweets x 7 types",
    "28hr": "/28hr, 25 Tweets x 17 types, hourly",
    "historical": "/historical, 25 x 17 x 672 hours, three groupings",
}
HTTP = (
    "FastAPI, SQLAlchemy, PostgreSQL",
    "our requests/s / its",
    "its CPU per request / ours",
    "ours, requests/s",
    "its, requests/s",
    "ours, p50 ms",
    "its, p50 ms",
)
TIMES_A_PEER = {"totals": 5.5, "28hr": 5, "historical": 5}
MEMORY = {"copy": "copying the events", "newlines": "counting their newlines"}
LIMITS = ("limit, one core", "GB/s", "events/s")


def tables(results: Mapping[str, Figures]) -> Iterator[str]:
    """The tables whose figures were measured."""
    for head, prefix, names, cells in (
        (INGEST, "ingest", NAMES, _ingest),
        (HTTP, "http", ENDPOINTS, _http),
        (LIMITS, "memory", MEMORY, _limit),
    ):
        found = {text: results.get(f"{prefix}_{name}") for name, text in names.items()}
        rows = [[text, *_or_missing(each, cells)] for text, each in found.items() if each]
        if rows:
            yield _table(head, rows)


def ahead(results: Mapping[str, Figures]) -> Iterator[Row]:
    """Rows for the alternatives that are durable per batch; the target is their rate."""
    for name, text in NAMES.items():
        found = results.get(f"ingest_{name}", {})
        if found.get("durable") and "rate_ratio" in found and name != "ours":
            what = f"load events, start-up included: events/s / {text}"
            yield at_least(what, found["rate_ratio"], 1, ".2f")


def times_a_peer(results: Mapping[str, Figures]) -> Iterator[Row]:
    """Rows for the FastAPI service; the target is a multiple of its rate."""
    for name, text in ENDPOINTS.items():
        found = results.get(f"http_{name}", {})
        if "rate_ratio" in found:
            what = f"{text}: requests/s / the FastAPI service's"
            yield at_least(what, found["rate_ratio"], TIMES_A_PEER[name], ".2f")


def _or_missing(found: Figures, cells: Any) -> list[str]:  # noqa: ANN401
    return [f"**missing**: {found['missing']}"] if "missing" in found else cells(found)


def _ingest(found: Figures) -> list[str]:
    ratio = found.get("rate_ratio")
    shown = {"rate": ",.0f", "cpu_us": ".2f", "bytes_a_counter": ".1f", "memory_mib": ",.0f"}
    rate, *figures = [found[name].show(form) for name, form in shown.items()]
    reads = [found[name].show(".2f") for name in ("read_p50_ms", "read_p99_ms")]
    durable = "yes" if found["durable"] else "**no**"
    shown_ratio = ratio.show(".2f") if ratio else ""
    return [found["version"], shown_ratio, rate, f"{durable}: {found['how']}", *figures, *reads]


def _http(found: Figures) -> list[str]:
    ratios = [found[name].show(".2f") for name in ("rate_ratio", "cpu_ratio")]
    rates = [found[name].show(",.1f") for name in ("ours_rate", "peer_rate")]
    return [*ratios, *rates, *(found[name].show(",.1f") for name in ("ours_p50_ms", "peer_p50_ms"))]


def _limit(found: Figures) -> list[str]:
    spread: Spread = found["bytes_a_second"]
    scaled = Spread(spread.median / 1e9, spread.low / 1e9, spread.high / 1e9, spread.runs)
    return [scaled.show(".1f"), found["events_a_second"].show()]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table. A row may be shorter than the head."""
    full = [head, ["---"] * len(head), *([*row, *[""] * (len(head) - len(row))] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in full)
