"""The results as JSON, and as a table for the terminal and for docs/benchmarks/README.md."""

import os
import platform
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import peers_tables
import stream_rows
from measure import Series, Spread
from rows import Results, Row, at_least, at_most

DOCS = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
BEGIN = "<!-- written by `make bench`: begin -->"
END = "<!-- written by `make bench`: end -->"
PACKAGES = ("granian", "uvloop", "polars", "numpy", "msgspec", "cryptography")


def machine() -> dict[str, Any]:
    """Describe the machine without naming it."""
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_kib / 2**20, 1),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in PACKAGES},
    }


def commit() -> str:
    """Return the measured commit, marked if the package's source differs from it."""
    requested = ["git", "-C", str(DOCS), "describe", "--always", "--abbrev=8"]
    name = subprocess.run(requested, capture_output=True, text=True, check=False).stdout.strip()
    changed = subprocess.run(
        ["git", "-C", str(DOCS), "diff", "--quiet", "HEAD", "--", ":/src"], check=False
    )
    return (name or "unknown") + (" with changes" if changed.returncode else "")


def rows(results: Results) -> Iterator[Row]:
    """Return the rows of the measured figures, in order."""
    for name, make in _SECTIONS.items():
        if name in results:
            yield from make(results)


def _loading(results: Results) -> Iterator[Row]:
    file = results["load_file"]
    whole, apart = file["rate"], file["rate_without_start"]
    yield at_least("load events FILE, events/s, whole process", whole, 250_000)
    yield Row("the same without its start-up, events/s", apart.show())
    yield Row("the same, CPU µs per event", file["cpu_us"].show(".2f"))


def _loading_http(results: Results) -> Iterator[Row]:
    sent = results["load_http"]
    lines = f"{sent['batch_lines'].median:,.0f}"
    yield Row(f"POST /platform/v1/events, {lines} lines per batch, events/s", sent["rate"].show())
    yield Row("the same, CPU µs per event", sent["cpu_us"].show(".2f"))


def _consuming(results: Results) -> Iterator[Row]:
    found = results["consume_backlog"]
    text = f"consume: NATS JetStream, {found['events'].median:,.0f} events in messages of 500"
    yield at_least(f"{text}, events/s", found["rate_without_start"], 400_000)
    yield Row("the same, with the start-up", found["rate"].show())
    yield Row("the same, CPU µs per event, with that of the log", found["cpu_us"].show(".2f"))
    yield at_most("the same, largest RSS, MiB", found["rss_mib"], 400)
    large = results["consume_large_backlog"]
    text = f"consume: a backlog of {large['events'].median:,.0f} events"
    yield Row(f"{text}, events/s, with the start-up", large["rate"].show())
    yield at_most("the same, largest RSS, MiB", large["rss_mib"], 400)
    paced = results["consume_latency"]
    text = f"consume at {paced['rate'].median:,.0f} events/s: publishing to a read"
    yield at_most(f"{text}, p99 ms", paced["p99_ms"], 2000)
    yield Row(f"{text}, p50 ms", paced["p50_ms"].show())
    peer = results["consume_postgresql"]
    yield Row("a consumer that upserts into PostgreSQL, events/s", peer["rate"].show())
    yield at_least("consume: rate / that rate", peer["times"], 5, ".1f")


def _checksums(results: Results) -> Iterator[Row]:
    found = results["checksums"]
    yield at_most("checksums: share of the CPU time of a load", found["load_share"], 0.03, ".1%")
    yield at_most(
        "read of warm totals, 250 Tweets: CPU / the same without verification",
        found["read_ratio"],
        1.02,
        ".3f",
    )


def _columns(results: Results) -> Iterator[Row]:
    found = results["columns"]
    text = f"load events, {_millions(found['events'])} events"
    yield Row(f"{text} from NDJSON: events/s, with the start", found["ndjson_rate"].show())
    yield Row(f"{text} from Parquet: events/s, with the start", found["parquet_rate"].show())
    yield at_least("Parquet / NDJSON, events/s", found["rate_ratio"], 1.2, ".2f")
    yield at_most("Parquet / NDJSON, CPU before folding", found["parse_ratio"], 0.5, ".2f")
    for name, shown in (("ndjson", "NDJSON"), ("parquet", "Parquet")):
        yield Row(f"{shown}: CPU s", found[f"{name}_cpu_s"].show(".2f"))
        yield Row(f"{shown}: of this, before folding", found[f"{name}_parse_s"].show(".2f"))
        peak = found[f"{name}_peak_mib"]
        yield at_most(f"{shown}: largest PSS of all processes, MiB", peak, 500)
    large = found["large_peak_mib"]
    many = _millions(found["large_events"])
    yield at_most(f"the same, {many} events from one Parquet file", large, 500)
    yield Row(f"{many} events from Parquet: events/s", found["large_rate"].show())
    if "duckdb_cpu_s" in found:
        spent = found["duckdb_cpu_s"].show(".2f")
        yield Row("DuckDB sums up the same Parquet file by Tweet, type and hour: CPU s", spent)


def _millions(spread: Spread) -> str:
    return f"{spread.median / 1e6:,.0f} million"


def _one_tweet(results: Results) -> Iterator[Row]:
    for name, text in (
        ("bare", "bare ASGI handler"),
        ("oauth1", "/totals, 1 Tweet, OAuth 1.0a, gzip"),
        ("bearer", "/totals, 1 Tweet, bearer, gzip"),
    ):
        figures = results[name]
        yield Row(f"{text}: requests/s", figures["rate"].show())
        yield Row(f"{text}: CPU µs per request", figures["cpu_us"].show())
    signed, bearer = results["oauth1"], results["bearer"]
    yield at_least("OAuth 1.0a: rate / the bare handler's rate", signed["rate_ratio"], 0.28, ".3f")
    yield Row("OAuth 1.0a: bare CPU / CPU", signed["cpu_ratio"].show(".3f"))
    yield Row("bearer: rate / the bare handler's rate", bearer["rate_ratio"].show(".3f"))
    ceiling = results["bare"]["generator_ceiling"]
    share = results["bare"]["generator_share"]
    yield Row("load generator's own ceiling, requests/s", ceiling.show())
    yield Row("load generator's use of its core under the bare handler", share.show(".0%"))


def _many_tweets(results: Results) -> Iterator[Row]:
    whole = results["whole"]
    text = "/totals, 250 of 2,000 Tweets x 7 types, OAuth 1.0a, gzip"
    yield Row(f"{text}: requests/s", whole["rate"].show())
    yield Row(f"{text}: CPU µs per request", whole["cpu_us"].show())
    yield Row(
        "the store's read of those totals alone, CPU µs", results["read_totals"]["cpu_us"].show()
    )
    yield Row("the store's read of those Tweets, CPU µs", results["read_tweets"]["cpu_us"].show())
    floor = "a bare handler, the answer's text and gzip"
    yield Row(f"the floor, {floor}: CPU µs", results["floor"]["cpu_us"].show())
    yield Row("whole request / that floor, CPU", whole["cpu_ratio"].show(".2f"))


def _first_reads(results: Results) -> Iterator[Row]:
    first = results["first"]
    text = "/totals, 250 Tweets that were never asked before x 5 types, bearer, gzip"
    yield Row(f"{text}: requests/s", first["rate"].show())
    yield Row(f"{text}: CPU µs per request", first["cpu_us"].show())


def _timed(results: Results) -> Iterator[Row]:
    for name, text in (
        ("28hr", "/28hr, 25 Tweets x 17 types, hourly"),
        ("historical", "/historical, 25 x 17 x 672 hours, three groupings"),
    ):
        figures = results[name]
        milliseconds = Spread(*(each / 1000 for each in _numbers(figures["cpu_us"])), 0)
        yield Row(f"{text}: CPU ms per request", milliseconds.show(",.1f"))
        yield Row(f"{text}: requests/s", figures["rate"].show(",.1f"))


def _numbers(spread: Spread) -> tuple[float, float, float]:
    return spread.median, spread.low, spread.high


def _rest(results: Results) -> Iterator[Row]:
    for name, text in (("server", "serve, one worker"), ("sandbox", "sandbox")):
        figures = results[f"{name}_at_rest"]
        yield at_most(f"{text}: resident at rest, PSS MiB", figures["pss_mib"], 200)
        yield Row(f"{text}: the same, RSS MiB (shared pages twice)", figures["rss_mib"].show())
        yield Row(f"{text}: ready after, s", figures["ready_s"].show(".2f"))


def _verifying(results: Results) -> Iterator[Row]:
    figures = results["verify"]
    yield at_most("verifying a signed request, in process, CPU µs", figures["cpu_us"], 150)
    yield Row("of this, nonce and rate window, committed", figures["admit_us"].show())


def _signing_in(results: Results) -> Iterator[Row]:
    figures = results["sign_in"]
    yield Row("Argon2id of one password, ms", figures["hash_ms"].show(".0f"))
    yield Row("sign-ins per second, four people at once", figures["sign_ins"].show(".1f"))
    yield Row(
        "/totals, 1 Tweet, bearer: p99 ms without sign-ins", figures["idle_p99_ms"].show(".1f")
    )
    yield Row("the same during sign-ins", figures["crowded_p99_ms"].show(".1f"))


# A section is there when its first figure was measured.
def _cluster(results: Results) -> Iterator[Row]:
    for name, text in (
        ("totals", "cluster: totals of 250 Tweets"),
        ("historical", "cluster: 25 Tweets, all types, 28 days by the hour"),
    ):
        found = results[f"cluster_{name}"]
        yield Row(f"{text}, in the store: p50 ms", found["p50_ms"].show(".1f"))
        yield Row("the queries of this alone: p50 ms", found["beside_ms"].show(".1f"))
        yield at_most("the store / its queries alone", found["ratio"], 1.3, ".2f")
        own = found["own_cpu_ms"]
        what = "our CPU in it, ms"
        yield at_most(what, own, 3, ".1f") if name == "totals" else Row(what, own.show(".1f"))
    for size, target in ((50_000, 500_000), (5_000, 250_000)):
        found = results[f"cluster_counting_{size}"]
        text = f"cluster: batches of {size:,} events, folded and counted, events/s"
        yield at_least(text, found["rate"], target)
        own = found["cpu_s_per_million"]
        yield at_most("our CPU without folding, s per million events", own, 0.5, ".2f")
    nodes = results["cluster_nodes"]
    text = "two API nodes, each with a fifth of a core / one: requests/s"
    yield at_least(text, nodes["ratio"], 1.9, ".2f")
    rate = results["cluster_limits"]["rate"]
    yield at_least("limits in PostgreSQL: signed requests/s", rate, 4_000)


def _clients(results: Results) -> Iterator[Row]:
    found = results["client_totals"]
    text = f"client: {found['requests'].median:,.0f} requests for 250 totals each"
    yield at_most(f"{text}: time / prepared requests", found["ratio"], 1.5, ".2f")
    yield Row("the same, asynchronous", found["async_ratio"].show(".2f"))
    yield Row("the same, synchronous: requests/s", found["rate"].show())
    yield Row("the client's own CPU per request, ms", found["cpu_ms"].show(".2f"))
    memory = results["client_memory"]
    text = f"client: largest RSS, {memory['tweets'].median:,.0f} Tweets to a file / 4,000"
    yield at_most(text, memory["ratio"], 1.1, ".2f")
    yield Row("the same: largest RSS, MiB", memory["many_mib"].show())
    sent = results["client_sending"]
    text = f"client: send {sent['events'].median:,.0f} events: time / curl, prepared batches"
    yield at_most(text, sent["ratio"], 1.3, ".2f")
    yield Row("the same: events/s", sent["rate"].show())


_SECTIONS = {
    **stream_rows.SECTIONS,
    "load_file": _loading,
    "load_http": _loading_http,
    "consume_backlog": _consuming,
    "checksums": _checksums,
    "columns": _columns,
    "bare": _one_tweet,
    "whole": _many_tweets,
    "first": _first_reads,
    "28hr": _timed,
    "server_at_rest": _rest,
    "verify": _verifying,
    "sign_in": _signing_in,
    "ingest_ours": peers_tables.ahead,
    "http_totals": peers_tables.times_a_peer,
    "cluster_totals": _cluster,
    "client_totals": _clients,
}


def table(results: Results) -> str:
    """Format the table in Markdown."""
    lines = ["| figure | median (lowest to highest) | target | met |", "|---|---|---|---|"]
    words = {True: "yes", False: "**no**", None: ""}
    lines += [
        f"| {row.what} | {row.figure} | {row.target} | {words[row.met]} |" for row in rows(results)
    ]
    return "\n".join(lines)


def generated(about: Mapping[str, Any], results: Results) -> str:
    """The generated part of the page, between the markers."""
    host = about["machine"]
    parts = ", ".join(f"{name} {host[name]}" for name in ("python", "sqlite", *PACKAGES))
    taken = (
        f"Taken {about['taken']} at commit {about['commit']} on {host['cores']} cores of "
        f"{host['cpu']}, {host['memory_gib']} GiB, {host['system']}; {parts}."
    )
    noise = (
        f"Load average before: {about['load_before']}, after: {about['load_after']}; stolen by "
        f"the hypervisor: {about['stolen']}. Events loaded: {about['events']}."
    )
    parts = [f"{taken}\n{noise}", table(results), *peers_tables.tables(results)]
    if about["failed"]:
        parts.insert(1, f"**Failed, and not in the table**: {', '.join(about['failed'])}.")
    parts[1:1] = [f"Measured again afterwards: {each}." for each in about["repeated"]]
    return "\n\n".join(parts)


def last_run() -> dict[str, Any]:
    """Read the results of the last whole run.

    Raises:
        RuntimeError: it was of another machine, or with other packages.
    """
    last: dict[str, Any] = msgspec.json.decode((DOCS / "results.json").read_bytes())
    if last["machine"] != machine():
        raise RuntimeError("results.json is of another machine or other packages: run `make bench`")
    return last


def with_repeated(
    last: Mapping[str, Any], about: Mapping[str, Any], *, results: Results, parts: Sequence[str]
) -> tuple[Mapping[str, Any], Results]:
    """Put parts that were measured again into the results of the last whole run.

    A part that failed again keeps the figures that it had, if any.
    """
    known = _figures(last)
    done = [name for name in parts if name not in about["failed"]]
    when = f"{about['taken']}, commit {about['commit']}, stolen {about['stolen']}"
    text = f"{', '.join(done)} ({when})"
    changed = {
        "failed": [name for name in last["failed"] if name not in done],
        "repeated": [*last["repeated"], *([text] if done else [])],
    }
    old = {name: value for name, value in last.items() if name != "figures"}
    return {**old, **changed}, {**known, **results}


def shown() -> str:
    """Return the generated part of the page for `results.json`."""
    last = msgspec.json.decode((DOCS / "results.json").read_bytes())
    return generated(last, _figures(last))


def _figures(last: Mapping[str, Any]) -> Results:
    return {
        name: {key: _decoded(value) for key, value in found.items()}
        for name, found in last["figures"].items()
    }


def _decoded(value: Any) -> Any:  # noqa: ANN401 (whatever JSON holds)
    """Return the `Spread`, the `Series` or the plain value that was encoded."""
    if not isinstance(value, dict):
        return value
    return Series(**value) if "x" in value else Spread(**value)


def write(about: Mapping[str, Any], results: Results) -> None:
    """Write results.json and the generated part of README.md; keep the prose around it."""
    (DOCS / "results.json").write_bytes(encoded(about, results))
    write_between(DOCS / "README.md", generated(about, results))


def encoded(about: Mapping[str, Any], results: Results) -> bytes:
    """The results as JSON."""
    text = msgspec.json.encode({**about, "figures": results})
    return msgspec.json.format(text, indent=2) + b"\n"


def write_between(page: Path, text: str) -> None:
    """Put a text between a page's markers.

    Raises:
        RuntimeError: the page has no markers.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RuntimeError(f"{page.name} has lost its markers")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
