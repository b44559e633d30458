"""Temporary ClickHouse clusters: a current version, and an old one that replicates."""

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote
from xml.sax.saxutils import escape

import requests

from support.ports import HOST, free_port
from support.server_process import ServerFolder, ServerProcess
from support.waiting import PATIENCE_S, wait_for
from support.zookeeper import ZooKeeper, ZooKeeperMissing

TESTS = Path(__file__).resolve().parents[1]
LIBRARY = TESTS / "clickhouse/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"
LOCAL = Path(__file__).with_name("clickhouse_local.py")
PATH = f"{os.environ['PATH']}:/usr/sbin"  # Debian installs the server there
SHARDS = 3
CLUSTER = "test"
USER = "tester"
PASSWORD = "pass:word@/%"  # a URL must quote it
# Codes of refused inserts while a server has no session at ZooKeeper: any of them can come.
ZOOKEEPER_CODES = (225, 242, 999)
SESSION_S = 3
# The library serves as long as this query runs, which is forever.
SERVE = (
    "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; "
    "SELECT sum(sleepEachRow(3)) FROM system.numbers "
    "SETTINGS max_block_size=1, function_sleep_max_microseconds_per_block=0 FORMAT Null"
)


class ClickHouseMissing(Exception):
    """ClickHouse cannot run here. The text says why."""


class ClickHouseError(Exception):
    """A server refused a statement. `code` is ClickHouse's, 60 for an unknown table."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(f"{response.status_code}: {response.text[:2000]}")
        self.status = response.status_code
        self.text = response.text
        found = re.search(r"Code: (\d+)", response.text)  # 18.16 has no header for it
        self.code = int(found[1]) if found else 0


class Node(ServerProcess):
    """One ClickHouse server: one replica of one shard. Both are counted from 1."""

    def __init__(self, folder: ServerFolder, *, shard: int, replica: int) -> None:
        super().__init__(folder, f"shard{shard}-replica{replica}")
        self.shard = shard
        self.replica = replica
        self.host = HOST
        self.port = free_port()  # HTTP
        self.https_port = free_port()
        self.tcp_port = free_port()
        self.replication_port = free_port()
        self.data = folder.path / self.name

    def configure(
        self, *, root: str, settings: Mapping[str, Any], users: Mapping[str, Any]
    ) -> Path:
        """Write the configuration. Returns its file."""
        self.data.mkdir()
        users_file = self.data / "users.xml"
        users_file.write_text(to_xml(root, users))
        own = {
            "path": f"{self.data}/",
            "tmp_path": f"{self.data}/tmp/",
            "users_config": users_file,
            "listen_host": HOST,
            "http_port": self.port,
            "tcp_port": self.tcp_port,
            "timezone": "UTC",
            "macros": {"shard": self.shard, "replica": self.replica},
        }
        file = self.data / "config.xml"
        file.write_text(to_xml(root, {**own, **settings}))
        return file

    def is_ready(self) -> bool:
        """Return whether it answers its health check."""
        try:
            return requests.get(f"http://{HOST}:{self.port}/ping", timeout=1).content == b"Ok.\n"
        except requests.RequestException:
            return False

    def run(self, statement: str, *, body: bytes = b"", **parameters: object) -> str:
        """Run a statement, with `database` and settings as parameters. Returns the output.

        Raises:
            ClickHouseError: The server refused it.
        """
        response = requests.post(
            f"http://{HOST}:{self.port}/",
            params={"query": statement, **parameters},
            data=body,
            auth=(USER, PASSWORD),
            timeout=PATIENCE_S,
        )
        if response.status_code != 200:
            raise ClickHouseError(response)
        return response.text


class ClickHouseCluster:
    """Servers on this machine. All start in the constructor."""

    name = CLUSTER
    user = USER
    password = PASSWORD
    replicas: ClassVar[int]

    def __init__(self, *, shards: int = SHARDS) -> None:
        self.shards = shards
        self.folder = ServerFolder("oe-clickhouse-")
        try:
            self.nodes = [
                Node(self.folder, shard=shard, replica=replica)
                for shard in range(1, shards + 1)
                for replica in range(1, self.replicas + 1)
            ]
            self.configure()
            self.start()
        except BaseException:
            self.folder.remove()
            raise

    def configure(self) -> None:
        """Write the configuration of all servers, and set their commands."""
        raise NotImplementedError

    def node(self, shard: int, replica: int = 1) -> Node:
        """Return a server by its numbers, which start at 1."""
        return self.nodes[(shard - 1) * self.replicas + replica - 1]

    def url(self, database: str) -> str:
        """Return the value of OPENENGAGEMENT_STORE for this database."""
        return self.format_url("clickhouse", [node.port for node in self.nodes], database)

    def format_url(self, scheme: str, ports: Iterable[int], database: str) -> str:
        """Return the URL of these ports."""
        hosts = ",".join(f"{HOST}:{port}" for port in ports)
        user = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"{scheme}://{user}@{hosts}/{database}?cluster={self.name}"

    def start(self) -> None:
        """Start or wake every server. Returns when all of them answer."""
        for server in self.folder.servers:
            server.wake()
            server.start(wait=False)
        for server in self.folder.servers:
            server.wait_until_ready()

    def stop(self) -> None:
        """Stop every server. Nothing that was acknowledged is lost."""
        for server in self.folder.servers:
            server.stop()

    def run(self, statement: str, **parameters: object) -> list[str]:
        """Run a statement on every server. Returns the outputs in the order of `nodes`."""
        return [node.run(statement, **parameters) for node in self.nodes]

    def synchronize(self, table: str) -> None:
        """Wait until every replica of a table has what was acknowledged."""

    def remove(self) -> None:
        """Kill all servers, and delete their data."""
        self.folder.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remote_servers(self) -> dict[str, Any]:
        """Return the definition of the cluster."""
        return {
            CLUSTER: {
                "shard": [
                    {
                        "internal_replication": "true",
                        "replica": [self._address(node) for node in self.nodes if node.shard == n],
                    }
                    for n in range(1, self.shards + 1)
                ]
            }
        }

    @staticmethod
    def _address(node: Node) -> dict[str, Any]:
        return {"host": HOST, "port": node.tcp_port, "user": USER, "password": PASSWORD}


class ModernCluster(ClickHouseCluster):
    """ClickHouse 26.7: shards without replication, from chDB's library."""

    replicas = 1

    def configure(self) -> None:
        if not LIBRARY.exists():
            raise ClickHouseMissing(
                "chDB's library is not installed (make interop), or not for here"
            )
        settings = {
            "remote_servers": self.remote_servers(),
        }
        # The query of the command line runs as this user, who needs no password.
        rights = ["GRANT SYSTEM ON *.*", "GRANT SELECT ON system.numbers"]
        default = {**user_with(password="", ip=HOST), "grants": {"query": rights}}
        users = users_with(default=default)
        for node in self.nodes:
            config = node.configure(root="clickhouse", settings=settings, users=users)
            options = [
                f"--config-file={config}",
                "--log-level=warning",
                f"--path={node.data}",
                f"--listen_host={HOST}",
                f"--http_port={node.port}",
                f"--tcp_port={node.tcp_port}",
                f"--query={SERVE}",
            ]
            node.command = [sys.executable, "-I", "-S", LOCAL, LIBRARY, *options]


class ReplicatedCluster(ClickHouseCluster):
    """Debian's ClickHouse 18.16: three shards of two replicas, and ZooKeeper.

    `zookeeper` can be killed and frozen like a node. The path of a table in ZooKeeper must contain
    {shard} and the name of the database. With `tls`, the files of a certificate and its key, the
    servers also serve HTTPS. `prefix` returns what the command of a server begins with.
    """

    replicas = 2
    zookeeper: ZooKeeper

    def __init__(
        self,
        *,
        tls: tuple[Path, Path] | None = None,
        prefix: Callable[[Node], Sequence[str]] = lambda _: (),
    ) -> None:
        self.tls = tls
        self.prefix = prefix
        super().__init__()

    def url(self, database: str) -> str:
        """Return the value of OPENENGAGEMENT_STORE, with HTTPS if the servers have it."""
        if not self.tls:
            return super().url(database)
        return self.format_url("clickhouses", [node.https_port for node in self.nodes], database)

    def configure(self) -> None:
        program = shutil.which("clickhouse-server", path=PATH)
        if not program:
            raise ClickHouseMissing(
                "ClickHouse is not installed (Debian 12: apt-get install clickhouse-server)"
            )
        try:
            self.zookeeper = ZooKeeper(self.folder)
        except ZooKeeperMissing as error:
            raise ClickHouseMissing(str(error)) from None
        for node in self.nodes:
            config = node.configure(
                root="yandex", settings=self._settings(node), users=users_with()
            )
            node.command = [*self.prefix(node), program, f"--config-file={config}"]

    def _settings(self, node: Node) -> dict[str, Any]:
        address = {"host": HOST, "port": self.zookeeper.port}
        return {
            "remote_servers": self.remote_servers(),
            "zookeeper": {"node": address, "session_timeout_ms": SESSION_S * 1000},
            "interserver_http_host": HOST,
            "interserver_http_port": node.replication_port,
            "distributed_ddl": {"path": "/clickhouse/task_queue/ddl"},
            "mark_cache_size": 64 << 20,
            "default_profile": "default",
            "default_database": "default",
            "logger": {"level": "warning", "console": 1},
            **self._tls_settings(node),
        }

    def _tls_settings(self, node: Node) -> dict[str, Any]:
        if not self.tls:
            return {}
        certificate, key = self.tls
        files = {"certificateFile": certificate, "privateKeyFile": key}
        server = {**files, "verificationMode": "none", "loadDefaultCAFile": "false"}
        return {"https_port": node.https_port, "openSSL": {"server": server}}

    def start(self) -> None:
        """Start or wake every server. Returns when all replicas accept inserts.

        ZooKeeper keeps the session of a killed server for SESSION_S. A server that starts earlier
        finds itself active, and 18.16 tries again only after 10 s, so this waits first. It cannot
        avoid these 10 s after ZooKeeper was killed.
        """
        ended = [node.killed_at_s for node in self.nodes if not node.is_running]
        time.sleep(max(0, max(ended, default=0) + SESSION_S + 0.5 - time.monotonic()))
        super().start()
        for node in self.nodes:
            wait_for(lambda node=node: self._is_writable(node), pause_s=0.05, reason=node.log)

    def synchronize(self, table: str) -> None:
        self.run(f"SYSTEM SYNC REPLICA {table}")

    @staticmethod
    def _is_writable(node: Node) -> bool:
        waiting = "SELECT count() FROM system.replicas WHERE is_readonly OR is_session_expired"
        try:
            node.run("SELECT name FROM system.zookeeper WHERE path = '/'")
            return node.run(waiting) == "0\n"
        except ClickHouseError as error:
            if error.code in ZOOKEEPER_CODES:
                return False
            raise


def users_with(**others: object) -> dict[str, Any]:
    """Return the user configuration: the user of the tests, and others."""
    users = {USER: user_with(password=PASSWORD, ip=HOST), **others}
    return {"profiles": {"default": {}}, "quotas": {"default": {}}, "users": users}


def user_with(*, password: str, ip: str) -> dict[str, Any]:
    """Return the configuration of a user who may connect from one address."""
    rest = {"profile": "default", "quota": "default"}
    return {"password": password, "networks": {"ip": ip}, **rest}


def to_xml(tag: str, value: object) -> str:
    """Return an element. A mapping holds child elements, and a list repeats the element."""
    if isinstance(value, list):
        return "".join(to_xml(tag, each) for each in value)
    if isinstance(value, Mapping):
        inner = "".join(to_xml(name, child) for name, child in value.items())
    else:
        inner = escape(str(value))
    return f"<{tag}>{inner}</{tag}>"
