"""`serve` refuses an address of the metrics that it cannot use, before it starts anything."""

import socket

import pytest

from support.cli import invoke
from support.ports import HOST, free_port


@pytest.fixture
def serve(tmp_path, monkeypatch):
    def run(metrics, port):
        monkeypatch.setenv("OPENENGAGEMENT_METRICS", metrics)
        return invoke("--data", str(tmp_path / "data"), "serve", "--port", str(port))

    return run


def test_a_port_that_is_in_use(serve):
    with socket.create_server((HOST, 0)) as other:
        taken = other.getsockname()[1]
        done = serve(f"{HOST}:{taken}", free_port())
    assert done.exit_code == 1
    assert f"cannot listen on {HOST} port {taken}" in done.output
    assert "choose another with OPENENGAGEMENT_METRICS" in done.output


@pytest.mark.parametrize("host", [HOST, "0.0.0.0"])
def test_the_port_of_the_server_itself(serve, host):
    port = free_port()
    done = serve(f"{host}:{port}", port)
    assert done.exit_code == 1
    assert f"OPENENGAGEMENT_METRICS: choose another port than {port}" in done.output


def test_a_host_that_is_not_of_this_machine(serve):
    done = serve("192.0.2.1:9464", free_port())
    assert done.exit_code == 1
    assert "cannot listen on 192.0.2.1 port 9464" in done.output
