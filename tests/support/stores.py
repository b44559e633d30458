"""The stores of the servers under test: files in the data folder, or databases that start here.

TEST_STORES chooses: `embedded` (the default), `cluster` (PostgreSQL and three shards of a current
ClickHouse) or `replicated` (PostgreSQL and three shards of two replicas, and two API nodes).

The databases of a data folder are in a file beside it. They are created at the first use.
"""

import atexit
import itertools
import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from cryptography.fernet import Fernet

from openengagement.limits.opening import init_limits
from openengagement.registry.opening import init_registry
from openengagement.registry.version_watch import CHANNEL, VERSION_QUERY, WATCH_NAME
from openengagement.stores.cluster.opening import init_cluster
from support.clickhouse import ClickHouseCluster, ModernCluster, ReplicatedCluster
from support.postgresql import PostgresqlServer
from support.waiting import wait_for

KIND = os.environ.get("TEST_STORES", "embedded")
NODES = 2 if KIND == "replicated" else 1  # processes of `serve` behind one address
SERVED: dict[str, Path] = {}  # the data folders of the servers that run, by the server's URL
_CLUSTERS = {"cluster": ModernCluster, "replicated": ReplicatedCluster}
_KNOWN: dict[Path, int] = {}  # a version of the credentials that all servers of a folder know
_NUMBERS = itertools.count(1)


def settings_of(data: Path) -> Mapping[str, str]:
    """Return the settings that name the stores of this data folder."""
    if KIND == "embedded":
        return {}
    file = _file_of(data)
    if not file.exists():
        postgresql, clickhouse = _urls(f"stores{next(_NUMBERS)}")
        _run(f"CREATE DATABASE {_name(postgresql)}")
        init_registry(postgresql)
        init_limits(postgresql)
        init_cluster(postgresql, clickhouse)
        _write(file, postgresql, clickhouse, Fernet.generate_key().decode())
    found: Mapping[str, str] = json.loads(file.read_text())
    return found


def wait_for_change_at(url: str) -> None:
    """Wait until every process of this server knows a change that one of them has made."""
    if data := SERVED.get(url):
        wait_for_change(data)


def wait_for_change(data: Path) -> None:
    """Wait until running servers know a change of credentials by another process.

    With files they know it at once. With PostgreSQL each of them asks for the version when it is
    notified. When it asks for the second time, it has the answer to the first question.
    """
    if KIND == "embedded" or data not in SERVED.values():
        return
    with psycopg.connect(registry_url(data), autocommit=True) as db:
        (version,) = db.execute(VERSION_QUERY).fetchone() or ()
        if _KNOWN.get(data) == version:
            return
        for _ in range(2):
            (now,) = db.execute("SELECT clock_timestamp()").fetchone() or ()
            wait_for(partial(_all_have_asked, db, now), pause_s=0.002)
        _KNOWN[data] = version


def _all_have_asked(db: psycopg.Connection[Any], since: datetime) -> bool:
    """Return whether every server has asked for the version. Notify those that have not."""
    watches = db.execute(
        "SELECT query_start > %s FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = %s AND query = %s",
        (since, WATCH_NAME, VERSION_QUERY),
    ).fetchall()
    if all(asked for (asked,) in watches):
        return True
    db.execute(f"NOTIFY {CHANNEL}")
    return False


def query_registry(data: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run a statement in the registry, with `?` for values."""
    if url := registry_url(data):
        with psycopg.connect(url) as db:
            cursor = db.execute(statement.replace("?", "%s"), values)
            return cursor.fetchall() if cursor.description else []
    with closing(sqlite3.connect(data / "registry.sqlite3")) as files, files:
        return files.execute(statement, values).fetchall()


def registry_url(data: Path) -> str:
    """Return the URL of the registry and the limits, empty if the data folder has them."""
    return settings_of(data).get("registry", "")


def copy_stores(data: Path, *, to: Path) -> None:
    """Copy the databases of a data folder for a copy of it. No server may use them."""
    if KIND == "embedded":
        return
    known = settings_of(data)
    postgresql, clickhouse = _urls(f"stores{next(_NUMBERS)}")
    _run(f"CREATE DATABASE {_name(postgresql)} TEMPLATE {_name(known['registry'])}")
    before, after = _name(known["store"]), _name(clickhouse)
    with psycopg.connect(postgresql) as db:
        db.execute("UPDATE store_layout SET database = %s", (after,))
    init_cluster(postgresql, clickhouse)
    for node in _clickhouse().nodes:
        if node.replica == 1:
            node.run(f"INSERT INTO {after}.cells SELECT * FROM {before}.cells")
    _clickhouse().synchronize(f"{after}.cells")
    _write(_file_of(to), postgresql, clickhouse, known["server_keys"])


def _file_of(data: Path) -> Path:
    return data.with_name(f"{data.name}.stores")


def _write(file: Path, postgresql: str, clickhouse: str, keys: str) -> None:
    settings = {"registry": postgresql, "store": clickhouse, "server_keys": keys}
    file.write_text(json.dumps(settings))


def _urls(name: str) -> tuple[str, str]:
    name = f"{name}_{os.getpid()}"
    url = urlsplit(_postgresql().url)
    return url._replace(path=f"/{name}").geturl(), _clickhouse().url(name)


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _run(statement: str) -> None:
    with psycopg.connect(_postgresql().url, autocommit=True) as db:
        db.execute(statement)


@cache
def _postgresql() -> PostgresqlServer:
    server = PostgresqlServer(max_connections="1000")  # many servers share it
    atexit.register(server.remove)
    return server


@cache
def _clickhouse() -> ClickHouseCluster:
    servers = _CLUSTERS[KIND]()
    atexit.register(servers.remove)
    return servers
