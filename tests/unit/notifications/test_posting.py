"""Attempts to call webhooks: real receivers, with and without TLS, friendly and hostile."""

import asyncio
import socket
import threading

import pytest

from openengagement.notifications import posting
from openengagement.notifications.message import Result
from openengagement.notifications.posting import Poster
from openengagement.setting_kinds import parse_networks
from support.ports import free_port
from support.receiver import LOOPBACK, Receiver

BODY = b'{"type":"webhook.test"}'


def post(url, networks=LOOPBACK):
    async def attempt():
        return await Poster(parse_networks(networks)).post(url, BODY, headers={"webhook-id": "m"})

    return asyncio.run(attempt())


@pytest.fixture
def receiver(tmp_path, monkeypatch):
    with Receiver(tmp_path / "tls") as started:
        monkeypatch.setenv("SSL_CERT_FILE", str(started.authority))
        yield started


def test_a_message_arrives(receiver):
    assert post(receiver.url) == Result("204", is_delivered=True)
    (request,) = receiver.received
    assert (request.path, request.body) == ("/hook?key=of-the-receiver", BODY)
    assert request.headers["host"] == f"localhost:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "m"


def test_plain_http_reaches_this_machine():
    with Receiver() as plain:
        assert post(plain.url).is_delivered


@pytest.mark.parametrize("status", [300, 400, 404, 429, 500, 503])
def test_other_statuses_are_failures(receiver, status):
    receiver.answer = lambda _number: status
    assert post(receiver.url) == Result(str(status))


def test_a_receiver_that_is_gone_for_ever(receiver):
    receiver.answer = lambda _number: 410
    assert post(receiver.url) == Result("410", is_final=True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(receiver, status):
    receiver.answer = lambda _number: status
    receiver.headers["location"] = receiver.url
    assert post(receiver.url) == Result(str(status))
    assert len(receiver.received) == 1


def test_no_proxy_is_used(receiver, monkeypatch):
    for name in ("HTTPS_PROXY", "ALL_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert post(receiver.url).is_delivered


@pytest.mark.parametrize("networks", ["", "10.0.0.0/8"])
def test_a_name_of_an_address_that_is_not_allowed(receiver, networks):
    """No byte reaches the receiver."""
    assert post(receiver.url, networks) == Result("address refused")
    assert receiver.received == []


def test_http_is_refused_if_the_setting_does_not_name_the_address():
    with Receiver() as plain:
        assert post(plain.url, "") == Result("address refused")
        assert plain.received == []


def test_one_refused_address_of_several_is_enough(receiver, monkeypatch):
    """Otherwise the name's owner could choose by a failure of the other one."""
    resolved = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", receiver.port)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", receiver.port)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: resolved)
    assert post(receiver.url) == Result("address refused")


def test_a_certificate_that_is_not_trusted(receiver, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    assert post(receiver.url) == Result("certificate refused")
    assert receiver.received == []


def test_a_certificate_of_another_name(receiver):
    url = receiver.url.replace("localhost", "127.0.0.1")
    assert post(url) == Result("certificate refused")
    assert receiver.received == []


def test_nobody_listens():
    assert post(f"https://localhost:{free_port()}/") == Result("ConnectError")


def test_a_name_that_nobody_has():
    assert post("https://receiver.invalid/").text in {"unknown host", "timeout"}


class _Stream:
    """Accepts connections, and sends `chunk` for ever, or until the client has gone."""

    def __init__(self, chunk):
        self._chunk = chunk
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/"
        self.sent = 0
        self.ended = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            connection, _ = self._server.accept()
            with connection:
                connection.recv(65_536)
                while not self.ended.wait(0.01):
                    self.sent += connection.send(self._chunk)
        except OSError:
            self.ended.set()

    def close(self):
        self.ended.set()
        self._server.close()


@pytest.mark.parametrize("chunk", [b"", b"H"], ids=["silent", "slow"])
def test_an_attempt_has_a_deadline(monkeypatch, chunk):
    monkeypatch.setattr(posting, "ATTEMPT_S", 0.3)
    receiver = _Stream(chunk)
    assert post(receiver.url).text in {"timeout", "RemoteProtocolError"}
    receiver.close()


def test_an_endless_head_is_given_up():
    receiver = _Stream(b"HTTP/1.1 200 OK\r\n" + b"a: " + b"x" * 65_536)
    assert post(receiver.url).text in {"timeout", "RemoteProtocolError"}
    receiver.close()


def test_the_body_of_an_answer_is_not_read():
    receiver = _Stream(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n" + b"x" * 65_536)
    assert post(receiver.url).is_delivered
    assert receiver.ended.wait(60), "the connection stayed open"
    receiver.close()


def test_what_is_not_http(monkeypatch):
    monkeypatch.setattr(posting, "ATTEMPT_S", 0.3)
    receiver = _Stream(b"SSH-2.0-OpenSSH_9.2\r\n")
    assert post(receiver.url).text in {"timeout", "RemoteProtocolError"}
    receiver.close()
