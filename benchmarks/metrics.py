"""CPU time of `/totals` and of ingest with metrics, beside that without them.

    python benchmarks/metrics.py [--rounds N] [--requests N] [--batches N]

`off` and `on` are without and with the setting, and take turns. While `on` is measured, it is
scraped once a second, as no Prometheus would do more often.
"""

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import product
import world
from measure import Spread, cores, cpu_s, ratios, wait_until_idle
from serving import BY_TWEET, PRIVATE, Case, RequestSource, alternate

from openengagement.engagement.types import Endpoint, snowflake
from openengagement.metrics import table
from openengagement.metrics.cells import Board, create
from openengagement.metrics.exposition import render
from openengagement.metrics.metric import Metric, attach

MODES = ("off", "on")
LINES = 10_000
BODIES = 20
SCRAPES_EVERY_S = 1.0
CALLS = 200_000
SCRAPES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--requests", type=int, default=8000)
    parser.add_argument("--batches", type=int, default=100)
    options = parser.parse_args()
    print(f"the calls of a request: {calls_us():.2f} us; a scrape: {scrape_us():.0f} us of CPU")
    with tempfile.TemporaryDirectory(prefix="openengagement-metrics-") as folder:
        made = world.build(Path(folder, "totals"))
        with ExitStack() as stack:
            servers = {mode: stack.enter_context(serving(mode, made.data)) for mode in MODES}
            show("/totals", of_totals(made, servers, options))
        with ExitStack() as stack:
            found = of_ingest(Path(folder), stack, options)
            show(f"a batch of {LINES} events", found)


@contextmanager
def serving(mode: str, data: Path) -> Iterator[product.Server]:
    """Serve a folder in one of the modes, and scrape its metrics if it has any."""
    port = product.free_port()
    settings = {"access_log": "off"} | ({"metrics": f"127.0.0.1:{port}"} if mode == "on" else {})
    product.use_stores(data, **settings)
    with ExitStack() as stack:
        server = stack.enter_context(product.serving(data, core=cores()[0]))
        if mode == "on":
            stack.callback(start_scraping(f"http://127.0.0.1:{port}/metrics").set)
        yield server


def start_scraping(url: str) -> threading.Event:
    """Scrape from now on, until the event that is returned is set."""
    ended = threading.Event()

    def scrape() -> None:
        while not ended.wait(SCRAPES_EVERY_S):
            with urllib.request.urlopen(url) as answer:
                answer.read()

    threading.Thread(target=scrape, daemon=True).start()
    return ended


def of_totals(
    made: world.World,
    servers: dict[str, product.Server],
    options: argparse.Namespace,
) -> dict[str, list[float]]:
    """Return the CPU time of a request in each round, in microseconds."""
    cases = {}
    for mode, server in servers.items():
        source = RequestSource(made, server.port)

        def make(amount: int, source: RequestSource = source) -> list[bytes]:
            bodies = source.bodies(amount, tweets=1, types=PRIVATE, groupings=BY_TWEET)
            return source.requests(Endpoint.TOTALS, bodies)

        cases[mode] = Case(mode, server, make)
    alternate([*cases.values()], 0, core=cores()[1])
    for case in cases.values():
        case.amount = options.requests
    for number in range(options.rounds):
        for mode in in_turn(number):
            cases[mode].run(cores()[1])
    return {mode: case.cpu_us for mode, case in cases.items()}


def of_ingest(
    folder: Path, stack: ExitStack, options: argparse.Namespace
) -> dict[str, list[float]]:
    """Return the CPU time of a batch in each round, in microseconds. Each mode has a folder."""
    senders, bodies = {}, [body(number) for number in range(BODIES)]
    for mode in MODES:
        data = folder / f"ingest-{mode}"
        key = product.run(data, "platform-key", "issue", "benchmark").answer["platform_key"]
        server = stack.enter_context(serving(mode, data))
        senders[mode] = server, key
    used: dict[str, list[float]] = {mode: [] for mode in MODES}
    for number in range(-1, options.rounds):
        for mode in in_turn(number):
            server, key = senders[mode]
            wait_until_idle(server.pid)
            before_s = cpu_s(server.pid)
            send_batches(server.port, key, options.batches, bodies)
            wait_until_idle(server.pid)  # merges belong to the batches
            if number >= 0:  # the first round warms up
                used[mode].append((cpu_s(server.pid) - before_s) / options.batches * 1e6)
    return used


def send_batches(port: int, key: str, amount: int, bodies: Sequence[bytes]) -> None:
    """Send batches of NDJSON over one connection, in turn; without a key each one counts."""
    connection = http.client.HTTPConnection(product.HOST, port)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    for number in range(amount):
        connection.request("POST", "/platform/v1/events", bodies[number % len(bodies)], headers)
        answer = connection.getresponse()
        accepted = json.loads(answer.read()).get("accepted")
        if accepted != LINES:
            raise RuntimeError(f"{answer.status}: {accepted} lines were accepted")
    connection.close()


def body(number: int) -> bytes:
    """Write a batch of events of many Tweets."""
    born_s = int(time.time()) - 3600
    lines = [
        json.dumps(
            {
                "tweet_id": str(snowflake(born_s) + (line * 7919 + number) % 50_000),
                "type": "favorites" if line % 3 else "impressions",
                "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(born_s + line % 3000)),
            }
        )
        for line in range(LINES)
    ]
    return "\n".join(lines).encode()


def calls_us() -> float:
    """Return the CPU time of what a worker counts for a request, in microseconds."""
    _, path = create()
    attach(path)
    began_s = time.process_time()
    for _ in range(CALLS):
        table.IN_FLIGHT.add(1)
        table.REQUESTS.add(1, "/insights/engagement/totals", "200", "")
        table.REQUEST_SECONDS.observe(0.0002, "/insights/engagement/totals")
        table.IN_FLIGHT.add(-1)
    return (time.process_time() - began_s) / CALLS * 1e6


def scrape_us() -> float:
    """Return the CPU time of a scrape of ten processes, in microseconds."""
    _, path = create()
    boards = [Board(path) for _ in range(10)]
    for board in boards:
        slot = board.claim()
        for metric in Metric.all.values():
            for number in range(8):
                slot.locate(metric.name, f'label="{number}"', size=metric.size)
    began_s = time.process_time()
    for _ in range(SCRAPES):
        render(boards[0].read())
    return (time.process_time() - began_s) / SCRAPES * 1e6


def in_turn(number: int) -> list[str]:
    """Order the modes so that each one is first, second and last equally often."""
    return [MODES[(number + each) % len(MODES)] for each in range(len(MODES))]


def show(what: str, used: dict[str, list[float]]) -> None:
    off = used["off"]
    for mode, cpu_us in used.items():
        spread = ratios(cpu_us, off)
        print(
            f"{what}, {mode:3} {Spread.of(cpu_us).show()} us of CPU; off = 1: by pairs "
            f"{spread.show('.3f')}, over all {sum(cpu_us) / sum(off):.3f}"
        )


if __name__ == "__main__":
    sys.exit(main())
