"""The service of `peers/http_service` and ours on both cores: same requests, in turns."""

import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import product
import serving
from load import drive
from measure import Spread, ratios
from peers_environment import POSTGRESQL, PYTHON, why_missing
from product import Server
from serving import CONNECTIONS, Case, Maker, RequestSource
from world import World

WORKERS = 2
OWNER_ID = 1
TIMED_CONNECTIONS = 8  # more than elsewhere: few are spread unevenly over the workers
COMPARED = 5  # answers of each kind that must be equal
ATTEMPTS = 2  # an hour may end between two requests to `/28hr`
ENDPOINTS: dict[str, tuple[Callable[[RequestSource], Maker], int]] = {
    "totals": (serving.totals, CONNECTIONS),
    "28hr": (serving.last_28_hours, TIMED_CONNECTIONS),
    "historical": (serving.historical, TIMED_CONNECTIONS),
}


def http_peer(
    world: World, rounds: int, *, sample_s: float = serving.SAMPLE_S
) -> dict[str, dict[str, Any]]:
    """Return `Case.figures` per endpoint as `ours_...` and `peer_...`, `rate_ratio`, `cpu_ratio`.

    The ratios are of neighbouring runs: our rate over theirs, their CPU over ours. If the service
    cannot run, the result only has the reason as `missing`.

    Raises:
        RuntimeError: the service's answer differs from ours.
    """
    if why := why_missing(POSTGRESQL[0]):
        return {name: {"missing": why} for name in ENDPOINTS}
    with product.serving(world.data, workers=WORKERS) as ours, _peer(world) as theirs:
        cases = {}
        for name, (make, connections) in ENDPOINTS.items():
            requested = [
                (make(RequestSource(world, server.port)), server) for server in (ours, theirs)
            ]
            if not any(_same(requested) for _ in range(ATTEMPTS)):
                raise RuntimeError(f"{name}: the peer's answer is not ours")
            cases[name] = [Case(name, server, maker, connections) for maker, server in requested]
        every = [case for pair in cases.values() for case in pair]
        serving.alternate(every, rounds, sample_s=sample_s)
    return {name: _figures(*pair) for name, pair in cases.items()}


def _figures(ours: Case, peer: Case) -> dict[str, Spread]:
    rates = [[run.rate for run in case.runs] for case in (ours, peer)]
    figures = {"ours": ours.figures(), "peer": peer.figures()}
    return {
        "rate_ratio": ratios(*rates),
        "cpu_ratio": ratios(peer.cpu_us, ours.cpu_us),
        **{f"{who}_{name}": each for who in figures for name, each in figures[who].items()},
    }


def _same(requested: Sequence[tuple[Maker, Server]]) -> bool:
    """Send both servers the same requests and compare: their generators draw the same Tweets."""
    made = [[(server, request) for request in make(COMPARED)] for make, server in requested]
    return all(_answer(*ours) == _answer(*peer) for ours, peer in zip(*made, strict=True))


def _answer(server: Server, request: bytes) -> dict[str, Any]:
    whole = drive(server.port, [request], connections=1).last_answer
    serving.check_gzip(whole)
    return msgspec.json.decode(gzip.decompress(whole.partition(b"\r\n\r\n")[2]))


@contextmanager
def _peer(world: World) -> Iterator[Server]:
    """Start the service with the same Tweets, events and keys."""
    folder = world.data.parent
    port = product.free_port()
    keys = world.keys
    settings = {
        "port": port,
        "tweets": str(world.data.with_name(f"{world.data.name}-tweets.parquet")),
        "events": str(folder / "events.parquet"),
        "token": {
            "consumer_key": keys.consumer_key,
            "consumer_secret": keys.consumer_secret,
            "access_token": keys.access_token,
            "access_token_secret": keys.access_token_secret,
            "user_id": OWNER_ID,
        },
    }
    path = folder / "http-peer.json"
    path.write_bytes(msgspec.json.encode(settings))
    serve = Path(__file__).resolve().parent / "peers" / "http_service" / "serve.py"
    with product.other([str(PYTHON), str(serve), str(path)], port) as server:
        yield server
