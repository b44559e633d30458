"""The rows of the table about a platform's whole stream: its ingest, and reads at the same time."""

from collections.abc import Iterator

from rows import Results, Row, at_least, at_most

MEMORY_MIB = 476  # 500 MB
READS = {"totals": "/totals", "28hr": "/28hr", "historical": "/historical"}


def _files(results: Results) -> Iterator[Row]:
    found = results["stream_files"]
    events = f"{found['events'].median / 1e6:,.0f} million events"
    yield at_least(
        f"load events, {events}: rate at the end / at the start",
        found["late_over_early"],
        0.67,
        ".2f",
    )
    yield at_least("the same: events/s overall", found["rate"], 600_000)
    yield Row("the same: CPU µs per event", found["cpu_us"].show(".2f"))
    yield at_most("the same: the process's largest RSS, MiB", found["rss_mib"], MEMORY_MIB)


def _http(results: Results) -> Iterator[Row]:
    found = results["stream_http"]
    yield at_least("POST events, 8 producers, 2 workers: events/s", found["rate"], 400_000)
    yield Row("the same: CPU µs per event", found["cpu_us"].show(".2f"))
    yield Row("the same: time to acknowledgement, p50 ms", found["ack_p50_ms"].show())
    yield Row("the same: time to acknowledgement, p99 ms", found["ack_p99_ms"].show())
    yield Row("the same: producers' share of one core", found["generator_share"].show(".0%"))
    yield at_most("the same: largest RSS of any process, MiB", found["rss_mib"], MEMORY_MIB)
    yield Row("the same: largest PSS of all processes, MiB", found["all_pss_mib"].show())


def _while_writing(results: Results) -> Iterator[Row]:
    text = "/totals, 250 Tweets, 50 per second"
    kinds = {"reads_while_http": "8 producers write", "reads_while_file": "load events runs"}
    written = {
        "reads_while_http": "events/s written at the same time",
        "reads_while_file": "events/s of that whole load, with reads during 9 s of it",
    }
    for name, what in kinds.items():
        ratio = results[name]["over_idle_p99"]
        yield at_most(f"{text}: p99 while {what} / idle p99", ratio, 3, ".2f")
    yield Row(f"{text}: idle p99, ms", results["reads_idle"]["p99_ms"].show(".1f"))
    for name, what in kinds.items():
        found = results[name]
        yield Row(f"the same while {what}: p99, ms", found["p99_ms"].show(".1f"))
        yield Row(written[name], found["written"].show())
    found = results["reads_while_http"]
    asked = f"{found['asked'].median:,.0f}"
    text = f"acknowledged batches missing in the very next answer, of {asked}"
    yield at_most(text, found["missed"], 0)


def _both_cores(results: Results) -> Iterator[Row]:
    for name, text, target in (
        ("totals_both", "/totals, 250 Tweets x 7 types", 1500),
        ("28hr_both", "/28hr, 25 Tweets x 17 types, hourly", 300),
    ):
        found = results[name]
        yield at_least(f"{text}, 2 workers: requests/s", found["rate"], target)
        share = found["generator_share"].show(".0%")
        yield Row("the same: the load generator's share of one core", share)
    text = "/historical, 25 x 17 x 672 hours, three groupings, gzip"
    yield at_most(
        f"{text}: one at a time, p50 ms", results["historical_alone"]["p50_ms"], 150, ".1f"
    )
    yield Row(f"{text}, 2 workers: requests/s", results["historical_both"]["rate"].show(".1f"))


def _growth(results: Results) -> Iterator[Row]:
    for name, path in READS.items():
        found = results[f"flat_{name}"]
        text = f"{path}, 100 times the counters / the original number"
        yield at_most(f"{text}: CPU per request", found["cpu_ratio"], 1.5, ".2f")
        yield at_most(f"{text}: p50", found["p50_ratio"], 1.5, ".2f")
    found = results["video"]
    yield at_most("a video in 10,000 Tweets / in one: p50", found["p50_ratio"], 2, ".2f")
    yield Row("the same: CPU per request", found["cpu_ratio"].show(".2f"))
    found = results["space"]
    counters = f"{found['counters'].median / 1e6:,.0f} million counters"
    yield Row(f"{counters}: bytes on disk per counter", found["bytes_per_counter"].show(".1f"))
    yield at_most(f"{counters}: serve ready after, s", found["ready_s"], 3, ".2f")


def _prune(results: Results) -> Iterator[Row]:
    found = results["prune"]
    yield at_most("longest read while prune runs, ms", found["read_ms"], 100)
    yield Row("the same / idle", found["read_ratio"].show(".2f"))
    yield at_most("longest acknowledgement while prune runs, ms", found["ack_ms"], 100)
    yield Row("the same / idle", found["ack_ratio"].show(".2f"))
    yield Row("duration of prune, s", found["took_s"].show(".1f"))


SECTIONS = {
    "stream_files": _files,
    "stream_http": _http,
    "reads_idle": _while_writing,
    "totals_both": _both_cores,
    "flat_totals": _growth,
    "prune": _prune,
}
