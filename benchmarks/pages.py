"""The pages of an author with many Tweets: CPU time of the server, and time to the answer.

    python benchmarks/pages.py                        5,000 Tweets, 2.2 million counters
    python benchmarks/pages.py --tweets 50000         ten times the Tweets, as many counters
    python benchmarks/pages.py --registry URL         accounts and sessions in PostgreSQL
    python benchmarks/pages.py --registry URL --store URL   Tweets there, counters in ClickHouse

The counters lie in the 180 days of an overview of 90 days and of the period before. As many others,
of other authors' Tweets, lie between them. One worker answers one request at a time.
"""

import argparse
import http.client
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import polars as pl
import product
import world
from cryptography.fernet import Fernet
from measure import Spread, cpu_s, wait_until_idle
from signing_in import HiddenFields

from openengagement.engagement.types import DAY_S, HOUR_S, snowflake

TWEETS = 5_000
COUNTERS = 2_200_000
DAYS = 180
TYPES = ["impressions", "favorites", "url_clicks", "detail_expands", "user_follows"]
REQUESTS = 20
PASSWORD = "a long password of the benchmark"
WORDS = ["harbour", "tide", "lantern", "anchor", "signal", "pier", "rope", "island", "ebb", "mast"]
PAGES = (
    "/overview?period=90d",
    "/overview?period=28d",
    "/overview?period=28h",
    "/explore",
    "/explore?q=lantern",
    "/explore?period=28d&sort=favorites",
    "/explore?period=90d&sort=engagement_rate&q=lantern",
    "/explore?sort=impressions",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A page, asked for several times. `sent_bytes` is the size of the compressed answer."""

    cpu_ms: float
    wall_ms: Spread
    sent_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the pages of an author.")
    parser.add_argument("--tweets", type=int, default=TWEETS)
    parser.add_argument("--counters", type=int, default=COUNTERS)
    parser.add_argument("--registry", help="the URL of an empty database of PostgreSQL")
    parser.add_argument("--store", default="", help="the URL of a cluster of ClickHouse")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="openengagement-pages-") as folder:
        data = Path(folder) / "data"
        if given.registry:
            _use_databases(data, registry=given.registry, store=given.store)
        fill(data, tweets=given.tweets, counters=given.counters)
        print(f"{given.tweets:,} Tweets of one author, {given.counters:,} counters")
        with product.serving(data) as server:
            wait_until_idle(server.pid)
            reader = Reader(server)
            for path in PAGES:
                asked = reader.ask(path)
                size = f"{asked.sent_bytes / 1000:.0f} kB"
                print(f"{path:52} {asked.cpu_ms:5.0f} ms CPU, {asked.wall_ms.show()} ms, {size}")


def _use_databases(data: Path, *, registry: str, store: str) -> None:
    """Use databases instead of files, and create their tables."""
    keys = Fernet.generate_key().decode()
    product.use_stores(data, registry=registry, store=store, server_keys=keys)
    product.run(data, "cluster", "init")


def fill(data: Path, *, tweets: int, counters: int) -> None:
    """Register Tweets of the owner and as many of others; count in all of them."""
    rng = np.random.default_rng(21)
    now_s = int(time.time())
    born_s = now_s - rng.integers(HOUR_S, DAYS * DAY_S, 2 * tweets)
    ids = np.array([snowflake(int(each)) for each in born_s]) + np.arange(2 * tweets)
    authors = np.where(np.arange(2 * tweets) % 2, 1, rng.integers(2, world.ACCOUNTS, 2 * tweets))
    world.register(
        data,
        pl.DataFrame(
            {
                "id": ids,
                "author_id": authors,
                "created_at": pl.from_epoch(born_s),
                "text": [" ".join(words) for words in rng.choice(WORDS, (2 * tweets, 9))],
            }
        ),
    )
    path = data.with_name("events.parquet")
    for file in _events(path, ids, now_s=now_s, counters=2 * counters):
        world.load(data, "events", file)
    stdin = f"{PASSWORD}\n"
    product.run(data, "account", "password", world.OWNER, "--stdin", stdin=stdin)


def _events(path: Path, ids: np.ndarray, *, now_s: int, counters: int) -> Iterator[Path]:
    """Write one file after the other, each of a part of the hours, as engagement comes in."""
    rng = np.random.default_rng(7)
    parts = 12
    for part in range(parts):
        ago_s = DAYS * DAY_S * (parts - part - rng.random(counters // parts)) / parts
        frame = pl.DataFrame(
            {
                "tweet_id": rng.choice(ids, counters // parts),
                "type": pl.Series(TYPES).gather(rng.integers(0, len(TYPES), counters // parts)),
                "at": pl.from_epoch((now_s - ago_s).astype(np.int64)),
                "count": rng.geometric(0.1, counters // parts),
            }
        )
        frame.write_parquet(path)
        yield path


class Reader:
    """The author's browser, signed in."""

    def __init__(self, server: product.Server) -> None:
        self._server = server
        page, cookie, _ = self._send("GET", "/sign-in")
        fields = HiddenFields.of(page) | {"screen_name": world.OWNER, "password": PASSWORD}
        headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        _, session, status = self._send("POST", "/sign-in", urlencode(fields), headers)
        assert status == http.client.SEE_OTHER, status
        self._headers = {"Cookie": f"{cookie}; {session}", "Accept-Encoding": "gzip"}

    def ask(self, path: str) -> Asked:
        """Ask for a page several times, after a first time that fills the caches."""
        sent, _, status = self._send("GET", path, headers=self._headers)
        assert status == http.client.OK, (path, status)
        walls = []
        before_s = cpu_s(self._server.pid)
        for _ in range(REQUESTS):
            began = time.perf_counter()
            self._send("GET", path, headers=self._headers)
            walls.append(1000 * (time.perf_counter() - began))
        used_s = cpu_s(self._server.pid) - before_s
        return Asked(1000 * used_s / REQUESTS, Spread.of(walls), len(sent))

    def _send(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[bytes, str, int]:
        """Return the body, the cookie that was set, and the status."""
        connection = http.client.HTTPConnection(product.HOST, self._server.port, timeout=120)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            cookie = (answer.headers["set-cookie"] or "").partition(";")[0]
            return answer.read(), cookie, answer.status
        finally:
            connection.close()


if __name__ == "__main__":
    main()
