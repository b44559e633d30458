"""`make faults`: break each part of a local cluster under load, and measure what that costs.

After each fault, every API node must answer with exactly what was sent, without a hand but what a
service manager does: start again what has died.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from local_cluster.cluster import STREAM, LocalCluster, local_cluster
from local_cluster.load import Load, register_tweets
from support.clickhouse import SESSION_S, Node
from support.server_process import ServerProcess
from support.small_disk import SmallDisk, small_disk
from support.waiting import wait_for

HOLD_S = 6.0  # how long a fault lasts: longer than the sessions of ZooKeeper
# A small part takes tens of KB until eight minutes after it was merged. A replica on a full disk
# merges no more, and its shard refuses every insert from 300 parts on.
DISK = "512m"
LOG_CHARS = 5000  # of the end of each log that is printed if a fault fails
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 2 << 30
CLOCK_S = 120
COLUMNS = ("fault", "no answer", "no new count of HTTP", "no new count of the log", "exact after")
Targets = Callable[[LocalCluster], list[ServerProcess]]
Ports = Callable[[LocalCluster], list[int]]
Hold = Callable[[LocalCluster], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """A fault lasts as long as the block of `hold`. `short` says whether CI tries it."""

    name: str
    hold: Hold
    short: bool = False
    needs: str = ""  # an attribute of what may be missing: network, disk


@dataclass(frozen=True)
class Row:
    """What a fault cost, in seconds."""

    name: str
    answers_s: float
    http_s: float
    log_s: float
    exact_s: float

    def cells(self) -> list[str]:
        figures = (self.answers_s, self.http_s, self.log_s, self.exact_s)
        return [self.name, *(f"{each:.1f} s" for each in figures)]


def killing(targets: Targets) -> Hold:
    """Kill servers with SIGKILL, and start them again at the end."""

    @contextmanager
    def hold(cluster: LocalCluster) -> Iterator[None]:
        chosen = targets(cluster)
        for server in chosen:
            server.kill()
        yield
        for server in chosen:
            if isinstance(server, Node):  # 18.16 starts badly before its old session has ended
                time.sleep(max(0, server.killed_at_s + SESSION_S + 0.5 - time.monotonic()))
            server.start()

    return hold


def freezing(targets: Targets) -> Hold:
    """Stop servers with SIGSTOP, and let them continue at the end."""

    @contextmanager
    def hold(cluster: LocalCluster) -> Iterator[None]:
        chosen = targets(cluster)
        for server in chosen:
            server.freeze()
        yield
        for server in chosen:
            server.wake()

    return hold


def cutting(
    ports: Callable[[LocalCluster], list[int]],
) -> Callable[..., AbstractContextManager[None]]:
    """Cut the second nodes off from servers."""

    @contextmanager
    def hold(cluster: LocalCluster) -> Iterator[None]:
        assert cluster.second
        assert cluster.second.network
        links = [cluster.second.network.links[port] for port in ports(cluster)]
        for link in links:
            link.cut()
        yield
        for link in links:
            link.mend()

    return hold


@contextmanager
def restarting_postgresql(cluster: LocalCluster) -> Iterator[None]:
    """Restart it at once, as an upgrade does."""
    cluster.postgresql.stop()
    cluster.postgresql.start()
    yield


@contextmanager
def moving_clocks(cluster: LocalCluster) -> Iterator[None]:
    """Let the clocks of the second nodes be ahead."""
    assert cluster.second
    cluster.second.clock.write_text(str(CLOCK_S))
    yield
    cluster.second.clock.write_text("0")


def replica(shard: int, number: int) -> Targets:
    return lambda cluster: [cluster.clickhouse.node(shard, number)]


def leader(cluster: LocalCluster) -> list[ServerProcess]:
    return [wait_for(lambda: cluster.log.leader(STREAM), pause_s=0.2, reason="a leader")]


def follower(cluster: LocalCluster) -> list[ServerProcess]:
    (leading,) = leader(cluster)
    return [next(node for node in cluster.log.nodes if node is not leading)]


def both(one: Targets, other: Targets) -> Targets:
    return lambda cluster: [*one(cluster), *other(cluster)]


KINDS: dict[str, Targets] = {
    "a replica of ClickHouse": replica(1, 1),
    "ZooKeeper": lambda cluster: [cluster.clickhouse.zookeeper],
    "PostgreSQL": lambda cluster: [cluster.postgresql],
    "the leader of the log": leader,
    "another server of the log": follower,
    "the balancer": lambda cluster: [cluster.balancer],
    "an API node": lambda cluster: [cluster.api[0]],
    "a consumer": lambda cluster: [cluster.consumers[0]],
}
PAIRS: dict[str, Targets] = {
    "replicas of two shards": both(replica(1, 1), replica(2, 2)),
    "both replicas of a shard": both(replica(3, 1), replica(3, 2)),
    "an API node and a consumer": both(KINDS["an API node"], KINDS["a consumer"]),
    "a replica and the leader of the log": both(replica(1, 2), leader),
    "PostgreSQL and a consumer": both(KINDS["PostgreSQL"], KINDS["a consumer"]),
    "ZooKeeper and an API node": both(KINDS["ZooKeeper"], KINDS["an API node"]),
}
# `make cluster-faults` has the rest: servers of ClickHouse and PostgreSQL, without API nodes.
SHORT = {
    "kill -9: the leader of the log",
    "kill -9: an API node and a consumer",
    "SIGSTOP: an API node",
    "SIGSTOP: a consumer",
    "SIGSTOP: a replica and the leader of the log",
}


def all_faults(disk: SmallDisk | None) -> list[Fault]:
    """Return every fault. `disk` is that of one replica."""
    ways = {"kill -9": killing, "SIGSTOP": freezing}
    servers = [
        Fault(f"{how}: {what}", way(targets), short=f"{how}: {what}" in SHORT)
        for what, targets in (KINDS | PAIRS).items()
        for how, way in ways.items()
    ]
    return [
        *servers,
        Fault("PostgreSQL is restarted", restarting_postgresql, short=True),
        Fault(
            "network cut: an API node and a consumer from a replica",
            cutting(lambda cluster: [cluster.clickhouse.node(2, 1).port]),
            short=True,
            needs="network",
        ),
        Fault(
            "network cut: an API node and a consumer from PostgreSQL",
            cutting(lambda cluster: [int(cluster.postgresql.port)]),
            short=True,
            needs="network",
        ),
        Fault(
            "network cut: a consumer from the log",
            cutting(lambda cluster: [node.port for node in cluster.log.nodes]),
            short=True,
            needs="network",
        ),
        Fault("clocks 120 s apart", moving_clocks, short=True),
        Fault("disk full on a replica", _filling(disk), short=True, needs="disk"),
    ]


def _filling(disk: SmallDisk | None) -> Hold:
    @contextmanager
    def hold(_: LocalCluster) -> Iterator[None]:
        assert disk
        disk.fill()
        yield
        disk.free()

    return hold


def try_faults(*, short: bool, only: str = "", report: Callable[[Row], None]) -> list[str]:
    """Try the faults one after the other. Return the names of those that could not be tried.

    Raises:
        AssertionError: an answer was wrong, or the cluster did not recover.
    """
    with _folders_in_memory(), ExitStack() as stack:
        disks: list[SmallDisk] = []
        cluster = stack.enter_context(
            local_cluster(faults=True, prefix=lambda node: _disk_prefix(node, disks, stack))
        )
        chosen = [
            fault
            for fault in all_faults(disks[0] if disks else None)
            if only in fault.name and (fault.short or not short)
        ]
        assert cluster.second
        there = {"": True, "network": cluster.second.network, "disk": disks}
        load = stack.enter_context(Load(cluster, register_tweets(cluster)))
        for fault in chosen:
            if there[fault.needs]:
                report(_try_showing_logs(fault, cluster, load))
        return [fault.name for fault in chosen if not there[fault.needs]]


@contextmanager
def _folders_in_memory() -> Iterator[None]:
    """Keep temporary files in memory, if there is room: ClickHouse makes tens of thousands.

    Some disks remove no more than a hundred files a second.
    """
    before = tempfile.gettempdir()
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES:
        tempfile.tempdir = str(MEMORY)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _try_showing_logs(fault: Fault, cluster: LocalCluster, load: Load) -> Row:
    try:
        return _try(fault, cluster, load)
    except AssertionError:
        for node in [*cluster.api, *cluster.consumers]:
            print(f"--- {node.name}: {node.log()[-LOG_CHARS:]}", file=sys.stderr)
        raise


def _try(fault: Fault, cluster: LocalCluster, load: Load) -> Row:
    load.resume()
    reads = load.reads
    with fault.hold(cluster):
        time.sleep(HOLD_S)
    healed_s = time.monotonic()
    # The load goes on until each kind of work has gone on.
    seen = {name: stall.value for name, stall in load.stalls.items()}
    for name, stall in load.stalls.items():
        wait_for(
            lambda stall=stall, name=name: stall.value > seen[name],
            pause_s=0.02,
            reason=f"new {name} after {fault.name}",
        )
    longest = {name: stall.so_far_s() for name, stall in load.stalls.items()}
    load.wait_until_exact()
    assert load.wrong == [], f"{fault.name}: {load.wrong[:5]}"
    assert load.reads > reads
    exact_s = time.monotonic() - healed_s
    return Row(fault.name, longest["answers"], longest["retweets"], longest["replies"], exact_s)


def _disk_prefix(node: Node, disks: list[SmallDisk], stack: ExitStack) -> Sequence[str]:
    """Give the second replica of the third shard a small disk, if this system lets us mount one."""
    if (node.shard, node.replica) != (3, 2):
        return ()
    try:
        disk = stack.enter_context(small_disk(Path(node.data) / "data", size=DISK))
    except pytest.skip.Exception as error:
        print(f"SKIPPED: {error}", file=sys.stderr)
        return ()
    disks.append(disk)
    return disk.prefix


def main() -> int:
    """Run the command: print a row for each fault. Return its exit code."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--short", action="store_true", help="only those that CI tries")
    parser.add_argument("--only", default="", help="only those whose name contains this")
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)

    def show(row: Row) -> None:
        print(f"| {' | '.join(row.cells())} |", flush=True)

    skipped = try_faults(short=options.short, only=options.only, report=show)
    for name in skipped:
        print(f"SKIPPED, because it needs root: {name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
