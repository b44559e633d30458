"""The longest wait of a read and of an acknowledgement while `openengagement prune` runs."""

import product
from growth import Grown
from load import Driven, pace
from measure import Spread, ratios, wait_until_idle
from producers import Plan, Produced, producing
from serving import BY_TWEET, TOTALS_TYPES, RequestSource
from sizes import Sizes
from sustained import WORKERS, Stream

from openengagement.engagement.types import Endpoint

# Each round removes what the earlier ones left of older hours: two to three of all Tweets.
OLDER_THAN_DAYS = (24, 19, 14, 9, 4)
READS_PER_S = 50.0
CONNECTIONS = 16
BATCH_LINES = 1_000
PRODUCERS = 1
PAUSE_S = 0.05
FILES = 20  # of the stream, 5,000 batches: more than there is time for
LOOK_S = 1.0  # reads are made for so long at a time, for as long as it runs


def pruning(grown: Grown, events: Stream, sizes: Sizes) -> dict[str, dict[str, Spread]]:
    """Alternate idle and pruning turns: reads of 250 Tweets at a steady rate, and small batches."""
    data = grown.world.data
    idle, busy, took_s = [], [], []
    with product.serving(data, workers=WORKERS) as server:
        source = RequestSource(grown.world, server.port)
        plan = Plan(
            server.port,
            grown.world.keys.platform_key,
            list(map(str, events.files[:FILES])),
            BATCH_LINES,
            PRODUCERS,
            pause_s=PAUSE_S,
        )
        _look(source, server.port)
        for days in OLDER_THAN_DAYS[: sizes.rounds]:
            wait_until_idle(server.pid)
            with producing(plan) as running:
                reads = [_look(source, server.port) for _ in range(int(sizes.pace_s))]
            idle.append((reads, running.produced))
            with producing(plan) as running:
                _look(source, server.port)  # the producer is under way by then
                command = product.Command(data, "prune", "--older-than-days", str(days))
                reads = [_look(source, server.port)]
                while command.running:
                    reads.append(_look(source, server.port))
                took_s.append(_pruned(command))
            busy.append((reads, running.produced))
    return {"prune": _figures(idle, busy) | {"took_s": Spread.of(took_s)}}


def _pruned(command: product.Command) -> float:
    """Prune and return the duration.

    Raises:
        RuntimeError: there was nothing to prune, so nothing was measured.
    """
    ran = command.wait()
    if not ran.answer["pruned_counters"]:
        raise RuntimeError("nothing was pruned")
    return ran.wall_s


def _look(source: RequestSource, port: int) -> Driven:
    bodies = source.bodies(
        int(READS_PER_S * LOOK_S), tweets=250, types=TOTALS_TYPES, groupings=BY_TWEET
    )
    requests = source.requests(Endpoint.TOTALS, bodies)
    return pace(port, requests, rate=READS_PER_S, connections=CONNECTIONS)


Round = tuple[list[Driven], Produced]


def _figures(idle: list[Round], busy: list[Round]) -> dict[str, Spread]:
    reads = [
        [max(run.percentile_ms(1) for run in reads) for reads, _ in each] for each in (idle, busy)
    ]
    acks = [[max(run.latencies_ms()) for _, run in each] for each in (idle, busy)]
    return {
        "read_ms": Spread.of(reads[1]),
        "read_idle_ms": Spread.of(reads[0]),
        "read_ratio": ratios(reads[1], reads[0]),
        "ack_ms": Spread.of(acks[1]),
        "ack_idle_ms": Spread.of(acks[0]),
        "ack_ratio": ratios(acks[1], acks[0]),
    }
