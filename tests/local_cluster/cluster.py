"""A whole cluster on this machine: stores, event log, API nodes, balancer and consumers.

Three shards of ClickHouse with two replicas each, ZooKeeper, PostgreSQL, three servers of NATS with
a stream that all of them have, two API nodes behind Caddy, and two consumers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from local_cluster.isolation import Network, can_isolate
from local_cluster.nodes import ApiNode, Balancer, ConsumerNode, Place, find_caddy
from openengagement.clock import SystemClock
from openengagement.data_folder import DataFolder, open_data_folder
from openengagement.limits.opening import init_limits
from openengagement.registry.opening import init_registry
from openengagement.settings import Settings
from openengagement.stores.opening import init_stores
from support.clickhouse import Node, ReplicatedCluster
from support.nats_cluster import NatsCluster
from support.ports import HOST, free_port
from support.postgresql import PostgresqlServer, find_programs
from support.server_process import ServerFolder, ServerProcess

STREAM = "EVENTS"
SUBJECTS = ("events.0", "events.1")  # each is read by one consumer
MOVED_CLOCK = Path(__file__).parents[1] / "support" / "moved_clock"
# Commits survive `kill -9` of PostgreSQL, though not of the machine.
POSTGRESQL = {"synchronous_commit": "on", "max_connections": "200"}


@dataclass(frozen=True)
class Second:
    """What the second API node and the second consumer have for faults.

    The file `clock` has the seconds by which their clock is ahead.
    """

    clock: Path
    network: Network | None

    @property
    def place(self) -> Place:
        variables = {"PYTHONPATH": str(MOVED_CLOCK), "MOVED_CLOCK": str(self.clock)}
        return Place(self.network.prefix if self.network else (), variables)


def prepare_second(folder: ServerFolder) -> Second:
    """Make the network, if possible, and the clock."""
    clock = folder.path / "clock"
    clock.write_text("0")
    return Second(clock, Network(folder, 2) if can_isolate() else None)


@dataclass(frozen=True)
class LocalCluster:
    """The running parts. `settings` are those of every node."""

    folder: ServerFolder
    clickhouse: ReplicatedCluster
    postgresql: PostgresqlServer
    log: NatsCluster
    settings: dict[str, str]
    api: list[ApiNode]
    consumers: list[ConsumerNode]
    balancer: Balancer
    second: Second | None = None

    def servers(self) -> list[ServerProcess]:
        """Return all processes that a fault may hit."""
        own = [*self.log.nodes, *self.api, *self.consumers, self.balancer]
        return [*self.clickhouse.folder.servers, self.postgresql, *own]

    @contextmanager
    def opened(self) -> Iterator[DataFolder]:
        """Open the stores, as a command does."""
        data = self.folder.path / "command"
        folder = open_data_folder(data, Settings(**self.settings), clock=SystemClock())
        try:
            yield folder
        finally:
            folder.close()


@contextmanager
def local_cluster(
    *,
    port: int = 0,
    prefix: Callable[[Node], Sequence[str]] = lambda _: (),
    faults: bool = False,
    intake: str = "direct",
) -> Iterator[LocalCluster]:
    """Run a cluster whose balancer has this port, or a free one.

    `prefix` is that of `ReplicatedCluster`, `intake` the setting. For `faults`, the second API node
    and the second consumer have a clock that can be moved, and a network of their own, if this user
    may make one.
    Nothing is left of it at the end, nor if this process is killed.

    Raises:
        ClickHouseMissing, PostgresqlMissing, CaddyMissing: a program is not installed.
    """
    find_caddy()
    find_programs()
    tcp = faults and can_isolate()
    with ReplicatedCluster(prefix=prefix) as clickhouse, _running_postgresql(tcp=tcp) as postgresql:
        folder = ServerFolder("oe-cluster-")
        second = None
        try:
            second = prepare_second(folder) if faults else None
            stores = clickhouse, postgresql
            balancer = port or free_port()
            yield _start(folder, *stores, port=balancer, second=second, intake=intake)
        finally:
            if second and second.network:
                second.network.close()
            folder.remove()


@contextmanager
def _running_postgresql(*, tcp: bool) -> Iterator[PostgresqlServer]:
    """Run the server on its Unix socket, and also on TCP, which asks for no password."""
    address = {"listen_addresses": HOST, "port": str(free_port())} if tcp else {}
    server = PostgresqlServer(**POSTGRESQL, **address)
    try:
        yield server
    finally:
        server.remove()


def _start(
    folder: ServerFolder,
    clickhouse: ReplicatedCluster,
    postgresql: PostgresqlServer,
    *,
    port: int,
    second: Second | None,
    intake: str,
) -> LocalCluster:
    """Start the rest, on the databases."""
    log = NatsCluster(folder)
    log.add_stream(STREAM, ["events.*"])
    settings = _set_up_stores(clickhouse.url("engagement"), postgresql.url)
    url = log.url(STREAM, subjects=SUBJECTS)
    places = [(Place(), settings), (Place(), settings)]
    if second:
        places[1] = second.place, {**settings, **_registry_of(second, postgresql)}
    api, consumers = [], []
    for number, (place, own) in enumerate(places, start=1):
        taking = {**own, "intake": intake, "intake_log": url}
        api.append(ApiNode(folder, number, settings=taking, place=place))
        consumers.append(ConsumerNode(folder, number, settings=own, place=place, url=url))
    if second and second.network:
        ports = [node.port for node in (*clickhouse.nodes, *log.nodes)]
        second.network.link_out([*ports, int(postgresql.port)])
        second.network.link_in(api[1].port)
    balancer = Balancer(folder, port, [f"{HOST}:{node.port}" for node in api])
    starting: list[ServerProcess] = [*api, *consumers, balancer]
    for server in starting:
        server.start(wait=False)
    for server in starting:
        server.wait_until_ready()
    return LocalCluster(
        folder, clickhouse, postgresql, log, settings, api, consumers, balancer, second
    )


def _registry_of(second: Second, postgresql: PostgresqlServer) -> dict[str, str]:
    """Return the setting for a network that no Unix socket may bypass."""
    if not second.network:
        return {}
    return {"registry": f"postgresql://test@{HOST}:{postgresql.port}/postgres"}


def _set_up_stores(clickhouse: str, postgresql: str) -> dict[str, str]:
    """Create the tables. Return the settings of every node."""
    settings = {
        "store": clickhouse,
        "registry": postgresql,
        "server_keys": Fernet.generate_key().decode(),
    }
    init_registry(postgresql)
    init_limits(postgresql)
    init_stores(Settings(**settings))
    return {**settings, "trusted_proxies": HOST, "access_log": "off"}


def write_folder(cluster: LocalCluster, name: str, text: str) -> Path:
    """Write a file that goes with the cluster."""
    file = cluster.folder.path / name
    file.touch(mode=0o600)
    file.write_text(text)
    return file
