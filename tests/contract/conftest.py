"""The store under test, for each engine, and other processes on it."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from contract.backends import BACKENDS, ChosenClock
from contract.cluster import Cluster
from openengagement.stores.cluster.opening import init_cluster
from support.clickhouse import ClickHouseMissing, ModernCluster, ReplicatedCluster
from support.postgresql import PostgresqlMissing, PostgresqlServer
from support.waiting import PATIENCE_S

NUMBERS = itertools.count()
WORKER = Path(__file__).with_name("worker.py")


@pytest.fixture(
    params=[
        "embedded",
        *(pytest.param(name, marks=pytest.mark.heavy) for name in ("cluster", "replicated")),
    ]
)
def backend(request, tmp_path):
    made = BACKENDS[request.param](tmp_path)
    made.name = request.param
    if request.param != "embedded":
        made.set_urls(*request.getfixturevalue(f"{request.param}_urls"))
    return made


@pytest.fixture(scope="session")
def modern_servers():
    try:
        servers = ModernCluster()
    except ClickHouseMissing as error:
        pytest.skip(str(error))
    yield servers
    servers.remove()


@pytest.fixture(scope="module", params=[2, 4])
def even_servers(request):
    try:
        servers = ModernCluster(shards=request.param)
    except ClickHouseMissing as error:
        pytest.skip(str(error))
    yield servers
    servers.remove()


@pytest.fixture(scope="session")
def replicated_servers():
    try:
        servers = ReplicatedCluster()
    except ClickHouseMissing as error:
        pytest.skip(str(error))
    yield servers
    servers.remove()


@pytest.fixture
def cluster_urls(modern_servers, postgresql_server):
    return empty_cluster(modern_servers, postgresql_server)


@pytest.fixture
def replicated_urls(replicated_servers, postgresql_server):
    return empty_cluster(replicated_servers, postgresql_server)


def empty_cluster(servers, postgresql_server):
    """Create the tables in a new database on each server. Return the URLs."""
    postgresql_server.drop()
    url = servers.url(f"contract{next(NUMBERS)}")
    init_cluster(postgresql_server.url, url)
    return postgresql_server.url, url


def running(kind, servers, postgresql):
    """Yield a cluster with empty tables. Start its servers again if a test has stopped them."""
    yield Cluster(kind, servers, postgresql=postgresql, urls=empty_cluster(servers, postgresql))
    servers.start()


@pytest.fixture(params=["cluster", "replicated"])
def cluster(request, postgresql_server):
    names = {"cluster": "modern_servers", "replicated": "replicated_servers"}
    servers = request.getfixturevalue(names[request.param])
    yield from running(request.param, servers, postgresql_server)


@pytest.fixture
def replicated(replicated_servers, postgresql_server):
    yield from running("replicated", replicated_servers, postgresql_server)


@pytest.fixture
def modern(modern_servers, postgresql_server):
    yield from running("cluster", modern_servers, postgresql_server)


@pytest.fixture
def even(even_servers, postgresql_server):
    """A cluster with an even number of shards."""
    yield from running("cluster", even_servers, postgresql_server)


@pytest.fixture
def clock():
    return ChosenClock()


@pytest.fixture
def store(backend, clock):
    opened = backend.open(clock)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def postgresql_server():
    try:
        server = PostgresqlServer()
    except PostgresqlMissing as error:
        pytest.skip(str(error))
    yield server
    server.remove()


class Worker:
    """Another process on the same store."""

    def __init__(self, backend):
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), backend.name, str(backend.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.answer() == "ready"

    def send(self, *command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        assert line, f"the worker ended: {self.process.wait()}"
        return json.loads(line)

    def ask(self, *command):
        self.send(*command)
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(PATIENCE_S) in {0, 9}


@pytest.fixture
def start_worker(backend):
    workers = []

    def start():
        workers.append(Worker(backend))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()
