"""The temporary ClickHouse clusters do what the other tests expect of them."""

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from support.clickhouse import (
    ZOOKEEPER_CODES,
    ClickHouseError,
    ClickHouseMissing,
    ModernCluster,
    ReplicatedCluster,
)
from support.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.heavy

TESTS = Path(__file__).resolve().parents[1]
CLUSTERS = {"modern": ModernCluster, "replicated": ReplicatedCluster}
ENGINES = {
    "modern": "MergeTree()",
    "replicated": "ReplicatedMergeTree('/db/{shard}/own', '{replica}')",
}
CERTIFICATE = (
    "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 "
    "-addext subjectAltName=IP:127.0.0.1"
)
LEAVE = """
import sys
from support.server_process import ServerFolder, ServerProcess

folder = ServerFolder("oe-left-")
server = ServerProcess(folder, "sleeper", command=["sleep", "infinity"])
server.start(wait=False)
if "frozen" in sys.argv:
    server.freeze()
print(server.pid, folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module", params=CLUSTERS)
def started(request):
    try:
        cluster = CLUSTERS[request.param]()
    except ClickHouseMissing as error:
        pytest.skip(str(error))
    engine = ENGINES[request.param]
    with cluster:
        cluster.run("CREATE DATABASE db")
        cluster.run(f"CREATE TABLE db.own (id Int64) ENGINE = {engine} ORDER BY id")
        cluster.run("CREATE TABLE db.every (id Int64) ENGINE = Distributed(test, db, own, id)")
        yield cluster


only_replicated = pytest.mark.parametrize("started", ["replicated"], indirect=True)


@pytest.fixture
def cluster(started):
    yield started
    started.start()
    started.synchronize("db.own")


def count(node, table="db.own"):
    return int(node.run(f"SELECT count() FROM {table}"))


def test_every_server_lists_every_replica(cluster):
    # `is_local` is no help to find oneself: 18.16 says it of all replicas of the own shard.
    query = "SELECT shard_num, replica_num, port FROM system.clusters WHERE cluster = 'test'"
    expected = [f"{node.shard}\t{node.replica}\t{node.tcp_port}" for node in cluster.nodes]
    assert [sorted(listed.splitlines()) for listed in cluster.run(query)] == [
        sorted(expected) for _ in cluster.nodes
    ]


def test_macros_name_the_replica(cluster):
    query = "SELECT substitution FROM system.macros ORDER BY macro"
    assert cluster.run(query) == [f"{node.replica}\n{node.shard}\n" for node in cluster.nodes]


def test_url_names_every_server(cluster):
    url = cluster.url("db")
    assert url.startswith("clickhouse://tester:pass%3Aword%40%2F%25@127.0.0.1:")
    assert url.endswith(f":{cluster.nodes[-1].port}/db?cluster=test")
    assert url.count("127.0.0.1:") == 3 * cluster.replicas


def test_a_distributed_table_writes_to_and_reads_from_all_shards(cluster):
    before = count(cluster.node(1), "db.every")
    own = [count(cluster.node(shard)) for shard in (1, 2, 3)]
    insert = "INSERT INTO db.every SELECT number FROM system.numbers LIMIT 300"
    cluster.node(1).run(insert, insert_distributed_sync=1)
    cluster.synchronize("db.own")
    assert {count(node, "db.every") for node in cluster.nodes} == {before + 300}
    assert [count(cluster.node(shard)) for shard in (1, 2, 3)] == [each + 100 for each in own]


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_server_that_ended_refuses_connections_and_kept_its_rows(cluster, end):
    node = cluster.node(2)
    node.run("INSERT INTO db.own VALUES (1)")
    before = count(node)
    getattr(node, end)()
    with pytest.raises(requests.ConnectionError):
        count(node)
    cluster.start()
    assert count(node) == before


def test_a_frozen_server_accepts_connections_and_does_not_answer(cluster):
    node = cluster.node(3)
    node.freeze()
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"http://{node.host}:{node.port}/ping", timeout=0.5)
    node.wake()
    assert node.run("SELECT 1") == "1\n"


@pytest.mark.parametrize(
    "credentials", [("tester", "wrong"), ("nobody", "pass:word@/%"), ("default", ""), None]
)
def test_another_user_or_password_is_refused(cluster, credentials):
    url = f"http://{cluster.node(1).host}:{cluster.node(1).port}/"
    query = {"query": "SELECT count() FROM db.own"}
    response = requests.get(url, params=query, auth=credentials, timeout=PATIENCE_S)
    assert response.status_code in {401, 403, 500}
    assert "Exception" in response.text


def test_an_error_has_its_code(cluster):
    with pytest.raises(ClickHouseError) as error:
        cluster.node(1).run("SELECT * FROM nothing")
    assert error.value.code == 60


@pytest.mark.parametrize(
    "sent", [b"", b"garbage\r\n\r\n", b"POST /?query=x HTTP/1.1\r\nContent-Length: 99\r\n\r\nhalf"]
)
def test_a_server_survives_a_client_that_resets_its_connection(cluster, sent):
    node = cluster.node(1)
    for port in (node.port, node.tcp_port):
        with socket.create_connection((node.host, port)) as connection:
            connection.sendall(sent)
            time.sleep(0.1)  # so that the server has begun to read
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.3)  # so that the server has noticed
    assert node.is_running
    assert node.run("SELECT 1") == "1\n"


@only_replicated
def test_a_replica_gets_the_rows_of_the_other(cluster):
    for replica, other in ((1, 2), (2, 1)):
        before = count(cluster.node(1, other))
        cluster.node(1, replica).run(f"INSERT INTO db.own VALUES ({before}), ({-before})")
        wait_for(lambda: count(cluster.node(1, other)) == before + 2)  # noqa: B023 - ends before


@only_replicated
@pytest.mark.parametrize("absence", ["kill", "freeze"])
def test_a_replica_that_was_away_gets_what_it_missed(cluster, absence):
    away, present = cluster.node(3, 1), cluster.node(3, 2)
    getattr(away, absence)()
    before = count(present)
    present.run(f"INSERT INTO db.own VALUES ({before})")
    cluster.start()
    wait_for(lambda: count(away) == before + 1)


@only_replicated
@pytest.mark.parametrize("absence", ["kill", "freeze"])
def test_without_zookeeper_reads_continue_and_inserts_are_refused(cluster, absence):
    before = count(cluster.node(1))
    getattr(cluster.zookeeper, absence)()
    insert = f"INSERT INTO db.own VALUES ({before})"
    with pytest.raises(ClickHouseError) as error:
        cluster.node(1).run(insert)
    assert error.value.code in ZOOKEEPER_CODES
    assert count(cluster.node(1)) == before
    cluster.start()
    cluster.node(1).run(insert)
    assert count(cluster.node(1)) == before + 1


def test_the_old_version_serves_https(tmp_path):
    tls = (tmp_path / "certificate.pem", tmp_path / "key.pem")
    subprocess.run(
        ["openssl", *CERTIFICATE.split(), "-out", tls[0], "-keyout", tls[1]],
        check=True,
        capture_output=True,
    )
    try:
        cluster = ReplicatedCluster(tls=tls)
    except ClickHouseMissing as error:
        pytest.skip(str(error))
    with cluster:
        port = cluster.nodes[-1].https_port
        assert cluster.url("db").startswith("clickhouses://")
        assert cluster.url("db").endswith(f":{port}/db?cluster=test")
        answer = requests.get(f"https://127.0.0.1:{port}/ping", verify=tls[0], timeout=PATIENCE_S)
        assert answer.content == b"Ok.\n"


@pytest.mark.parametrize("state", ["running", "frozen"])
def test_no_server_outlives_a_test_process_that_is_killed(state):
    command = [sys.executable, "-c", LEAVE, state]
    tests = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=tests
    ) as process:
        pid, folder = process.stdout.readline().split()
        assert is_alive(pid)
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not is_alive(pid) and not Path(folder).exists())


def is_alive(pid):
    """Return whether a process exists. A zombie has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
