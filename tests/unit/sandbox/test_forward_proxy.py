"""The forward proxy connects to four hosts on one port and to nothing else."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openengagement.sandbox import forward_proxy
from openengagement.sandbox.forward_proxy import HOSTS, ForwardProxy, ProxyLimits, check_head
from support.cases import cases
from support.waiting import PATIENCE_S, wait_for

CONNECTIONS = 4
# Two sets of limits: no test may meet a timeout that it does not ask for, however slow the machine.
PATIENT = ProxyLimits(head_s=PATIENCE_S, idle_s=PATIENCE_S, connections=CONNECTIONS)
HASTY = ProxyLimits(head_s=0.5, idle_s=1, connections=CONNECTIONS)
CONNECT = b"CONNECT api.twitter.com:443 HTTP/1.1\r\nHost: api.twitter.com:443\r\n\r\n"
JOINED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Running:
    """A proxy in front of an echo server, in an event loop in a thread."""

    def __init__(self, limits, *, sandbox=True):
        self._loop = asyncio.new_event_loop()
        self._ahead_s = 0
        real_time = self._loop.time
        self._loop.time = lambda: real_time() + self._ahead_s
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.failures = []
        self._loop.set_exception_handler(lambda _, context: self.failures.append(context))
        self.served = 0
        self._upstream = socket.socket()
        self._upstream.bind(("127.0.0.1", 0))  # without a sandbox it refuses connections
        self._servers = []
        if sandbox:
            echo = asyncio.start_server(self._echo, sock=self._upstream)
            self._servers.append(self.call(echo))
        self.proxy = ForwardProxy(self._upstream.getsockname()[1], limits)
        self._servers.append(self.call(self.proxy.listen(0)))
        self.address = self._servers[-1].sockets[0].getsockname()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    async def _echo(self, reader, writer):
        self.served += 1
        with contextlib.suppress(OSError):
            while part := await reader.read(65_536):
                writer.write(part)
                await writer.drain()
            writer.write(b"<end>")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def pass_time(self, seconds):
        """Move the clock of all timeouts forward."""

        def move():
            self._ahead_s += seconds

        self._loop.call_soon_threadsafe(move)

    def close(self):
        self.call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._upstream.close()
        assert self.failures == []

    async def _close(self):
        """Close everything and wait until every connection is closed, or Python warns of it."""
        for server in self._servers:
            server.close()
        await self.proxy.close()
        # The task that accepts a connection starts the task that serves it. A closed transport
        # closes its socket in a later turn of the loop.
        for _ in range(10):
            await asyncio.sleep(0)
            if connections := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(connections)

    def connect(self):
        return socket.create_connection(self.address, timeout=PATIENCE_S)

    def ask(self, *pieces):
        """Send the pieces, and read until the proxy closes the connection."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.01)
            return read_all(connection)


def read_all(connection):
    received = bytearray()
    while part := connection.recv(65_536):
        received += part
    return bytes(received)


def read(connection, length):
    received = bytearray()
    while len(received) < length:
        part = connection.recv(length - len(received))
        assert part, received
        received += part
    return bytes(received)


@pytest.fixture
def start(monkeypatch):
    # The answer to a client that still sends is discarded after this time.
    monkeypatch.setattr(forward_proxy, "_LINGER_S", PATIENCE_S)
    running = []

    def make(limits=PATIENT, **options):
        running.append(Running(limits, **options))
        return running[-1]

    yield make
    for one in running:
        one.close()


@pytest.fixture
def proxy(start):
    return start()


def head(line, *fields):
    return b"\r\n".join([line.encode("latin-1"), *(one.encode("latin-1") for one in fields)])


# Which request heads are allowed.


@cases("host", HOSTS)
@cases("version", ["1.0", "1.1"])
def test_the_four_hosts_are_allowed(host, version):
    assert check_head(head(f"CONNECT {host}:443 HTTP/{version}")) == ""
    fields = [
        f"Host: {host}:443",
        "User-Agent: curl/8",
        "Proxy-Connection: Keep-Alive",
        "X:",
        "Y:é",
    ]
    assert check_head(head(f"CONNECT {host}:443 HTTP/{version}", *fields)) == ""


@pytest.mark.parametrize("target", ["API.TWITTER.COM:443", "Data-Api.X.com:443"])
def test_host_names_ignore_case(target):
    assert check_head(head(f"CONNECT {target} HTTP/1.1")) == ""


@cases(
    "target",
    [
        "example.com:443",
        "twitter.com:443",
        "upload.twitter.com:443",
        "x.api.twitter.com:443",
        "api.twitter.com.example.com:443",
        "api.twitter.com.:443",
        "api.twitter.com:80",
        "api.twitter.com:8443",
        "api.twitter.com:0443",
        "api.twitter.com:443:443",
        "api.twitter.com:",
        "api.twitter.com",
        "api.twitter.com:65979",
        "user@api.twitter.com:443",
        "api.twitter.com:443@example.com:443",
        "api.twitter.com:443/",
        "api.twitter.com:443#example.com:443",
        "api.twitter.com%00.example.com:443",
        "https://api.twitter.com:443",
        "127.0.0.1:443",
        "127.1:443",
        "0.0.0.0:443",
        "2130706433:443",
        "[::1]:443",
        "[::ffff:127.0.0.1]:443",
        "169.254.169.254:443",
        "localhost:443",
        "localhost:22",
        "*",
        "/",
    ],
)
def test_other_targets_are_refused(target):
    assert check_head(head(f"CONNECT {target} HTTP/1.1")).startswith("403 ")
    # Only the target counts, not the Host field.
    assert check_head(head(f"CONNECT {target} HTTP/1.1", "Host: api.x.com:443")).startswith("403 ")


@cases("method", ["GET", "POST", "OPTIONS", "connect", "Connect"])
@cases(
    "target",
    [
        "http://api.twitter.com/",
        "http://example.com/",
        "https://api.twitter.com/",
        "/",
        "*",
        "api.twitter.com:443",
    ],
)
def test_other_methods_are_refused(method, target):
    assert check_head(head(f"{method} {target} HTTP/1.1")).startswith("403 ")


@cases(
    "line",
    [
        "",
        "CONNECT",
        "CONNECT api.x.com:443",
        "CONNECT api.x.com:443 HTTP/2.0",
        "CONNECT api.x.com:443 HTTP/0.9",
        "CONNECT api.x.com:443 http/1.1",
        "CONNECT  api.x.com:443 HTTP/1.1",
        "CONNECT api.x.com:443  HTTP/1.1",
        " CONNECT api.x.com:443 HTTP/1.1",
        "CONNECT api.x.com:443 HTTP/1.1 ",
        "CONNECT\tapi.x.com:443\tHTTP/1.1",
        "CONNECT api.x.com:443 HTTP/1.1\rX: y",
        "CONNECT api.x.com:443 HTTP/1.1\nX: y",
        "CONNECT api.x.com:443\0 HTTP/1.1",
        "CONNECT apí.x.com:443 HTTP/1.1",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_malformed_request_lines_are_refused(line):
    assert check_head(head(line)).startswith("400 ")


@cases(
    "line",
    [
        "",
        "Host",
        ": x",
        "Ho st: x",
        "Host : x",
        " folded",
        "\tfolded",
        "X: a\nY: b",
        "X: a\rb",
        "X: \0",
    ],
)
def test_malformed_fields_are_refused(line):
    assert check_head(head("CONNECT api.x.com:443 HTTP/1.1", line)).startswith("400 ")


@given(
    st.binary(max_size=200)
    | st.from_regex(rb"CONNECT [a-z.\-]{1,30}:\d{1,4} HTTP/1\.1", fullmatch=True)
)
def test_any_other_head_is_refused(text):
    target = text.split(b" ")[1].lower() if text.startswith(b"CONNECT ") else b""
    if target not in {f"{host}:443".encode() for host in HOSTS}:
        assert check_head(text)[:3] in {"400", "403"}


# Over a connection.


def test_it_listens_on_loopback_only(proxy):
    assert proxy.address[0] == "127.0.0.1"


def test_bytes_are_forwarded_in_both_directions(proxy):
    with proxy.connect() as connection:
        connection.sendall(CONNECT)
        assert read(connection, len(JOINED)) == JOINED
        for part in (b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256))):
            connection.sendall(part)
            assert read(connection, len(part)) == part


def test_the_head_may_arrive_in_pieces_and_with_data_after_it(proxy):
    pieces = [CONNECT[index : index + 7] for index in range(0, len(CONNECT), 7)]
    with proxy.connect() as connection:
        for piece in pieces[:-1]:
            connection.sendall(piece)
            time.sleep(0.01)
        connection.sendall(pieces[-1] + b"hello")
        assert read(connection, len(JOINED) + 5) == JOINED + b"hello"


def test_a_client_that_has_sent_everything_still_gets_the_answer(proxy):
    with proxy.connect() as connection:
        connection.sendall(CONNECT + b"the end")
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == JOINED + b"the end<end>"


def test_large_amounts_are_forwarded(proxy):
    sent = bytes(range(256)) * 40_000
    with proxy.connect() as connection:
        connection.sendall(CONNECT)
        assert read(connection, len(JOINED)) == JOINED
        sending = threading.Thread(target=connection.sendall, args=(sent,))
        sending.start()
        assert read(connection, len(sent)) == sent
        sending.join()


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"CONNECT example.com:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"GET http://api.twitter.com/ HTTP/1.1\r\nHost: api.twitter.com\r\n\r\n", b"403"),
        (b"GET http://localhost:8080/\r\nSet-Cookie:\tx=y HTTP/1.1\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"CONNECT api.x.com:443 HTTP/1.1\nHost: x\n\r\n\r\n", b"400"),
        (b"CONNECT canary.example:443 HTTP/1.1\r\nCanary: <canary>\r\n\r\n", b"403"),
    ],
)
def test_a_refusal_is_one_line_and_repeats_nothing(proxy, request_head, status):
    """It gives the reason and closes the connection, and nothing reaches the sandbox."""
    answer = proxy.ask(request_head)
    first, _, rest = answer.partition(b"\r\n")
    fields, _, body = rest.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 " + status + b" ")
    assert body.count(b"\n") == 1
    assert f"Content-Length: {len(body)}".encode() in fields.split(b"\r\n")
    assert b"Connection: close" in fields.split(b"\r\n")
    assert body.rstrip(b".\n") == first[len(b"HTTP/1.1 403 ") :]
    for canary in (b"canary", b"Set-Cookie", b"example.com", b"localhost"):
        assert canary not in answer
    assert proxy.served == 0


def test_a_slow_head_times_out(start):
    with start(HASTY).connect() as connection:
        with contextlib.suppress(OSError):
            for index in range(len(CONNECT) - 1):
                connection.sendall(CONNECT[index : index + 1])
                time.sleep(0.015)
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")


def test_a_silent_client_times_out(start):
    assert start(HASTY).ask().startswith(b"HTTP/1.1 408 ")


def test_an_incomplete_head_is_refused(proxy):
    with proxy.connect() as connection:
        connection.sendall(CONNECT[:-2])
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("length", [8193, 65_536, 1_000_000])
def test_a_large_head_is_refused(proxy, length):
    """The client gets the answer although it was still sending."""
    padded = CONNECT[:-2] + b"X: " + b"x" * length + b"\r\n\r\n"
    assert proxy.ask(padded).startswith(b"HTTP/1.1 431 ")


def test_an_endless_head_is_refused(proxy):
    with proxy.connect() as connection:
        with contextlib.suppress(OSError):
            for _ in range(200):
                connection.sendall(b"x" * 65_536)
        with contextlib.suppress(OSError):
            assert read_all(connection)[:13] in {b"HTTP/1.1 431 ", b""}


def test_connections_above_the_limit_are_refused(proxy):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(proxy.connect()) for _ in range(CONNECTIONS)]
        for connection in held:
            connection.sendall(CONNECT)
            assert read(connection, len(JOINED)) == JOINED
        assert proxy.ask(CONNECT).startswith(b"HTTP/1.1 503 ")
        assert proxy.served == CONNECTIONS
        held.pop().close()
        wait_for(lambda: not proxy.ask(b"\r\n\r\n").startswith(b"HTTP/1.1 503 "))


def test_connections_above_twice_the_limit_are_closed(proxy):
    """Otherwise refusals could use up the file descriptors of the proxy."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(proxy.connect()) for _ in range(2 * CONNECTIONS)]
        with proxy.connect() as connection:
            assert read_all(connection) == b""
        assert read_all(held[-1]).startswith(b"HTTP/1.1 503 ")


def test_an_idle_connection_is_closed(proxy):
    """It is cut. A tunnel in which bytes move stays open for longer than an idle one."""
    with proxy.connect() as connection:
        connection.sendall(CONNECT)
        assert read(connection, len(JOINED)) == JOINED
        for _ in range(3):
            proxy.pass_time(PATIENT.idle_s / 2)
            connection.sendall(b"x")
            assert read(connection, 1) == b"x"
        proxy.pass_time(PATIENT.idle_s)
        assert read_all(connection) == b""


@pytest.mark.heavy
def test_a_client_that_does_not_read_is_disconnected(proxy):
    """The proxy cuts the connection and discards what it would have sent."""
    with proxy.connect() as connection:
        connection.sendall(CONNECT)
        wait_for(lambda: proxy.served)
        connection.setblocking(False)
        sent = 0

        def send():
            nonlocal sent
            try:
                sent += connection.send(b"x" * 65_536)
            except BlockingIOError:
                if sent > 1_000_000:
                    proxy.pass_time(PATIENT.idle_s / 10)
            except ConnectionError:
                pass
            return not proxy.proxy._tasks

        wait_for(send, pause_s=0.001)
        assert sent > 1_000_000
    wait_for(lambda: not proxy.proxy._tasks and not proxy.proxy._writers)


def test_without_a_sandbox_the_answer_is_502(start):
    assert start(sandbox=False).ask(CONNECT).startswith(b"HTTP/1.1 502 ")


def test_closing_the_proxy_aborts_open_connections(start):
    proxy = start()
    with proxy.connect() as joined, proxy.connect() as silent:
        joined.sendall(CONNECT)
        assert read(joined, len(JOINED)) == JOINED
        proxy.call(proxy.proxy.close())
        for connection in (joined, silent):
            with contextlib.suppress(ConnectionResetError):
                assert read_all(connection) == b""


def test_vanished_clients_are_forgotten(start):
    """Nothing is written about them, and nothing of them stays."""
    proxy = start()
    for sent in (b"", CONNECT[:9], CONNECT, CONNECT + b"x" * 100_000):
        connection = proxy.connect()
        # asyncio leaves a socket open that is reset before its transport is made (Python 3.11).
        wait_for(lambda: proxy.proxy._tasks)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.sendall(sent)
        connection.close()
        wait_for(lambda: not proxy.proxy._tasks and not proxy.proxy._writers)
