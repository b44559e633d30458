"""The layout of a cluster: its servers, and which part of the counters each has.

`openengagement cluster init` finds it out and records it in PostgreSQL. It stays the same from then
on, because a Tweet's counters are on the shard that its id and the number of shards give: see
`routing`.
"""

import itertools
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg

from openengagement.errors import StoreUnavailable
from openengagement.files import UnusableFile
from openengagement.postgresql import Pool
from openengagement.stores.cluster.clickhouse import Access, Refused, Server, Unreachable
from openengagement.stores.cluster.replicas import IN_SYNC, OUT, Replica
from openengagement.stores.cluster.tables import POSTGRESQL, VERSION, create_cells

Connection = psycopg.Connection[Any]

_SCHEMES: Final = {"clickhouse": 8123, "clickhouses": 8443}  # with their usual ports
_TIMEOUT_S: Final = 5.0
_CREATE_TIMEOUT_S: Final = 60.0  # a replica creates its table in steps that ZooKeeper records
# Before version 20, `is_local` is true for every replica of a server's own shard.
_SHARD: Final = """
SELECT DISTINCT shard_num FROM system.clusters WHERE cluster = '{}' AND is_local FORMAT TSV
"""
_VERIFY: Final = """
SELECT splitByChar('.', version())[1] AS major,
    (SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'cells') AS n
FORMAT TSV
"""
# The replica that a server's table is, if it is replicated.
_REPLICA: Final = """
SELECT replica_name FROM system.replicas WHERE database = currentDatabase() AND table = 'cells'
FORMAT TSV
"""
_LOCK: Final = 7_106_907  # of a transaction that creates the tables; any number
_INIT: Final = "run `openengagement cluster init`"
_NO_TABLES: Final = f"the cluster has no tables yet: {_INIT}"
_EARLIER: Final = (
    "an earlier version of the server made the tables and chose shards otherwise: run its "
    "`openengagement move --from cluster --to FOLDER`, then move the folder to new databases"
)


class UnusableCluster(UnusableFile):
    """The cluster is not as the settings say. The text says what to do."""


@dataclass(frozen=True, slots=True)
class ClickhouseUrl:
    """The parts of `clickhouse://user:password@host:port,host:port/database?cluster=name`."""

    access: Access
    addresses: tuple[tuple[str, int], ...]
    cluster: str


def parse_url(url: str) -> ClickhouseUrl:
    """Parse the URL of a cluster.

    Raises:
        UnusableCluster: it is not one. The text says what is wrong, and repeats no password.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise UnusableCluster(
            f"begin the URL with {' or '.join(f'{each}://' for each in _SCHEMES)}"
        )
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    database = parts.path.removeprefix("/")
    options = parse_qs(parts.query)
    if not hosts or not database.isidentifier() or not set(options) <= {"cluster"}:
        raise UnusableCluster(
            f"write {parts.scheme}://user:password@host,host/database?cluster=name"
        )
    access = Access(
        user=unquote(user) or "default",
        password=unquote(password),
        database=database,
        tls=ssl.create_default_context() if parts.scheme == "clickhouses" else None,
    )
    addresses = tuple(_parse_host(host, _SCHEMES[parts.scheme]) for host in hosts.split(","))
    cluster = options.get("cluster", [""])[-1]
    if not cluster.isidentifier() and (cluster or len(addresses) > 1):
        raise UnusableCluster("name the cluster that joins these servers: ?cluster=name")
    return ClickhouseUrl(access, addresses, cluster)


def _parse_host(text: str, usual_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise UnusableCluster(f"{text!r} is not a host")
    return parts.hostname, parts.port or usual_port


def init_cluster(postgresql: str, url: ClickhouseUrl) -> int:
    """Create the tables on all servers, and record the layout. Return the number of shards.

    It may be repeated, also after a server was added as a further replica.

    Raises:
        UnusableCluster: the servers are not those of the cluster.
        StoreUnavailable: a server does not answer.
    """
    found = [_find(url, address) for address in url.addresses]
    shards = sorted({shard for shard, *_ in found})
    if shards != list(range(1, len(shards) + 1)):
        raise UnusableCluster(f"only shards {shards} of {url.cluster} are in the URL; name all")
    with (
        ExitStack() as stack,
        closing(Pool(postgresql, "Tweet")) as pool,
        pool.connection() as db,
        db.transaction(),
    ):
        for _, server, _ in found:
            stack.callback(server.close)
        db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        _create_tables(db, url)
        known = _read_layout(db)
        replicas = _number(found, known)
        replicated = {each.shard for each in replicas if each.number > 1}
        if replicated and replicated != set(shards):
            raise UnusableCluster("each shard must have replicas, or none")
        for each in replicas:
            _create(each, url.access, replicated=bool(replicated))
        # A replica that is added later has to fetch everything first.
        _record(db, replicas, state=OUT if known else IN_SYNC)
    return len(shards)


def _number(
    found: Sequence[tuple[int, Server, int]], known: Mapping[str, tuple[int, int]]
) -> list[Replica]:
    """Number the replicas of each shard. Known ones keep their number.

    Raises:
        UnusableCluster: the shards are not the known ones.
    """
    shards = {shard for shard, _ in known.values()}
    if known and shards != {shard for shard, *_ in found}:
        raise UnusableCluster(f"the cluster has {len(shards)} shards, which cannot be changed")
    used = set(known.values())
    replicas: list[Replica] = []
    for shard, server, version in found:
        place = known.get(server.name)
        if place is None:
            place = shard, next(n for n in itertools.count(1) if (shard, n) not in used)
            used.add(place)
        replicas.append(Replica(*place, server, version))
    return replicas


def open_replicas(db: Connection, url: ClickhouseUrl) -> list[Replica]:
    """Read the layout.

    Raises:
        UnusableCluster: there is none, or another version of the server made it.
    """
    try:
        layout = db.execute("SELECT version, cluster, database FROM store_layout").fetchone()
        query = "SELECT shard, replica, host, port FROM replicas ORDER BY shard, replica"
        rows = db.execute(query).fetchall()
    except psycopg.errors.UndefinedTable:
        raise UnusableCluster(_NO_TABLES) from None
    if layout is None or not rows:
        raise UnusableCluster(_NO_TABLES)
    _verify_layout(layout, url)
    known = {(host, port) for _, _, host, port in rows}
    if other := sorted({f"{host}:{port}" for host, port in known ^ {*url.addresses}}):
        names = ", ".join(other)
        raise UnusableCluster(f"the cluster was set up with other servers ({names}): {_INIT}")
    servers = [Server(host, port, access=url.access) for _, _, host, port in rows]
    with ExitStack() as on_failure:
        for server in servers:
            on_failure.callback(server.close)
        versions, reason = _verify_servers(servers)
        if not any(versions):
            raise StoreUnavailable("counters", f"no server answers: {reason}")
        on_failure.pop_all()
    oldest = min(filter(None, versions))
    return [
        Replica(shard, number, server, version or oldest)
        for (shard, number, *_), server, version in zip(rows, servers, versions, strict=True)
    ]


@contextmanager
def opened(postgresql: str, url: ClickhouseUrl) -> Iterator[tuple[Connection, list[Replica]]]:
    """Open the database and all replicas for the block.

    Raises:
        UnusableCluster: `cluster init` was not run, or for other servers.
        StoreUnavailable: PostgreSQL does not answer.
    """
    with (
        closing(Pool(postgresql, "Tweet")) as pool,
        pool.connection() as db,
        ExitStack() as stack,
    ):
        replicas = open_replicas(db, url)
        for replica in replicas:
            stack.callback(replica.server.close)
        yield db, replicas


def _find(url: ClickhouseUrl, address: tuple[str, int]) -> tuple[int, Server, int]:
    """Ask a server for its shard and its version, and create the database."""
    access = Access(url.access.user, url.access.password, "default", url.access.tls)
    with closing(Server(*address, access=access)) as server:
        try:
            major = int(server.run("SELECT version()", timeout_s=_TIMEOUT_S).split(b".")[0])
            query = _SHARD.format(url.cluster) if url.cluster else "SELECT 1"
            found = server.run(query, timeout_s=_TIMEOUT_S).split()
            server.run(f"CREATE DATABASE IF NOT EXISTS {url.access.database}", timeout_s=_TIMEOUT_S)
        except (Unreachable, Refused) as error:
            raise StoreUnavailable("counters", str(error)) from error
    if len(found) != 1:
        raise UnusableCluster(f"{server.name} has {len(found)} shards of cluster {url.cluster}")
    return int(found[0]), Server(*address, access=url.access), major


def _create(replica: Replica, access: Access, *, replicated: bool) -> None:
    path = f"/openengagement/{access.database}/cells/{replica.shard}" if replicated else None
    statement = create_cells(replica.version, zookeeper_path=path, replica=replica.number)
    try:
        replica.server.run(statement, timeout_s=_CREATE_TIMEOUT_S)
        found = replica.server.run(_REPLICA, timeout_s=_TIMEOUT_S).decode().strip()
    except (Unreachable, Refused) as error:
        raise StoreUnavailable("counters", str(error)) from error
    if found != (str(replica.number) if replicated else ""):
        name = replica.server.name
        raise UnusableCluster(
            f"{name} has a table of counters already: that of replica {found or 'none'}, not of "
            f"{replica.number if replicated else 'none'}; is a server in the URL twice?"
        )


def _create_tables(db: Connection, url: ClickhouseUrl) -> None:
    db.execute(POSTGRESQL)
    layout = db.execute("SELECT version, cluster, database FROM store_layout").fetchone()
    if layout is None:
        values = (VERSION, url.cluster, url.access.database)
        db.execute("INSERT INTO store_layout VALUES (%s, %s, %s)", values)
    else:
        _verify_layout(layout, url)


def _verify_layout(layout: Sequence[Any], url: ClickhouseUrl) -> None:
    """Verify the version, and that the URL names the cluster and the database of the counters.

    Raises:
        UnusableCluster
    """
    version, cluster, database = layout
    if version > VERSION:
        raise UnusableCluster("a newer version of the server made the tables: use that version")
    if version < VERSION:
        raise UnusableCluster(_EARLIER)
    for what, known, given in (
        ("cluster", cluster, url.cluster),
        ("database", database, url.access.database),
    ):
        if known != given:
            raise UnusableCluster(
                f"the counters are in the {what} {known!r}, but the URL names {given!r}"
            )


def _read_layout(db: Connection) -> dict[str, tuple[int, int]]:
    """Return the shard and the number of each known server."""
    rows = db.execute("SELECT host, port, shard, replica FROM replicas")
    return {f"{host}:{port}": (shard, replica) for host, port, shard, replica in rows}


def _record(db: Connection, replicas: Sequence[Replica], *, state: int) -> None:
    """Record the layout. Replicas that are new get this state."""
    for each in replicas:
        host, _, port = each.server.name.rpartition(":")
        db.execute(
            "INSERT INTO replicas (shard, replica, host, port, state) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            (each.shard, each.number, host, int(port), state),
        )


def _verify_servers(servers: Sequence[Server]) -> tuple[list[int], Unreachable | None]:
    """Return the servers' major versions, 0 for those that do not answer, and why one does not.

    Raises:
        UnusableCluster: one refuses the user, or lacks the database or the table.
    """
    versions: list[int] = []
    reason = None
    for server in servers:
        try:
            versions.append(_verify_server(server))
        except Unreachable as error:
            versions.append(0)
            reason = error
    return versions, reason


def _verify_server(server: Server) -> int:
    """Return a server's major version.

    Raises:
        Unreachable
        UnusableCluster: it refuses the user, or lacks the database or the table.
    """
    try:
        major, tables = server.run(_VERIFY, timeout_s=_TIMEOUT_S).split()
    except Refused as error:
        raise UnusableCluster(f"the server refuses: {error}") from error
    if tables != b"1":
        raise UnusableCluster(f"{server.name} has no table of counters: {_INIT}")
    return int(major)
