"""Connections that hold memory: they do not read, or they send what nobody asked for.

The first tests show each limit with a few connections. The last one opens 4,000 of each kind, and
another client must be served meanwhile.
"""

import re
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
import requests

from support.calls import question, sign_as_user
from support.hostile import (
    connections,
    open_connections,
    send_to_all,
    wait_until_closed,
    worker_bytes,
)
from support.ports import HOST
from support.server import Server
from support.sockets import parse_answers, read_all
from support.waiting import PATIENCE_S, wait_for
from support.world import RECENT, show_time

TOTALS = "/insights/engagement/totals"
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
UNKNOWN_KEY = (
    'Authorization: OAuth oauth_consumer_key="nobodys", oauth_signature_method="HMAC-SHA1", '
    'oauth_timestamp="1", oauth_nonce="1", oauth_signature="x"\r\n'
)
OPENSSL = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
    f"-subj /CN={HOST} -addext subjectAltName=IP:{HOST} -out cert.pem -keyout key.pem"
)
CROWD = 4000
WORKER_MAX_BYTES = 500 * 2**20
RESPONSE_TIMEOUT_S = 3


def post(path, headers, length, body):
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n"
    return head.encode() + body


def post_in_chunks(path, headers, chunks):
    """A body in chunks of two bytes, which never ends."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Transfer-Encoding: chunked\r\n\r\n"
    return head.encode() + b"2\r\nxx\r\n" * chunks


def bearer_header(server):
    return f"Authorization: Bearer {server.bearer(server.world.main).token}\r\n"


def pipelined(path, times):
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * times


def stylesheet(server):
    page = requests.get(f"{server.url}/sign-in", timeout=PATIENCE_S, verify=server.verify).text
    return re.search(r"/static/portal\.\w+\.css", page).group()


@pytest.fixture(scope="module")
def impatient(world):
    with Server(world, settings={"response_timeout_s": str(RESPONSE_TIMEOUT_S)}) as made:
        yield made


# --- answers that nobody reads --------------------------------------------------------------------


@pytest.mark.parametrize("path", [None, "/sign-in", "/insights/nothing", "/"])
def test_connections_that_do_not_read_are_closed(impatient, path):
    """Whatever they ask for: a file, a page, an answer without a body, a redirect."""
    asked = pipelined(path or stylesheet(impatient), 1000)
    with connections(impatient.port, 5) as sockets:
        send_to_all(sockets, asked, for_s=1)
        assert open_connections(impatient.port) >= 5
        began = time.monotonic()
        wait_until_closed(impatient.port)
        assert time.monotonic() - began < 10 * RESPONSE_TIMEOUT_S
    assert impatient.is_healthy()


def test_the_kernel_holds_little_for_a_client_that_does_not_read(impatient):
    with connections(impatient.port, 1) as [client]:
        send_to_all([client], pipelined(stylesheet(impatient), 200), for_s=2)
        wait_for(lambda: unread_bytes(impatient.port))
        assert unread_bytes(impatient.port) < 100_000  # 200 stylesheets have 4 million


LARGE = {
    "tweet_ids": ["111", "112", "114", "116", "118", RECENT],
    "engagement_types": ["favorites", "replies", "retweets", "url_clicks", "impressions"],
    "groupings": {
        "hours": {"group_by": ["tweet.id", "engagement.type", "engagement.day", "engagement.hour"]}
    },
}


def large_request(server):
    """A signed request whose answer has about 200 KB."""
    now_s = time.time() // 3600 * 3600
    body = {**LARGE, "start": show_time(now_s - 27 * 86_400), "end": show_time(now_s)}
    prepared = requests.Request(
        "POST",
        f"{server.url}/insights/engagement/historical",
        json=body,
        headers={"Connection": "close"},
        auth=sign_as_user(server.world.main),
    ).prepare()
    pairs = [(k, v if isinstance(v, str) else v.decode()) for k, v in prepared.headers.items()]
    head = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    target = f"POST {prepared.path_url} HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n"
    return f"{target}{head}\r\n".encode() + prepared.body


def test_a_client_that_reads_slowly_gets_the_whole_answer(impatient):
    """It takes longer than the deadline, but takes something all the time."""
    with connections(impatient.port, 1, receive_buffer_bytes=32_768) as [client]:
        client.setblocking(True)
        client.sendall(large_request(impatient))
        began, received = time.monotonic(), bytearray()
        while part := client.recv(4000):
            received += part
            # Far more often than the deadline, because a busy machine stretches each pause.
            if time.monotonic() - began < 1.4 * RESPONSE_TIMEOUT_S:
                time.sleep(0.1)
    assert time.monotonic() - began > 1.4 * RESPONSE_TIMEOUT_S
    [answer] = parse_answers(bytes(received))
    assert answer.status == 200
    assert len(answer.body) == int(answer.headers["content-length"]) > 150_000


def test_large_answers_that_nobody_takes_have_a_budget(world):
    settings = {
        "response_timeout_s": "600",
        "responses_in_flight_max_bytes": "1000000",
        "log_refusals": "true",
    }
    with Server(world, settings=settings) as server, connections(server.port, 40) as sockets:
        for each in sockets:
            each.send(large_request(server))
        refused = wait_for(lambda: [each for each in sockets if is_refused(each)])
        assert len(refused) < 40
        for each in refused:  # the request was counted all the same
            head = each.recv(4096, socket.MSG_PEEK)
            assert int(re.search(rb"x-per-minute-remaining: (\d+)", head)[1]) < 6000
        reason = '"reason": "too many large responses are in flight; try again in a moment"'
        assert server.log().count(reason) >= len(refused)
        small = server.client.ask("totals", question("111"), sign_as_user(world.main))
        assert small.status == 200


def test_the_budget_of_answers_is_free_again_when_clients_go_away(world):
    """Long before the deadline for taking an answer."""
    settings = {"response_timeout_s": "600", "responses_in_flight_max_bytes": "1000000"}
    with Server(world, settings=settings) as server:
        with connections(server.port, 10) as sockets:
            for each in sockets:
                each.send(large_request(server))
            wait_for(lambda: any(map(is_refused, sockets)))
        wait_for(lambda: ask_for_large_answer(server) == 200)


def ask_for_large_answer(server):
    with socket.create_connection((HOST, server.port), timeout=PATIENCE_S) as client:
        client.sendall(large_request(server))
        return parse_answers(read_all(client))[0].status


def is_refused(client):
    """Whether the answer, which stays unread, is 503 with Retry-After."""
    try:
        head = client.recv(4096, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return head.startswith(b"HTTP/1.1 503") and b"retry-after: 1\r\n" in head


# --- bodies that nobody asked for -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (TOTALS, "", 401),
        (TOTALS, "Content-Type: application/json\r\n", 401),
        (TOTALS, "Authorization: Bearer nobodys\r\n", 401),
        (TOTALS, f"{FORM}Authorization: Bearer nobodys\r\n", 401),
        (TOTALS, FORM + UNKNOWN_KEY, 401),
        (TOTALS, FORM, 413),
        ("/sign-in", FORM, 413),
        ("/portal/new", FORM, 413),
        ("/oauth/request_token", FORM, 413),
        ("/oauth2/token", FORM, 413),
        ("/platform/v1/events", "", 401),
        ("/platform/v1/events", "Authorization: Bearer nobodys\r\n", 401),
    ],
)  # fmt: skip
def test_a_strangers_body_is_refused_before_it_arrives(impatient, path, headers, status):
    """The client declares more than the server reads before an early answer, and sends nothing."""
    with socket.create_connection((HOST, impatient.port), timeout=PATIENCE_S) as client:
        client.sendall(post(path, headers, 900_000_000, b""))
        [answer] = parse_answers(read_all(client))
    assert answer.status == status


def test_bodies_in_flight_have_a_budget(world):
    """Only those whose head is authentic count: they alone may be large."""
    with Server(world, settings={"bodies_in_flight_max_bytes": "100000"}) as server:
        bearer = bearer_header(server)
        with connections(server.port, 2) as both:
            for each in both:
                each.send(post(TOTALS, bearer, 100_000, b" " * 90_000))
            refused = wait_for(lambda: [each for each in both if is_refused(each)])
            assert len(refused) == 1  # either may be read first
            small = server.client.ask("totals", question("111"), sign_as_user(world.main))
            assert small.status == 200
        # The budget is free again.
        body = question("111") | {"padding": "x" * 90_000}
        auth = server.bearer(world.main)
        wait_for(lambda: server.client.ask("totals", body, auth).status != 503, pause_s=0.1)


def unread_bytes(port):
    """The most bytes that one connection of a server still has to send to its client."""
    command = ["ss", "-Htn", "state", "established", f"( sport = :{port} )"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return max((int(line.split()[1]) for line in lines), default=0)


# --- crowds ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(OPENSSL.split(), cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@contextmanager
def another_client(server):
    """Ask all the time, and record the status of every answer and how long it took."""
    done, waits = threading.Event(), []
    bearer = server.bearer(server.world.main)

    def ask():
        while not done.is_set():
            began = time.monotonic()
            answer = requests.post(
                f"{server.url}{TOTALS}",
                json=question("111"),
                auth=bearer,
                timeout=PATIENCE_S,
                verify=server.verify,
            )
            waits.append((answer.status_code, time.monotonic() - began))
            done.wait(0.2)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield waits
    finally:
        done.set()
        asking.join()


HEAD = b"GET / HTTP/1.1\r\nHost: x\r\nX-Padding: "
CROWDS = {
    "do not read files": lambda server: pipelined(stylesheet(server), 200),
    "do not read pages": lambda _: pipelined("/sign-in", 3000),
    "do not read empty answers": lambda _: pipelined("/insights/nothing", 3000),
    "send a body without credentials": lambda _: post(TOTALS, "", 2**20, b"x" * 1_048_000),
    "send a form without credentials": lambda _: post(TOTALS, FORM, 16_384, b"x" * 16_000),
    "sign in slowly": lambda _: post("/sign-in", FORM, 16_384, b"x" * 16_000),
    "ask for tokens slowly": lambda _: post("/oauth/request_token", FORM, 16_384, b"x" * 16_000),
    "send a large head": lambda _: HEAD + b"x" * 48_000,
    "send a too large head": lambda _: HEAD + b"x" * 1_000_000,
}
# Measured over TLS only, where each of them takes more.
TLS_CROWDS = {
    "say nothing": lambda _: b"",
    "send a form in tiny chunks": lambda _: post_in_chunks("/sign-in", FORM, 8000),
    "send a large body with credentials": lambda server: post(
        TOTALS, bearer_header(server), 2**20, b" " * 1_048_000
    ),
    "send a usual body with credentials": lambda server: post(
        TOTALS, bearer_header(server), 8192, b" " * 8000
    ),
    "send a body with credentials in tiny chunks": lambda server: post_in_chunks(
        TOTALS, bearer_header(server), 100_000
    ),
    "do not read large answers": lambda server: [large_request(server) for _ in range(CROWD)],
}
ALL_CROWDS = CROWDS | TLS_CROWDS


@pytest.mark.parametrize(
    ("kind", "encrypted"),
    [*[(kind, False) for kind in CROWDS], *[(kind, True) for kind in ALL_CROWDS]],
)
def test_a_crowd_costs_little_and_others_are_served(world, certificate, kind, encrypted):
    tls = ssl.create_default_context(cafile=certificate[0]) if encrypted else None
    settings = {"response_timeout_s": "10", "body_timeout_s": "20"}
    with Server(world, settings=settings, tls=certificate if tls else None) as server:
        data = ALL_CROWDS[kind](server)
        with another_client(server) as waits, connections(server.port, CROWD, tls=tls) as sockets:
            watched = Watched(server)
            send_to_all(sockets, data, for_s=30)
            wait_until_closed(server.port, left=20)
            watched.stop()
        print(
            f"{kind}: {watched.most / 2**20:.0f} MiB, waits up to {max(w for _, w in waits):.1f} s"
        )
    assert watched.most < WORKER_MAX_BYTES
    assert {status for status, _ in waits} == {200}


class Watched:
    """The most memory that a worker has had since this was made."""

    def __init__(self, server):
        self._server, self._done, self.most = server, threading.Event(), 0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self):
        while not self._done.wait(0.1):
            self.most = max(self.most, worker_bytes(self._server))

    def stop(self):
        self._done.set()
        self._thread.join()
