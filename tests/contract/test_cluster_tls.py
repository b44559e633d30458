"""A cluster whose servers are asked over TLS."""

import os
import shutil
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from contract.backends import KEEP_DAYS, ChosenClock
from contract.cluster import expected_replies, replies
from contract.crashing_store import ROWS
from contract.deltas import make_batch
from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster.opening import init_cluster, open_cluster, read_cluster
from support.clickhouse import ClickHouseMissing, ReplicatedCluster
from support.ports import HOST, free_port
from support.postgresql import PostgresqlMissing, PostgresqlServer, find_user

pytestmark = pytest.mark.heavy

CERTIFICATE = (
    "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 "
    "-addext subjectAltName=IP:127.0.0.1"
)


@pytest.fixture(scope="module")
def certificate():
    """Return the files of a certificate that signs itself, and of its key.

    PostgreSQL reads them as another user, who cannot enter pytest's folders.
    """
    folder = Path(tempfile.mkdtemp(prefix="oe-tls-"))
    folder.chmod(0o755)
    files = (folder / "certificate.pem", folder / "key.pem")
    command = ["openssl", *CERTIFICATE.split(), "-out", files[0], "-keyout", files[1]]
    subprocess.run(command, check=True, capture_output=True)
    if user := find_user():
        os.chown(files[1], user["user"], user["group"])
    yield files
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def postgresql(certificate):
    settings = {"ssl": "on", "ssl_cert_file": certificate[0], "ssl_key_file": certificate[1]}
    port = free_port()
    try:
        server = PostgresqlServer(listen_addresses=HOST, port=str(port), **settings)
    except PostgresqlMissing as error:
        pytest.skip(str(error))
    yield f"postgresql://test@{HOST}:{port}/postgres?sslmode=verify-full&sslrootcert="
    server.remove()


@pytest.fixture(scope="module")
def clickhouse(certificate):
    try:
        servers = ReplicatedCluster(tls=certificate)
    except ClickHouseMissing as error:
        pytest.skip(str(error))
    yield servers.url("secure")
    servers.remove()


def test_everything_is_asked_over_tls(postgresql, clickhouse, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    urls = f"{postgresql}{certificate[0]}", clickhouse
    assert init_cluster(*urls) == 3
    keep = {"clock": ChosenClock(), "idempotency_keep_days": KEEP_DAYS}
    with closing(open_cluster(*urls, **keep)) as store:
        store.apply_batches([make_batch(ROWS, key=b"k")])
        assert replies(store) == expected_replies()
    assert read_cluster(*urls).problems == []
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(StoreUnavailable, match=r"the counters store.*certificate verify failed"):
        open_cluster(*urls, **keep)
    with pytest.raises(StoreUnavailable, match=r"the Tweet store.*root certificate"):
        open_cluster(f"{postgresql}/missing.pem", clickhouse, **keep)
