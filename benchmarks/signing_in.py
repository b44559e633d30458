"""The cost of a password check, and the effect of many sign-ins on other requests."""

import http.client
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from urllib.parse import urlencode

import product
from load import drive
from measure import Spread, cores
from product import HOST
from serving import BY_TWEET, PUBLIC, RequestSource
from world import World

from openengagement.engagement.types import Endpoint
from openengagement.sign_in.passwords import hash_password

CROWD = 4
REQUESTS = 1500
CONNECTIONS = 4
HASHES = 10


def signing_in(world: World, rounds: int) -> dict[str, Spread]:
    """Measure Argon2id alone, and `/totals` with and without sign-ins, on both cores."""
    hash_password("to warm it up")
    began = time.perf_counter()
    for _ in range(HASHES):
        hash_password("a password like any other")
    hash_ms = (time.perf_counter() - began) / HASHES * 1000
    idle, crowded, served = [], [], []
    with product.serving(world.data) as server:
        source = RequestSource(world, server.port)
        bodies = source.bodies(REQUESTS, tweets=1, types=PUBLIC, groupings=BY_TWEET)
        requests = source.requests(Endpoint.TOTALS, bodies, bearer=True)

        def p99_ms() -> float:
            driven = drive(server.port, requests, connections=CONNECTIONS, core=cores()[1])
            return driven.percentile_ms(0.99)

        p99_ms()
        for _ in range(rounds):
            idle.append(p99_ms())
            with _crowd(server.port) as count:
                began = time.perf_counter()
                crowded.append(p99_ms())
                served.append(next(count) / (time.perf_counter() - began))
    return {
        "hash_ms": Spread(hash_ms, hash_ms, hash_ms, 1),
        "idle_p99_ms": Spread.of(idle),
        "crowded_p99_ms": Spread.of(crowded),
        "sign_ins": Spread.of(served),
    }


@contextmanager
def _crowd(port: int) -> Iterator[Iterator[int]]:
    """Sign in with wrong names without a pause; yields the number of answers."""
    stop, answered = threading.Event(), itertools.count()

    def sign_in_repeatedly(who: int) -> None:
        for index in itertools.count():
            if stop.is_set():
                return
            _sign_in(port, f"nobody_{who}_{index}")
            next(answered)

    producers = [threading.Thread(target=sign_in_repeatedly, args=(each,)) for each in range(CROWD)]
    for each in producers:
        each.start()
    try:
        yield answered
    finally:
        stop.set()
        for each in producers:
            each.join()


def _sign_in(port: int, screen_name: str) -> None:
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    try:
        connection.request("GET", "/sign-in")
        page = connection.getresponse()
        cookie = page.headers["set-cookie"].partition(";")[0]
        fields = HiddenFields.of(page.read()) | {
            "screen_name": screen_name,
            "password": "a wrong password",
        }
        headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/sign-in", urlencode(fields), headers)
        connection.getresponse().read()
    finally:
        connection.close()


class HiddenFields(HTMLParser):
    """The hidden fields of a page's form."""

    @classmethod
    def of(cls, page: bytes) -> dict[str, str]:
        """Read them."""
        reader = cls()
        reader.feed(page.decode())
        return reader.fields

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "input" and given.get("type") == "hidden":
            self.fields[given["name"] or ""] = given.get("value") or ""
