"""openengagement-client compared with prepared requests.

Reading: Tweets through /totals, by the load generator with prepared requests, and by both clients.
Sending: a file of events, cut into batches beforehand and sent by curl, and by the sender. Memory:
one client that writes few and many Tweets to a file, each in a process of its own.
"""

import asyncio
import itertools
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import load
import polars as pl
import product
import serving
import signing
from measure import Spread, ratios
from rows import Figures
from sizes import Sizes
from world import World

from openengagement_client import (
    AsyncEngagementClient,
    BatchLimits,
    Credentials,
    EngagementClient,
    Options,
    PlatformClient,
    totals_query,
)
from openengagement_client.batches import read_batches

TYPES = ["favorites", "retweets", "replies"]
PATH = "/insights/engagement/totals"
A_REQUEST = 250
CONNECTIONS = 4
OPTIONS = Options(concurrency=CONNECTIONS)
EVENT = '{{"tweet_id":"{}","type":"favorites","at":"{}"}}\n'
LIMITS = BatchLimits()
FEW = 4_000  # Tweets, whose memory that of many is compared with
# Writes so many Tweets, by repeating those of the file, and prints the process's largest RSS. That
# of getrusage would include the parent's, from before the exec.
WRITE = """
import itertools, sys
from pathlib import Path
from openengagement_client import Credentials, EngagementClient, totals_query
url, bearer, source, tweets, out = sys.argv[1:]
ids = itertools.islice(itertools.cycle(Path(source).read_text().split()), int(tweets))
with EngagementClient(url, Credentials(bearer_token=bearer)) as client:
    client.write(totals_query(ids, ["favorites", "retweets", "replies"]), out)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) / 1024)
"""


def clients(world: World, folder: Path, rounds: int, sizes: Sizes) -> dict[str, Figures]:
    """Measure reading, memory and sending."""
    folder = folder / "client"
    folder.mkdir()
    frame = pl.read_parquet(world.data.with_name(f"{world.data.name}-tweets.parquet"))
    tweet_ids = frame["id"].cast(pl.String).to_list()[: sizes.client_tweets]
    with product.serving(world.data) as server:
        url = f"http://{product.HOST}:{server.port}"
        return {
            "client_totals": _reading(world, server, tweet_ids, rounds),
            "client_memory": _memory(world, url, folder, tweet_ids, rounds, sizes),
            "client_sending": _sending(world, url, folder, tweet_ids, rounds, sizes),
        }


def _reading(world: World, server: product.Server, tweet_ids: list[str], rounds: int) -> Figures:
    groups = [tweet_ids[at : at + A_REQUEST] for at in range(0, len(tweet_ids), A_REQUEST)]
    bodies = [serving.body(group, TYPES, serving.BY_TWEET) for group in groups]
    requests = signing.requests(world.keys, server.port, PATH, bodies=bodies, bearer=True)
    url, credentials = f"http://{product.HOST}:{server.port}", _credentials(world)

    def prepared() -> None:
        load.drive(server.port, requests, connections=CONNECTIONS)

    def synchronous() -> None:
        with EngagementClient(url, credentials, options=OPTIONS) as client:
            assert len(client.run(totals_query(tweet_ids, TYPES))["totals"]) == len(tweet_ids)

    async def read() -> None:
        async with AsyncEngagementClient(url, credentials, options=OPTIONS) as client:
            await client.run(totals_query(tweet_ids, TYPES))

    def asynchronous() -> None:
        asyncio.run(read())

    timed: dict[Callable[[], None], list[tuple[float, float]]] = {
        each: [] for each in (prepared, synchronous, asynchronous)
    }
    for each in timed:
        each()  # warms up
    for _ in range(rounds):
        for each, runs in timed.items():
            runs.append(_timed(each))
    walls = {each.__name__: [wall_s for wall_s, _ in runs] for each, runs in timed.items()}
    cpus = {each.__name__: [cpu_s for _, cpu_s in runs] for each, runs in timed.items()}
    return {
        "requests": Spread.of([len(groups)]),
        "rate": Spread.of([len(groups) / each for each in walls["synchronous"]]),
        "ratio": ratios(walls["synchronous"], walls["prepared"]),
        "async_ratio": ratios(walls["asynchronous"], walls["prepared"]),
        "cpu_ms": Spread.of([each / len(groups) * 1e3 for each in cpus["synchronous"]]),
    }


def _memory(
    world: World,
    url: str,
    folder: Path,
    tweet_ids: list[str],
    rounds: int,
    sizes: Sizes,
) -> Figures:
    source = folder / "ids.txt"
    source.write_text("\n".join(tweet_ids))

    def peak_mib(tweets: int) -> float:
        given = [url, world.keys.bearer, str(source), str(tweets), str(folder / "totals.ndjson")]
        command = [sys.executable, "-c", WRITE, *given]
        return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    few, many = [], []
    for _ in range(rounds):
        few.append(peak_mib(FEW))
        many.append(peak_mib(sizes.client_memory_tweets))
    return {
        "tweets": Spread.of([sizes.client_memory_tweets]),
        "few_mib": Spread.of(few),
        "many_mib": Spread.of(many),
        "ratio": ratios(many, few),
    }


def _sending(
    world: World,
    url: str,
    folder: Path,
    tweet_ids: list[str],
    rounds: int,
    sizes: Sizes,
) -> Figures:
    """Each turn has other events, since a batch that was counted before costs less."""
    by_curl, by_sender, key = [], [], world.keys.platform_key
    began_s = time.time()
    for turn in range(2 * rounds):
        path = folder / "events.ndjson"
        _write_events(path, tweet_ids, sizes.client_events, at_s=began_s - 3600 - turn)
        if turn % 2:
            by_sender.append(_timed(lambda path=path: _send(url, key, path))[0])
            continue
        files = []
        for number, batch in enumerate(read_batches(path, LIMITS)):
            files.append(folder / f"{number:06}.batch")
            files[-1].write_bytes(batch.body)
        by_curl.append(_timed(lambda files=files: _send_by_curl(url, key, files))[0])
        for file in files:
            file.unlink()
    return {
        "events": Spread.of([sizes.client_events]),
        "rate": Spread.of([sizes.client_events / each for each in by_sender]),
        "ratio": ratios(by_sender, by_curl),
    }


def _write_events(path: Path, tweet_ids: list[str], events: int, *, at_s: float) -> None:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
    with path.open("w") as file:
        file.writelines(
            EVENT.format(tweet_id, at)
            for tweet_id in itertools.islice(itertools.cycle(tweet_ids), events)
        )


def _send(url: str, key: str, path: Path) -> None:
    with PlatformClient(url, key) as platform, platform.sender(LIMITS) as sender:
        sender.send_file(path)
    assert not sender.report.duplicates
    assert not sender.report.rejected


def _send_by_curl(url: str, key: str, files: list[Path]) -> None:
    """Send the files by one curl, over as many connections as the sender has."""
    one = [f"{url}/platform/v1/events", "-sSf", "-o", "/dev/null"]
    one += ["-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/x-ndjson"]
    one += ["-H", "Expect:"]
    command = ["curl", "--parallel", "--parallel-max", str(CONNECTIONS)]
    for number, file in enumerate(files):
        command += [*(["--next"] if number else []), *one, "--data-binary", f"@{file}"]
    subprocess.run(command, check=True, stderr=subprocess.PIPE)  # it shows its progress there


def _credentials(world: World) -> Credentials:
    return Credentials(bearer_token=world.keys.bearer)


def _timed(run: Callable[[], None]) -> tuple[float, float]:
    """Return the wall time of a call, and the CPU time of this process."""
    began_s, used_s = time.perf_counter(), _own_cpu_s()
    run()
    return time.perf_counter() - began_s, _own_cpu_s() - used_s


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
