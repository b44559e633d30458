"""NATS over TLS, and with a file of credentials."""

import subprocess

import pytest

from support.consuming import Events
from support.nats_accounts import write_accounts
from support.nats_server import NatsServer
from support.ports import HOST

pytestmark = pytest.mark.heavy
CERTIFICATE = (
    "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 "
    "-addext subjectAltName=IP:127.0.0.1"
)


@pytest.fixture
def certificate(tmp_path):
    files = (tmp_path / "certificate.pem", tmp_path / "key.pem")
    command = ["openssl", *CERTIFICATE.split(), "-out", files[0], "-keyout", files[1]]
    subprocess.run(command, check=True, capture_output=True)
    return files


def test_tls(run, data, tmp_path, certificate, monkeypatch):
    chain, key = map(str, certificate)
    server = NatsServer(tmp_path, "--tls", "--tlscert", chain, "--tlskey", key)
    events = Events()
    url = f"tls://{HOST}:{server.port}/EVENTS"
    try:
        distrusted = run("consume", url)
        assert distrusted.code == 1
        assert "certificate verify failed" in distrusted.err
        assert "Traceback" not in distrusted.err
        monkeypatch.setenv("SSL_CERT_FILE", chain)
        server.add_stream()
        server.publish(events.messages(5))
        assert run("consume", url, "--until-end", "--json").json()["events"] == 50
        plain = run("consume", url.replace("tls://", "nats://"), "--until-end", "--json")
        assert plain.json()["events"] == 0, "the server asks for TLS, and gets it"
    finally:
        server.stop()
    assert events.read(data) == events.counts


def test_a_file_of_credentials(run, data, tmp_path):
    config, credentials = write_accounts(tmp_path)
    server = NatsServer(tmp_path, "-c", str(config))
    named = {"user_credentials": str(credentials)}
    events = Events()

    async def publish(_, jetstream):
        await jetstream.add_stream(name="EVENTS", subjects=["e.x"])
        for body in events.messages(5):
            await jetstream.publish("e.x", body)

    try:
        server.run(publish, **named)
        url = server.url(query=f"?credentials={credentials}")
        assert run("consume", url, "--until-end", "--json").json()["events"] == 50
        without = run("consume", server.url())
        assert without.code == 1
        assert "refuses the user, password or token" in without.err
    finally:
        server.stop()
    assert events.read(data) == events.counts
