"""`make bench`: measure, print the table, write docs/benchmarks.

python benchmarks/run.py                     everything, about five minutes
python benchmarks/run.py one_tweet verify    only these, printed and not written
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import loading
import report
import resting
import serving
import signing_in
import verifying
import world
from measure import Spread

ROUNDS = 5
FEW_ROUNDS = 3
DOCS = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
Figures = dict[str, dict[str, Spread]]


class Bench:
    """What can be measured; what several need is built once, when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.events = "none"
        self._world = cache(self._build_world)
        self._file = cache(self._make_events)

    def _build_world(self) -> world.World:
        folder = self._folder / "world"
        folder.mkdir()
        return world.build(folder)

    def _make_events(self) -> Path:
        path, what = loading.make_events(self._folder)
        self.events = f"{loading.count_lines(path):,}, {what}"
        return path

    def load(self) -> Figures:
        path = self._file()
        return {
            "load_file": loading.from_file(self._folder, path, ROUNDS),
            "load_http": loading.over_http(self._folder, path, FEW_ROUNDS),
        }

    def one_tweet(self) -> Figures:
        return serving.one_tweet(self._world(), ROUNDS + 2)

    def many_tweets(self) -> Figures:
        return serving.many_tweets(self._world(), ROUNDS)

    def timed(self) -> Figures:
        return serving.timed(self._world(), ROUNDS)

    def rest(self) -> Figures:
        return {
            "server_at_rest": resting.server_at_rest(self._world(), FEW_ROUNDS),
            "sandbox_at_rest": resting.sandbox_at_rest(self._folder, FEW_ROUNDS),
        }

    def verify(self) -> Figures:
        return {"verify": verifying.signed_request(self._world(), ROUNDS)}

    def sign_in(self) -> Figures:
        return {"sign_in": signing_in.signing_in(self._world(), FEW_ROUNDS)}


PARTS: dict[str, Callable[[Bench], Figures]] = {
    name: getattr(Bench, name)
    for name in ("load", "one_tweet", "many_tweets", "timed", "rest", "verify", "sign_in")
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure, print, write docs/benchmarks.")
    parser.add_argument(
        "parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=str([*PARTS])
    )
    chosen = parser.parse_args().parts or list(PARTS)
    taken = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    before, stolen_before = load_average(), cpu_times()
    results: Figures = {}
    with tempfile.TemporaryDirectory(prefix="openengagement-bench-") as folder:
        bench = Bench(Path(folder))
        for name in chosen:
            began = time.perf_counter()
            print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
            results |= PARTS[name](bench)
            print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    stolen, total = (a - b for a, b in zip(cpu_times(), stolen_before, strict=True))
    about = {
        "taken": taken,
        "commit": commit(),
        "events": bench.events,
        "load_before": before,
        "load_after": load_average(),
        "stolen": f"{stolen / total:.1%}",
        "machine": report.machine(),
    }
    print(report.generated(about, results))
    if len(chosen) == len(PARTS):
        report.write(DOCS, about, results)


def load_average() -> str:
    return f"{os.getloadavg()[0]:.2f}"


def cpu_times() -> tuple[int, int]:
    """Ticks stolen from this machine, and all ticks, since it started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return int(fields[7]), sum(map(int, fields))


def commit() -> str:
    """The commit measured, marked when the package's source differs from it."""
    asked = ["git", "-C", str(DOCS), "describe", "--always", "--abbrev=8"]
    name = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    changed = subprocess.run(
        ["git", "-C", str(DOCS), "diff", "--quiet", "HEAD", "--", ":/src"], check=False
    )
    return (name or "unknown") + (" with changes" if changed.returncode else "")


if __name__ == "__main__":
    main()
