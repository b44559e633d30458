"""`make bench`: measure, print the table, write docs/benchmarks.

python benchmarks/run.py                     everything, about an hour and a half
python benchmarks/run.py one_tweet verify    only these parts; prints and does not write
python benchmarks/run.py --again columns     measure a part of the last whole run again; writes
python benchmarks/run.py --quick             everything, small, as a trial; does not write

A part that fails stops no other part. The page then lacks it, and names it, until it is repeated.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import checksums
import client
import cluster
import columnar
import consuming
import counting
import growth
import limits
import loading
import peers_environment
import peers_http
import peers_ingest
import pruning
import report
import resting
import rows
import serving
import signing_in
import sizes
import sustained
import verifying
import while_writing
import world

Figures = dict[str, rows.Figures]


class Bench:
    """The parts of the benchmark; a fixture that several parts need is built once, on first use."""

    def __init__(self, folder: Path, amounts: sizes.Sizes) -> None:
        self._folder = folder
        self._sizes = amounts
        self._quick = amounts is sizes.QUICK
        self._rounds, self._few_rounds = amounts.rounds, amounts.few_rounds
        self.events = "none"
        self._world = cache(self._build_world)
        self._file = cache(self._make_events)
        self._stream = cache(lambda: sustained.make_stream(folder, amounts))
        self._large = cache(self._grow)

    def _build_world(self) -> world.World:
        folder = self._folder / "world"
        folder.mkdir()
        return world.build(folder)

    def _make_events(self) -> Path:
        path, what = loading.make_events(self._folder)
        self.events = f"{counting.line_count(path):,}, {what}"
        return path

    def _grow(self) -> growth.Grown:
        amounts = self._sizes
        return growth.grow(
            self._folder / "large", amounts.large_tweets, of_video=amounts.tweets_of_video
        )

    def stream_files(self) -> Figures:
        figures = sustained.from_files(self._folder, self._stream().files, self._sizes)
        return {"stream_files": figures}

    def stream_http(self) -> Figures:
        figures = sustained.over_http(self._folder, self._stream().files, self._sizes)
        return {"stream_http": figures}

    def reads_while_writing(self) -> Figures:
        folder = self._folder / "while-writing"
        return while_writing.reads_while_writing(folder, self._stream(), self._sizes)

    def both_cores(self) -> Figures:
        return serving.both_cores(self._world(), self._sizes)

    def growth(self) -> Figures:
        small = growth.grow(self._folder / "small", self._sizes.small_tweets, of_video=0)
        figures = growth.flatness(small, self._large(), self._sizes)
        return {**figures, "space": growth.space(self._large(), self._rounds)}

    def prune(self) -> Figures:
        """Run after `growth`, because it removes counters."""
        return pruning.pruning(self._large(), self._stream(), self._sizes)

    def load(self) -> Figures:
        path = self._file()
        return {
            "load_file": loading.from_file(self._folder, path, self._rounds),
            "load_http": loading.over_http(self._folder, path, self._few_rounds),
        }

    def consume(self) -> Figures:
        return consuming.consuming(self._folder, lambda: self._stream().files, self._sizes)

    def checksums(self) -> Figures:
        files = self._stream().files[: self._sizes.peer_files]
        figures = {
            "load_share": checksums.share_of_load(self._folder, files, self._few_rounds),
            "read_ratio": checksums.warm_read(self._world(), self._rounds),
        }
        return {"checksums": figures}

    def columns(self) -> Figures:
        return {"columns": columnar.columns(self._folder, self._sizes)}

    def one_tweet(self) -> Figures:
        return serving.one_tweet(self._world(), self._rounds + 2)

    def many_tweets(self) -> Figures:
        return serving.many_tweets(self._world(), self._rounds)

    def first_reads(self) -> Figures:
        return serving.first_reads(self._world(), self._rounds)

    def timed(self) -> Figures:
        return serving.timed(self._world(), self._rounds)

    def rest(self) -> Figures:
        return {
            "server_at_rest": resting.server_at_rest(self._world(), self._few_rounds),
            "sandbox_at_rest": resting.sandbox_at_rest(self._folder, self._few_rounds),
        }

    def verify(self) -> Figures:
        return {"verify": verifying.signed_request(self._world(), self._rounds)}

    def sign_in(self) -> Figures:
        return {"sign_in": signing_in.signing_in(self._world(), self._few_rounds)}

    def ingest_peers(self) -> Figures:
        """Measure our server and the alternatives on the same files, one after the other."""
        peers_environment.install_debian_packages()
        given = (self._folder, self._stream().files[: self._sizes.peer_files], self._rounds)
        more = {"tweet_ids": self._stream().tweet_ids, "quick": self._quick}
        found = peers_ingest.ingest_peers(*given, **more) | peers_ingest.sqlite_alone(
            *given, **more
        )
        return {f"ingest_{name}": figures for name, figures in found.items()}

    def http_peer(self) -> Figures:
        peers_environment.install_debian_packages()
        world = self._world()
        found = peers_http.http_peer(world, self._rounds, sample_s=self._sizes.sample_s)
        return {f"http_{name}": figures for name, figures in found.items()}

    def cluster(self) -> Figures:
        peers_environment.install_debian_packages()
        amounts = self._sizes
        return cluster.cluster(
            self._folder, self._rounds, tweets=amounts.cluster_tweets, sample_s=amounts.cluster_s
        )

    def clients(self) -> Figures:
        """Run late, because it adds events to the world."""
        return client.clients(self._world(), self._folder, self._rounds, self._sizes)

    def memory_copy(self) -> Figures:
        files = self._stream().files[: limits.FILES]
        found = limits.memory_copy(files, self._rounds)
        return {f"memory_{name}": figures for name, figures in found.items()}


PARTS = (
    "stream_files",
    "stream_http",
    "reads_while_writing",
    "both_cores",
    "growth",
    "prune",
    "load",
    "consume",
    "checksums",
    "columns",
    "one_tweet",
    "many_tweets",
    "first_reads",
    "timed",
    "rest",
    "verify",
    "sign_in",
    "ingest_peers",
    "http_peer",
    "cluster",
    "clients",
    "memory_copy",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure, print, write docs/benchmarks.")
    parser.add_argument(
        "parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument("--quick", action="store_true", help="small, to try the benchmarks")
    parser.add_argument("--again", action="store_true", help="put these parts into the page")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file too")
    options = parser.parse_args()
    if options.again and (options.quick or not options.parts):
        parser.error("--again takes the names of parts, and no --quick")
    last = report.last_run() if options.again else None
    chosen = options.parts or PARTS
    taken = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    before, stolen_before = load_average(), cpu_times()
    with tempfile.TemporaryDirectory(prefix="openengagement-bench-") as folder:
        bench = Bench(Path(folder), sizes.QUICK if options.quick else sizes.FULL)
        results, failed = measure(bench, chosen)
    stolen, total = (a - b for a, b in zip(cpu_times(), stolen_before, strict=True))
    about = {
        "taken": taken,
        "commit": report.commit(),
        "events": bench.events,
        "load_before": before,
        "load_after": load_average(),
        "stolen": f"{stolen / total:.1%}",
        "machine": report.machine(),
        "failed": failed,
        "repeated": [],
    }
    if last is not None:
        about, results = report.with_repeated(last, about, results=results, parts=options.parts)
    if options.out:  # first, so that an hour's results outlive a fault in the table
        options.out.write_bytes(report.encoded(about, results))
    print(report.generated(about, results))
    if (chosen == PARTS and not options.quick) or last is not None:
        report.write(about, results)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def measure(bench: Bench, chosen: Sequence[str]) -> tuple[Figures, list[str]]:
    """Return the figures of all parts, and the parts that failed; a failure stops no other part."""
    results: Figures = {}
    failed = []
    for name in chosen:
        began = time.perf_counter()
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        try:
            results |= getattr(bench, name)()
        except Exception:
            traceback.print_exc()
            failed.append(name)
        print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    return results, failed


def load_average() -> str:
    return f"{os.getloadavg()[0]:.2f}"


def cpu_times() -> tuple[int, int]:
    """Return the ticks stolen from this machine, and all ticks, since its start."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return int(fields[7]), sum(map(int, fields))


if __name__ == "__main__":
    main()
