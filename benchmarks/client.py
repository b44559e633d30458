"""openengagement-client compared with prepared requests: `python benchmarks/client.py`.

Reading: 100,000 Tweets through /totals, by the load generator with prepared requests, and by both
clients. Sending: a file of events, cut into batches beforehand and sent by curl, and by the sender.
Nothing is written to docs/benchmarks.
"""

import argparse
import asyncio
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import load
import polars as pl
import product
import serving
import signing
import world
from measure import cpu_s

from openengagement_client import (
    AsyncEngagementClient,
    BatchLimits,
    Credentials,
    EngagementClient,
    Options,
    PlatformClient,
    totals_query,
)
from openengagement_client.batches import cut_batches

TYPES = ["favorites", "retweets", "replies"]
PATH = "/insights/engagement/totals"
A_REQUEST = 250
CONNECTIONS = 4
EVENT = '{{"tweet_id":"{}","type":"favorites","at":"{}"}}\n'
LIMITS = BatchLimits()


@dataclass
class Used:
    """Wall time, and CPU time of this process and of the server."""

    wall_s: float = 0.0
    own_s: float = 0.0
    server_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.wall_s:6.2f} s, CPU {self.own_s:6.2f} s, server {self.server_s:6.2f} s"


@contextmanager
def measured(pid: int) -> Iterator[Used]:
    used, began, server_s = Used(), time.perf_counter(), cpu_s(pid)
    own_s = own_cpu_s()
    yield used
    used.wall_s, used.own_s = time.perf_counter() - began, own_cpu_s() - own_s
    used.server_s = cpu_s(pid) - server_s


def own_cpu_s() -> float:
    """CPU of this process and of the commands that it waited for."""
    both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def read(made: world.World, server: product.Server, tweet_ids: list[str]) -> dict[str, Used]:
    groups = [tweet_ids[at : at + A_REQUEST] for at in range(0, len(tweet_ids), A_REQUEST)]
    bodies = [serving.body(group, TYPES, serving.BY_TWEET) for group in groups]
    requests = signing.requests(made.keys, server.port, PATH, bodies=bodies, bearer=True)
    url, credentials = f"http://{product.HOST}:{server.port}", bearer_of(made)
    options = Options(concurrency=CONNECTIONS)
    found = {}
    with measured(server.pid) as found["prepared requests"]:
        load.drive(server.port, requests, connections=CONNECTIONS)
    query = totals_query(tweet_ids, TYPES)
    with (
        measured(server.pid) as found["EngagementClient.run"],
        EngagementClient(url, credentials, options=options) as client,
    ):
        assert len(client.run(query)["totals"]) == len(tweet_ids)
    with measured(server.pid) as found["AsyncEngagementClient.run"]:
        asyncio.run(run_async(url, credentials, options, tweet_ids))
    with (
        tempfile.TemporaryDirectory() as folder,
        measured(server.pid) as found["EngagementClient.write"],
        EngagementClient(url, credentials, options=options) as client,
    ):
        client.write(query, Path(folder, "totals.ndjson"))
    return found


async def run_async(
    url: str, credentials: Credentials, options: Options, tweet_ids: list[str]
) -> None:
    async with AsyncEngagementClient(url, credentials, options=options) as client:
        await client.run(totals_query(tweet_ids, TYPES))


def bearer_of(made: world.World) -> Credentials:
    return Credentials(bearer_token=made.keys.bearer)


def send(made: world.World, server: product.Server, path: Path) -> dict[str, Used]:
    url, key = f"http://{product.HOST}:{server.port}", made.keys.platform_key
    found, folder = {}, path.parent / "batches"
    folder.mkdir()
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(LIMITS.bytes_max), b"")
        for number, batch in enumerate(cut_batches(blocks, LIMITS)):
            (folder / f"{number:06}.ndjson").write_bytes(batch.body)
    with measured(server.pid) as found["curl, prepared batches"]:
        send_by_curl(f"{url}/platform/v1/events", key, sorted(folder.iterdir()))
    with (
        measured(server.pid) as found["EventSender.send_file"],
        PlatformClient(url, key) as platform,
        platform.sender(LIMITS) as sender,
    ):
        sender.send_file(path)
    return found


def send_by_curl(url: str, key: str, files: list[Path]) -> None:
    """Send the files by one curl over one connection."""
    one = [url, "-sSf", "-o", "/dev/null", "-H", f"Authorization: Bearer {key}"]
    one += ["-H", "Content-Type: application/x-ndjson", "-H", "Expect:"]
    command = ["curl"]
    for number, file in enumerate(files):
        command += [*(["--next"] if number else []), *one, "--data-binary", f"@{file}"]
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = world.build(Path(folder))
        frame = pl.read_parquet(made.data.with_name(f"{made.data.name}-tweets.parquet"))
        tweet_ids = frame["id"].cast(pl.String).to_list()
        with product.serving(made.data) as server:
            read(made, server, tweet_ids)  # warms up
            for name, used in read(made, server, tweet_ids).items():
                print(f"{name:28} {used}", flush=True)
            path = Path(folder, "events.ndjson")
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
            with path.open("w") as file:
                file.writelines(
                    EVENT.format(tweet_ids[number % len(tweet_ids)], at)
                    for number in range(given.events)
                )
            for name, used in send(made, server, path).items():
                print(f"{name:28} {used}", flush=True)


if __name__ == "__main__":
    main()
