"""CPU time of `/totals` with the access log, beside that without it.

    python benchmarks/access_log.py [--rounds N] [--requests N]

Three servers serve the same data folder, and the same number of requests each in turn. The lines of
the log go to a file. A whole batch of events has one line more, whose cost is printed too.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import product
import world
from measure import Spread, cores, ratios
from serving import BY_TWEET, PRIVATE, Case, RequestSource, alternate

from openengagement.engagement.types import Endpoint
from openengagement.ingest.batch import Outcome
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.sources import worker_uploads
from openengagement.ingest.sources.uploads import Upload

MODES = ("off", "sampled", "on")
LINES = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=8000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="openengagement-log-") as folder:
        made = world.build(Path(folder))
        cases = measure(made, rounds=options.rounds, requests=options.requests)
        print(f"a line of a batch: {line_of_batch_us(Path(folder)):.0f} us of CPU")
    off, off_us = cases["off"], sum(cases["off"].cpu_us)
    for name, case in cases.items():
        spread = ratios(case.cpu_us, off.cpu_us)
        print(
            f"{name:8} {Spread.of(case.cpu_us).show()} us a request; off = 1: by pairs "
            f"{spread.show('.3f')}, over all {sum(case.cpu_us) / off_us:.3f}"
        )


def measure(made: world.World, *, rounds: int, requests: int) -> dict[str, Case]:
    with ExitStack() as stack:
        cases = {}
        for mode in MODES:
            product.use_stores(made.data, access_log=mode)
            server = stack.enter_context(product.serving(made.data, core=cores()[0]))
            source = RequestSource(made, server.port)

            def make(amount: int, source: RequestSource = source) -> list[bytes]:
                bodies = source.bodies(amount, tweets=1, types=PRIVATE, groupings=BY_TWEET)
                return source.requests(Endpoint.TOTALS, bodies)

            cases[mode] = Case(mode, server, make)
        alternate([*cases.values()], 0, core=cores()[1])
        for case in cases.values():
            case.amount = requests
        for number in range(rounds):  # each mode comes first, second and last equally often
            names = [MODES[(number + each) % len(MODES)] for each in range(len(MODES))]
            for name in names:
                cases[name].run(cores()[1])
    return cases


def line_of_batch_us(folder: Path) -> float:
    """Return the CPU time of the log line of a batch, in microseconds."""
    upload = Upload(EVENTS, b"", "", "", None, False, key_hash="0" * 16, request_id="0" * 16)
    outcome = Outcome(10_000, 0, [], {})
    with (folder / "log").open("w") as file, contextlib.redirect_stderr(file):
        began_s = time.process_time()
        for _ in range(LINES):
            worker_uploads._log(upload, outcome, took_s=0.0123)  # noqa: SLF001
        return (time.process_time() - began_s) / LINES * 1e6


if __name__ == "__main__":
    sys.exit(main())
