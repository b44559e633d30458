"""A renewed certificate gets into service on SIGHUP, without a failed request."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import requests
from cryptography import x509

from support.cli import call_command, invoke
from support.ports import HOST
from support.server import Server
from support.waiting import PATIENCE_S, wait_for

pytestmark = [pytest.mark.heavy, pytest.mark.embedded]

OPENSSL = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2 "
    "-subj /CN={name} -addext subjectAltName=IP:127.0.0.1 -keyout {name}.key -out {name}.pem"
)


@pytest.fixture(scope="module")
def issued(tmp_path_factory):
    """A folder with three certificates, `old`, `new` and `secret`, whose key is encrypted."""
    folder = tmp_path_factory.mktemp("issued")
    for name in ("old", "new", "secret"):
        protection = ["-passout", "pass:harbour"] if name == "secret" else ["-nodes"]
        command = [*OPENSSL.format(name=name).split(), *protection]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data folder without accounts."""
    folder = tmp_path_factory.mktemp("world") / "data"
    call_command(folder, "platform-key", "issue", "feed")
    return SimpleNamespace(folder=folder, secrets=[])


@pytest.fixture
def tls(issued, tmp_path):
    """The files that the server reads, with the old certificate."""
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    install(issued, files, certificate="old", key="old")
    return files


def install(issued, files, *, certificate, key):
    shutil.copy(issued / f"{certificate}.pem", files[0])
    shutil.copy(issued / f"{key}.key", files[1])


def served(server):
    """The name in the certificate that the server presents now; none if it closes the connection.

    A worker that stops closes the connections that it has accepted, but not served yet.
    """
    try:
        pem = ssl.get_server_certificate((HOST, server.port))
    except OSError:
        return None
    subject = x509.load_pem_x509_certificate(pem.encode()).subject
    return subject.rfc4514_string().removeprefix("CN=")


@contextmanager
def requests_all_the_time(server, issued, tmp_path):
    """Ask over a new connection each time, trusting both certificates. Yields all statuses.

    A request that ends without an answer is sent once more, as clients do. "lost" stands for one
    that fails twice.
    """
    trusted = tmp_path / "trusted.pem"
    trusted.write_text("".join((issued / f"{name}.pem").read_text() for name in ("old", "new")))
    done, statuses = threading.Event(), []

    def ask_twice():
        for _ in range(2):
            try:
                return requests.get(
                    f"{server.url}/livez", verify=str(trusted), timeout=PATIENCE_S
                ).status_code
            except requests.ConnectionError:
                continue
        return "lost"

    def ask():
        while not done.wait(0.02):
            statuses.append(ask_twice())

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield statuses
    finally:
        done.set()
        asking.join()


def events(server, name):
    lines = [line for line in server.log().splitlines() if line.startswith("{")]
    return [line for line in map(json.loads, lines) if line["event"] == name]


def test_a_renewed_certificate_is_served_after_sighup(world, tls, issued, tmp_path):
    with Server(world, workers=2, tls=tls) as server:
        assert served(server) == "old"
        with requests_all_the_time(server, issued, tmp_path) as statuses:
            wait_for(lambda: statuses)
            install(issued, tls, certificate="new", key="new")
            os.kill(server.pid, signal.SIGHUP)
            wait_for(lambda: len(events(server, "worker_started")) == 4, pause_s=0.1)
            wait_for(lambda: {served(server) for _ in range(20)} == {"new"}, pause_s=0.2)
            wait_for(lambda: len(statuses) > 50)
        assert set(statuses) == {200}
        # The new workers serve.
        server.client.session.verify = str(tls[0])
        assert server.client.send("GET", "/readyz").json()["status"] == "ready"


@pytest.mark.parametrize(
    ("certificate", "key"), [("new", "old"), ("old", "new"), ("secret", "secret"), (None, "new")]
)
def test_a_bad_certificate_changes_nothing(world, tls, issued, certificate, key):
    with Server(world, tls=tls) as server:
        if certificate is None:
            tls[0].unlink()
        else:
            install(issued, tls, certificate=certificate, key=key)
        os.kill(server.pid, signal.SIGHUP)
        wait_for(lambda: events(server, "certificate_refused"), pause_s=0.1)
        assert served(server) == "old"
        assert events(server, "workers_reloading") == []
        # Once the files are right, the next SIGHUP loads them.
        install(issued, tls, certificate="new", key="new")
        os.kill(server.pid, signal.SIGHUP)
        wait_for(lambda: {served(server) for _ in range(10)} == {"new"}, pause_s=0.2)
        server.client.session.verify = str(tls[0])


@pytest.mark.parametrize(("certificate", "key"), [("new", "old"), ("secret", "secret")])
def test_serve_refuses_a_bad_certificate(issued, tmp_path, certificate, key):
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    install(issued, files, certificate=certificate, key=key)
    done = invoke(
        *("--data", str(tmp_path / "data"), "serve"),
        *("--tls-cert", str(files[0]), "--tls-key", str(files[1])),
    )
    assert done.exit_code == 1
    assert f"cannot use the certificate {files[0]} with the key {files[1]}" in done.output
    assert not (tmp_path / "data").exists()
