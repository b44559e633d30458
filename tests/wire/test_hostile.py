"""Hostile requests.

Every request must be refused with a 4xx and a reason, within two seconds, without a traceback. The
server must keep serving other clients. At the end, its log must hold no secret and no traceback.
"""

import gzip
import json
import re
import socket
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import zstandard
from isal import isal_zlib

from support.calls import Bearer, question, sign_as_user
from support.cases import cases
from support.ports import HOST
from support.server import Server
from support.signing import signed_header
from support.sockets import exchange, parse_answers, read_all, request_bytes, send_all, talk
from support.waiting import PATIENCE_S, wait_for

# Hostile bytes never reach a store, and a balancer loses answers that come before a body has ended.
pytestmark = pytest.mark.embedded

PATH = "/insights/engagement/totals"
QUICK_S = 20  # distinguishes a hang from a slow answer; not a measured figure
DEEP = 10_000
MEGABYTE = 1 << 20
GOOD = json.dumps(question("111")).encode()
TRACES = re.compile(rb"Traceback|File \"|\.py\b|Error:|Exception", re.IGNORECASE)


@pytest.fixture(scope="module")
def server(world):
    """A server for this module; its log is checked at the end."""
    with Server(world) as running:
        yield running
        log = running.log()
        assert "Traceback" not in log
        assert '"event": "request_failed"' not in log
        files = [path.read_bytes() for path in running.data.rglob("*") if path.is_file()]
        for secret in running.secrets:
            assert secret not in log
            assert not any(secret.encode() in content for content in files)


@pytest.fixture(autouse=True)
def still_serves(server):
    """Check after every test that the server answers other clients quickly."""
    yield
    began = time.monotonic()
    assert server.is_healthy()
    answer = server.client.ask("totals", question("111"), server.bearer(server.world.main))
    assert answer.status == 200, answer
    assert time.monotonic() - began < QUICK_S


@pytest.fixture
def ask(server):
    """Send bytes as the body of a request of the owner."""

    def send(body, *, endpoint="totals", headers=None, auth=None):
        began = time.monotonic()
        answer = server.client.ask(
            endpoint,
            body,
            auth or sign_as_user(server.world.main),
            {"Content-Type": "application/json", **(headers or {})},
        )
        assert time.monotonic() - began < QUICK_S
        assert not TRACES.search(answer.body), answer
        return answer

    return send


def assert_refused(answer, *statuses):
    """Check for a 4xx with its code in a header and its reason in the body."""
    assert answer.status in (statuses or (400,)), answer
    assert answer.code
    errors = answer.json()["errors"]
    assert errors
    assert all(isinstance(text, str) and 0 < len(text) < 2000 for text in errors)


def with_field(name, raw, **more):
    """A valid body with one field as raw JSON."""
    fields = {key: json.dumps(value) for key, value in {**question("111"), **more}.items()}
    fields[name] = raw
    return ("{" + ",".join(f'"{key}":{value}' for key, value in fields.items()) + "}").encode()


ARRAYS = "[" * DEEP + "]" * DEEP
OBJECTS = '{"a":' * DEEP + "1" + "}" * DEEP
DIGITS = "9" * 10_000
BODIES = {
    "arrays 10,000 deep": ARRAYS.encode(),
    "objects 10,000 deep": OBJECTS.encode(),
    "arrays 10,000 deep, never closed": b"[" * DEEP,
    "objects 10,000 deep, never closed": b'{"a":' * DEEP,
    **{
        f"{what} in {field}": with_field(field, raw)
        for field in ("tweet_ids", "engagement_types", "groupings", "something_else")
        for what, raw in {
            "arrays 10,000 deep": ARRAYS,
            "objects 10,000 deep": OBJECTS,
        }.items()
    },
    "arrays 10,000 deep in a grouping": with_field("groupings", f'{{"g":{ARRAYS}}}'),
    "arrays 10,000 deep in group_by": with_field("groupings", f'{{"g":{{"group_by":{ARRAYS}}}}}'),
    "a number of 10,000 digits": DIGITS.encode(),
    "a Tweet ID of 10,000 digits": with_field("tweet_ids", f"[{DIGITS}]"),
    "a negative Tweet ID of 10,000 digits": with_field("tweet_ids", f"[-{DIGITS}]"),
    "a Tweet ID text of 10,000 digits": with_field("tweet_ids", f'["{DIGITS}"]'),
    "a fraction of 10,000 digits": with_field("tweet_ids", f"[0.{DIGITS}]"),
    "an exponent of 10,000 digits": with_field("tweet_ids", f"[1e{DIGITS}]"),
    "a type of 10,000 digits": with_field("engagement_types", f"[{DIGITS}]"),
    "groupings of 10,000 digits": with_field("groupings", DIGITS),
    "group_by of 10,000 digits": with_field("groupings", f'{{"g":{{"group_by":[{DIGITS}]}}}}'),
    "bytes that are not UTF-8": b"\xff\xfe\x80",
    "an ID that is not UTF-8": b'{"tweet_ids":["\xff"],"engagement_types":["x"],"groupings":{}}',
    "a type that is not UTF-8": GOOD.replace(b'"favorites"', b'"\xc3\x28"'),
    "a grouping whose name is not UTF-8": GOOD.replace(b'"g"', b'"\xed\xa0\x80"'),
    "an ignored value that is not UTF-8": GOOD.replace(
        b'{"tweet_ids"', b'{"more":"\xc3\x28","tweet_ids"'
    ),
    "a field whose name is not UTF-8": GOOD.replace(b'{"tweet_ids"', b'{"\xff":1,"tweet_ids"'),
    "half a surrogate pair as a name": GOOD.replace(b'"g"', b'"\\ud800"'),
    "UTF-16": GOOD.decode().encode("utf-16"),
    "two byte order marks": 2 * b"\xef\xbb\xbf" + GOOD,
    "NUL bytes": b"\x00" * 100,
    "a NUL byte after the object": GOOD + b"\x00",
    "a NUL byte in an ID": GOOD.replace(b'"111"', b'"1\x0011"'),
    "an escaped NUL in an ID": GOOD.replace(b'"111"', b'"111\\u0000"'),
    "an escaped NUL in a type": GOOD.replace(b'"favorites"', b'"favorites\\u0000"'),
    "a type of a megabyte": with_field("engagement_types", json.dumps(["x" * 1_000_000])),
    "an ID of a megabyte": with_field("tweet_ids", json.dumps(["x" * 1_000_000])),
    "100,000 types": with_field("engagement_types", json.dumps(["x"] * 100_000)),
    "200,000 IDs": with_field("tweet_ids", json.dumps([1] * 200_000)),
    "50,000 groupings": with_field("groupings", json.dumps({str(n): {} for n in range(50_000)})),
    "50,000 dimensions": with_field(
        "groupings", json.dumps({"g": {"group_by": ["tweet.id"] * 50_000}})
    ),
    "not a number": with_field("tweet_ids", "[NaN]"),
    "infinity": with_field("tweet_ids", "[Infinity]"),
    "a comment": b"/* */" + GOOD,
    "XML": b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>",
    "a pickle": b"\x80\x04\x95\x1a\x00\x00\x00",
}


@cases("what", BODIES)
def test_malformed_bodies_are_refused(ask, what):
    assert_refused(ask(BODIES[what]))


@cases("endpoint", ["28hr", "historical"])
@cases("what", ["arrays 10,000 deep", "a Tweet ID of 10,000 digits", "NUL bytes"])
def test_malformed_bodies_of_other_calls_are_refused(ask, endpoint, what):
    assert_refused(ask(BODIES[what], endpoint=endpoint))


@cases("raw", [DIGITS, f'"{DIGITS}"', ARRAYS, '"\\u0000"', '"2024-05-01\\u0000"'])
def test_malformed_dates_are_refused(ask, raw):
    assert_refused(ask(with_field("start", raw), endpoint="historical"))


def test_a_name_with_an_escaped_nul_comes_back_as_it_was(ask):
    body = question("111", groupings={"a\x00b": {"group_by": ["tweet.id"]}})
    assert ask(json.dumps(body).encode()).json() == {"a\x00b": {"111": "4"}}


def test_of_a_repeated_field_the_last_value_is_taken(ask):
    for name in (b"tweet_ids", b"tweet_\\u0069ds"):
        body = GOOD.replace(b'{"tweet_ids"', b'{"%b": ["211"], "tweet_ids"' % name)
        assert ask(body).json() == {"g": {"111": {"favorites": "4"}}}


@pytest.mark.parametrize("endpoint", ["totals", "28hr"])
def test_a_byte_order_mark_is_skipped(ask, endpoint):
    """RFC 8259, 8.1: .NET and PowerShell write one."""
    marked = ask(b"\xef\xbb\xbf" + GOOD, endpoint=endpoint)
    assert marked.status == 200
    assert marked.json().keys() == {"g"} | marked.json().keys() & {"start", "end"}


def test_a_body_over_the_cap(ask):
    assert_refused(ask(GOOD + b" " * MEGABYTE), 413)


def test_a_body_at_the_cap(ask):
    assert ask(GOOD + b" " * (MEGABYTE - len(GOOD))).status == 200


def bearer_headers(server, *more):
    bearer = server.bearer(server.world.main).token
    return [("Authorization", f"Bearer {bearer}"), ("Content-Type", "application/json"), *more]


def test_a_body_that_declares_too_much_is_refused_before_it_is_sent(server):
    headers = bearer_headers(server, ("Content-Length", str(10**15)))
    began = time.monotonic()
    answer = exchange(server.port, request_bytes("POST", PATH, headers))
    assert answer.status == 413
    assert time.monotonic() - began < QUICK_S


def test_a_chunked_body_over_the_cap(server):
    headers = bearer_headers(server, ("Transfer-Encoding", "chunked"))
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    began = time.monotonic()
    with socket.create_connection((HOST, server.port), timeout=PATIENCE_S) as connection:
        sender = threading.Thread(
            target=send_all,
            args=(connection, [request_bytes("POST", PATH, headers), *[chunk] * 4096]),
        )
        sender.start()
        received = read_all(connection)
        sender.join()
    assert parse_answers(received)[0].status == 413
    assert time.monotonic() - began < QUICK_S


def test_a_chunked_body_with_pauses_is_accepted(server):
    headers = bearer_headers(server, ("Transfer-Encoding", "chunked"))
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (GOOD[:5], GOOD[5:]))
    [answer] = parse_answers(
        talk(server.port, request_bytes("POST", PATH, headers), chunks, b"0\r\n\r\n")
    )
    assert answer.status == 200


# Compression.


def test_a_compressed_body_is_accepted(ask):
    assert ask(gzip.compress(GOOD), headers={"Content-Encoding": "gzip"}).status == 200
    two = gzip.compress(GOOD[:20]) + gzip.compress(GOOD[20:])
    assert ask(two, headers={"Content-Encoding": "x-gzip"}).status == 200


def gzip_bomb(size):
    deflate = isal_zlib.compressobj(3, isal_zlib.DEFLATED, 31)
    zeros = b" " * MEGABYTE
    return b"".join(deflate.compress(zeros) for _ in range(size // MEGABYTE)) + deflate.flush()


BOMBS = {  # made when their test runs: that takes a second
    "a gzip bomb of 500 MB": ("gzip", lambda: gzip_bomb(500 * MEGABYTE), 413),
    "a gzip bomb behind a good member": (
        "gzip",
        lambda: gzip.compress(GOOD) + gzip_bomb(64 * MEGABYTE),
        413,
    ),
    "a compressed bomb, compressed": ("gzip", lambda: gzip.compress(gzip_bomb(64 * MEGABYTE)), 400),
    "a zstd bomb": ("zstd", lambda: zstandard.compress(b" " * (300 * MEGABYTE)), 413),
}
COMPRESSED = {
    "gzip cut short": ("gzip", gzip.compress(GOOD)[:-9], 400),
    "gzip without its checksum": ("gzip", gzip.compress(GOOD)[:-8], 400),
    "gzip of nothing but its head": ("gzip", gzip.compress(GOOD)[:10], 400),
    "gzip with a wrong checksum": ("gzip", gzip.compress(GOOD)[:-8] + b"\0" * 8, 400),
    "gzip with something after it": ("gzip", gzip.compress(GOOD) + b"more", 400),
    "plain JSON called gzip": ("gzip", GOOD, 400),
    "gzip twice": ("gzip, gzip", gzip.compress(gzip.compress(GOOD)), 415),
    "deflate": ("deflate", zlib.compress(GOOD), 415),
    "brotli": ("br", b"x", 415),
    "an encoding nobody knows": ("rot13", GOOD, 415),
    "50,000 empty gzip members": ("gzip", gzip.compress(b"") * 50_000, 400),
    "zstd cut short": ("zstd", zstandard.compress(GOOD)[:-3], 400),
    "zstd that is none": ("zstd", GOOD, 400),
    "100,000 empty zstd frames": ("zstd", zstandard.compress(b"") * 100_000, 400),
    "100,000 skippable zstd frames": ("zstd", b"\x50\x2a\x4d\x18\x00\x00\x00\x00" * 100_000, 400),
}


@pytest.mark.parametrize("what", BOMBS)
def test_bombs_are_refused(ask, what):
    encoding, make, status = BOMBS[what]
    assert_refused(ask(make(), headers={"Content-Encoding": encoding}), status)


@cases("what", COMPRESSED)
def test_malformed_compressed_bodies_are_refused(ask, what):
    encoding, body, status = COMPRESSED[what]
    answer = ask(body, headers={"Content-Encoding": encoding})
    assert_refused(answer, *((status,) if status != 400 else (400, 413)))


# Request heads.


def strange_head(server, request):
    """Send a head that may not be HTTP. An answer, if any, must be a quick 4xx."""
    began = time.monotonic()
    received = talk(server.port, request)
    assert time.monotonic() - began < QUICK_S
    assert not TRACES.search(received), received[:500]
    answers = parse_answers(received)
    assert all(400 <= answer.status < 500 for answer in answers), answers
    return answers


HEADERS = {
    "64 KiB in one header": [("X-Padding", "x" * 65_536)],
    "64 KiB of Authorization": [("Authorization", "Bearer " + "x" * 65_536)],
    "64 KiB of OAuth": [("Authorization", 'OAuth oauth_nonce="' + "x" * 65_536 + '"')],
    "64 KiB in a name": [("X" * 65_536, "1")],
    "64 KiB in many headers": [(f"X-{n}", "x" * 650) for n in range(99)],
    "5,000 headers": [(f"X-{n}", "1") for n in range(5000)],
    "a megabyte": [("X-Padding", "x" * MEGABYTE)],
}


@cases("what", HEADERS)
def test_headers_over_the_limit_are_refused(server, what):
    [answer] = strange_head(server, request_bytes("POST", PATH, HEADERS[what], GOOD))
    assert answer.status == 431


def test_headers_below_the_limit_are_accepted(server):
    headers = bearer_headers(server, ("X-Padding", "x" * 30_000))
    assert exchange(server.port, request_bytes("POST", PATH, headers, GOOD)).status == 200


ODD_HEADERS = {
    "a NUL in a value": ("X-Odd", "a\0b"),
    "a NUL in Authorization": ("Authorization", "Bearer a\0b"),
    "a lone carriage return": ("X-Odd", "a\rX-Injected: 1"),
    "a NUL in a name": ("X-\0Odd", "1"),
    "a space in a name": ("X Odd", "1"),
    "a space before the colon": ("X-Odd ", "1"),
    "a length that is negative": ("Content-Length", "-1"),
    "a length that is no number": ("Content-Length", "ten"),
    "a length of 10,000 digits": ("Content-Length", DIGITS),
    "an unknown transfer coding": ("Transfer-Encoding", "gzip"),
}


@cases("what", ODD_HEADERS)
def test_strange_headers(server, what):
    strange_head(server, request_bytes("POST", PATH, [ODD_HEADERS[what]]))


INJECTED = ["\r\nX-Injected: 1", "\nX-Injected: 1", "%0d%0aX-Injected:%201", "\x85X-Injected: 1"]


@cases("text", INJECTED)
@cases("where", ["path", "host", "authorization", "x-request-id"])
def test_nothing_is_injected_into_an_answer(server, text, where):
    path = f"/insights/{text}" if where == "path" else PATH
    headers = [(where, f"x{text}")] if where not in {"path", "host"} else []
    host = f"x{text}" if where == "host" else "localhost"
    request = request_bytes("POST", path, headers, host=host).replace(b"\r\n\r\n\r\n", b"\r\n\r\n")
    for answer in strange_head(server, request):
        assert "x-injected" not in answer.headers


def encoded_latin(text):
    return text.encode("utf-8").decode("latin-1")


TARGETS = [
    "/insights/engagement/%",
    "/insights/engagement/%zz",
    "/insights/engagement/%00",
    "/insights/engagement/totals%00",
    "/insights/engagement/totals%0d%0a",
    "/insights/engagement/%c3%28",
    "/insights/engagement/..%2f..%2fetc%2fpasswd",
    "/insights/engagement/../../../../etc/passwd",
    "//insights/engagement/totals",
    "/insights//engagement/totals",
    "/insights/engagement/totals;a=b",
    "/insights/engagement/" + "x" * 20_000,
    "/platform/v1/tweets/%00",
    "/platform/v1/tweets/" + "9" * 10_000,
    "/" + "%2e%2e/" * 1000,
    encoded_latin("/insights/engagement/é"),
    "*",
    "",
    "insights/engagement/totals",
    "/insights/engagement/totals#fragment",
    "/insights/engagement/to\0tals",
    "/insights/engagement/to tals",
    "http://[::1/insights",
    "http://elsewhere.example/insights/engagement/totals",
    "\\insights\\engagement\\totals",
    f"{PATH}?" + "a=1&" * 5000,
    f"{PATH}?oauth_signature=%zz",
    f"{PATH}?oauth_signature=",
    f"{PATH}?" + "oauth_nonce=1&" * 2000 + "oauth_signature=x",
    f"{PATH}?%00=%00",
]


@cases("target", TARGETS, ids=lambda target: repr(target[:40]))
@cases("method", ["POST", "GET", "DELETE"])
def test_strange_request_targets(server, method, target):
    strange_head(server, request_bytes(method, target, [("Accept-Encoding", "gzip")]))


@cases(
    "method",
    ["OPTIONS", "HEAD", "TRACE", "CONNECT", "PATCH", "PRI", "post", "X" * 5000, "GÉT", "\0"],
)
def test_strange_methods(server, method):
    strange_head(server, request_bytes(method, PATH))


HOSTS = [
    None,
    "",
    " ",
    "localhost:99999999",
    "localhost:",
    ":80",
    "[::1",
    "[::1]:80",
    "a b",
    "user:secret@localhost",
    "localhost/insights",
    "localhost?x",
    "é.example",
    "%00",
    "..",
    "x" * 20_000,
    "localhost\tlocalhost",
    "-",
    "1.2.3.4.5.6",
    "localhost, elsewhere.example",
]


@cases("host", HOSTS, ids=lambda host: repr(host and host[:30]))
def test_a_signature_for_another_host_is_refused(server, host):
    """A signature is valid only for the host that it was made for."""
    header = signed_header("POST", "http://other.example" + PATH, server.world.main)
    strange_head(server, request_bytes("POST", PATH, [("Authorization", header)], GOOD, host=host))


def test_two_host_headers(server):
    header = signed_header("POST", f"http://first.example{PATH}", server.world.main)
    headers = [("Host", "second.example"), ("Authorization", header)]
    strange_head(server, request_bytes("POST", PATH, headers, GOOD, host="first.example"))


# Framing.


def test_http_1_0(server):
    headers = "".join(f"{name}: {value}\r\n" for name, value in bearer_headers(server))
    request = (
        f"POST {PATH} HTTP/1.0\r\n{headers}Content-Length: {len(GOOD)}\r\n\r\n".encode() + GOOD
    )
    answer = exchange(server.port, request)
    assert answer.status == 200
    assert json.loads(answer.body) == {"g": {"111": {"favorites": "4"}}}


def test_http_1_0_signed_without_a_host(server):
    """Without a host there is nothing to sign, so the request is refused."""
    header = signed_header("POST", server.url + PATH, server.world.main)
    request = (
        f"POST {PATH} HTTP/1.0\r\nAuthorization: {header}\r\nContent-Length: {len(GOOD)}\r\n\r\n"
    ).encode() + GOOD
    answer = exchange(server.port, request)
    assert answer.status == 401


@cases(
    "first_line",
    [
        f"POST {PATH}",
        f"POST {PATH} HTTP/9.9",
        f"POST {PATH} HTTP/1.1 x",
        "x",
        "",
        "GET /",
        "\0\0\0\0",
    ],
)
def test_malformed_request_lines(server, first_line):
    strange_head(server, f"{first_line}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())


def test_tls_on_a_plain_port(server):
    strange_head(server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500)


def test_http_2_preface(server):
    """Refused or answered, but never a traceback or a hang."""
    with socket.create_connection((HOST, server.port), timeout=1) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100)
        try:
            received = read_all(connection)
        except TimeoutError:
            received = b""
    assert not TRACES.search(received)


def test_pipelined_requests_are_answered_in_order(server):
    bearer = bearer_headers(server)[0]
    one = request_bytes("POST", PATH, [bearer], GOOD).replace(b"Connection: close\r\n", b"")
    other = request_bytes("GET", PATH).replace(b"Connection: close\r\n", b"")
    last = request_bytes("POST", PATH, [bearer], GOOD)
    answers = parse_answers(talk(server.port, one + other + last))
    assert [answer.status for answer in answers] == [200, 405, 200]


def test_a_client_that_waits_for_100_continue(server):
    headers = bearer_headers(server, ("Expect", "100-continue"))
    request = request_bytes("POST", PATH, headers, GOOD)
    head = request[: -len(GOOD)]
    with socket.create_connection((HOST, server.port), timeout=PATIENCE_S) as connection:
        connection.sendall(head)
        received = connection.recv(4096)
        assert received.startswith(b"HTTP/1.1 100")
        connection.sendall(GOOD)
        rest = received.partition(b"\r\n\r\n")[2] + read_all(connection)
    [answer] = parse_answers(rest)
    assert answer.status == 200


def test_a_refusal_instead_of_100_continue(server):
    headers = bearer_headers(
        server, ("Expect", "100-continue"), ("Content-Length", str(5 * MEGABYTE))
    )
    with socket.create_connection((HOST, server.port), timeout=PATIENCE_S) as connection:
        connection.sendall(request_bytes("POST", PATH, headers))
        received = read_all(connection)
    assert parse_answers(received)[-1].status == 413


SMUGGLED = request_bytes("GET", "/health")


@cases(
    "headers",
    [
        [("Content-Length", "4"), ("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "chunked"), ("Content-Length", "4")],
        [("Content-Length", "4"), ("Content-Length", "200")],
        [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "identity")],
        [("Transfer-Encoding", "identity, chunked")],
        [("Transfer-Encoding", "\x0bchunked"), ("Content-Length", "4")],
    ],
    ids=str,
)
def test_request_smuggling(server, headers):
    """The end of the body is ambiguous. The smuggled request must not be answered."""
    request = request_bytes("POST", PATH, headers).replace(b"Connection: close\r\n", b"")
    received = talk(server.port, request + b"0\r\n\r\n" + SMUGGLED)
    assert received.count(b'{"status":"ok"}') <= 1
    statuses = [answer.status for answer in parse_answers(received)]
    assert statuses[0] >= 400
    assert not TRACES.search(received)


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\nabc\r\n0\r\n\r\n",
        b"-1\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"5;" + b"x" * 70_000 + b"\r\n",
    ],
    ids=["no number", "negative", "too large", "an endless extension"],
)
def test_broken_chunks(server, chunks):
    headers = bearer_headers(server, ("Transfer-Encoding", "chunked"))
    began = time.monotonic()
    received = talk(server.port, request_bytes("POST", PATH, headers) + chunks)
    assert time.monotonic() - began < QUICK_S
    assert all(400 <= answer.status < 500 for answer in parse_answers(received))


# Disconnecting and slow clients.


@cases("path", [PATH, "/platform/v1/events", "/oauth2/token"])
@cases("sent", [0, 1, 50])
def test_a_client_that_disconnects_early(server, path, sent):
    key = (
        server.world.platform_key if "platform" in path else server.bearer(server.world.main).token
    )
    headers = [("Authorization", f"Bearer {key}"), ("Content-Length", "1000")]
    talk(server.port, request_bytes("POST", path, headers), b"x" * sent, hang_up=True)


def test_disconnected_clients_free_their_places(server):
    """More disconnects than there are threads and places for batches."""
    key = server.world.platform_key
    headers = [("Authorization", f"Bearer {key}"), ("Content-Length", "1000")]
    for _ in range(30):
        talk(server.port, request_bytes("POST", "/platform/v1/events", headers), b"{", hang_up=True)
    body = b'{"tweet_id":"116","type":"favorites","at":"2099-01-01T00:00:00Z"}'

    def send():
        answer = server.client.platform("POST", "events", key, body=body)
        return answer if answer.status != 503 else None

    answer = wait_for(send, reason="free")  # the server notices a disconnect a little later
    assert answer.status == 422, answer


def test_slow_clients_do_not_delay_others(server):
    headers = bearer_headers(server, ("Content-Length", "1000"))
    slow = [socket.create_connection((HOST, server.port)) for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(request_bytes("POST", PATH, headers) + b"x")
        began = time.monotonic()
        answer = server.client.ask("totals", question("111"), server.bearer(server.world.main))
        assert answer.status == 200
        assert time.monotonic() - began < QUICK_S
    finally:
        for connection in slow:
            connection.close()


def test_slow_uploads_do_not_block_other_batches(server):
    """Uploads that never end must not block a valid batch for ever."""
    key = server.world.platform_key
    headers = [("Authorization", f"Bearer {key}"), ("Content-Length", "1000")]
    slow = [socket.create_connection((HOST, server.port)) for _ in range(20)]
    try:
        for connection in slow:
            connection.sendall(request_bytes("POST", "/platform/v1/events", headers) + b"x")
        time.sleep(0.1)
        answer = server.client.platform("POST", "events", key, body=b"{}")
        assert answer.status in {200, 503}, answer
        if answer.status == 503:
            assert answer.headers["retry-after"]
    finally:
        for connection in slow:
            connection.close()
    deadline = time.monotonic() + QUICK_S
    while server.client.platform("POST", "events", key, body=b"{}").status == 503:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_good_requests_are_served_during_a_flood_of_bad_ones(server):
    bearer = server.bearer(server.world.main)

    def bad(number):
        body = list(BODIES.values())[number % len(BODIES)]
        return requests.post(
            server.url + PATH, data=body, auth=Bearer("AAAA-none"), timeout=PATIENCE_S
        ).status_code

    def good(_number):
        return requests.post(
            server.url + PATH, data=GOOD, auth=bearer, timeout=PATIENCE_S
        ).status_code

    with ThreadPoolExecutor(8) as pool:
        bads, goods = pool.map(bad, range(150)), pool.map(good, range(50))
        assert set(bads) <= {401, 413}
        assert set(goods) == {200}


# Credentials.


def test_two_authorization_headers(server):
    bearer = bearer_headers(server)[0]
    signed = ("Authorization", signed_header("POST", f"http://localhost{PATH}", server.world.main))
    for pair in ([bearer, bearer], [bearer, signed], [signed, bearer], [signed, signed]):
        [answer] = strange_head(server, request_bytes("POST", PATH, pair, GOOD))
        assert answer.status == 401
        assert answer.headers["x-error-code"] == "malformed_authorization"


@cases(
    "token",
    [
        "",
        " ",
        "é",
        "AAAA AAAA",
        "x" * 20_000,
        "' OR 1=1 --",
        "../../etc/passwd",
        "%00",
        "\x7f",
        "\xff",
    ],
    ids=lambda token: repr(token[:20]),
)
def test_bearer_tokens(server, token):
    headers = [("Authorization", f"Bearer {encoded_latin(token)}")]
    for answer in strange_head(server, request_bytes("POST", PATH, headers, GOOD)):
        assert answer.status in {400, 401}


@cases("basic", ["", "=", "AAAA", "w6k6w6k=", "/////w==", "Og==", "x" * 20_000, "OjpvOg=="])
def test_basic_credentials(server, basic):
    headers = [
        ("Authorization", f"Basic {basic}"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ]
    request = request_bytes("POST", "/oauth2/token", headers, b"grant_type=client_credentials")
    [answer] = strange_head(server, request)
    assert answer.status == 403


@cases(
    "body",
    [b"\xff", b"grant_type=%ff", b"grant_type=%zz", b"&" * 16_000, b"a=b&" * 4000, b"%", b"\0"],
    ids=lambda body: repr(body[:20]),
)
@cases("path", ["/oauth2/token", "/oauth2/invalidate_token"])
def test_forms(server, path, body):
    main = server.world.main
    began = time.monotonic()
    answer = server.client.send(
        "POST",
        path,
        body=body,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        auth=requests.auth.HTTPBasicAuth(main.consumer_key, main.consumer_secret),
    )
    assert time.monotonic() - began < QUICK_S
    assert answer.status == 403
    assert answer.json()["errors"][0]["code"] == 99


@cases(
    ("method", "path"),
    [
        ("POST", "/oauth2/token"),
        ("POST", "/oauth/request_token"),
        ("POST", "/sign-in"),
        ("POST", "/portal/new"),
        ("GET", "/1.1/account/verify_credentials.json"),
        ("GET", "/1.1/application/rate_limit_status.json"),
    ],
)
@cases(("size", "too_large"), [(16_384, False), (16_385, True), (900_000, True)])
def test_a_strangers_form_is_small(server, method, path, size, too_large):
    body = b"a=" + b"b" * (size - 2)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = server.client.send(method, path, body=body, headers=headers)
    assert (answer.status == 413) is too_large, answer


@pytest.mark.parametrize("size", [139, 100_000])
def test_an_error_reaches_a_client_that_is_still_sending(server, size):
    """Head and body come in separate packets. After an early error the connection stays usable."""
    head = f"POST /insights/engagement/none HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
    with socket.create_connection((HOST, server.port), timeout=PATIENCE_S) as connection:
        for _ in range(3):
            connection.sendall(head.encode())
            time.sleep(0.05)
            connection.sendall(b"x" * size)
            [answer] = parse_answers(connection.recv(65_536))
            assert answer.status == 404
            assert "connection" not in answer.headers
