"""Reading requests and encoding answers (api.md 0, 1.4, 4.1)."""

import asyncio
import gzip
import tracemalloc
import zlib
from contextlib import nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openengagement.errors import (
    BodyTooLarge,
    BodyTooSlow,
    HeadersTooLarge,
    MalformedBody,
    RequestError,
    Unavailable,
    UnsupportedBody,
    WrongHost,
)
from openengagement.http import request as request_module
from openengagement.http.budget import ByteBudget
from openengagement.http.encoding import accepts_gzip, compress
from openengagement.http.reply import PIECE_BYTES, WHOLE_MAX_BYTES, Outbox
from openengagement.http.request import (
    UNCOUNTED_BYTES,
    Body,
    Request,
    check_head,
    read_head,
    read_message,
)
from openengagement.settings import Settings
from support.cases import cases

# A busy machine may be slow.
QUICK = settings(deadline=None, max_examples=40)


def fields_of(pairs):
    """The last header of every name, as text."""
    return {key: value.decode("latin-1") for key, value in pairs}


def request_with(*headers):
    """A request with headers, each `name: value`."""
    pairs = tuple(
        tuple(part.strip(" ").encode("latin-1") for part in h.split(":", 1)) for h in headers
    )
    return Request("POST", "/", "", pairs, fields_of(pairs), "https", "host", peer="", secure=True)


def head(*headers, peer="203.0.113.9", scheme="http", proxies="", **scope):
    pairs = [tuple(part.strip().encode() for part in h.split(":", 1)) for h in headers]
    base = {
        "type": "http", "method": "POST", "path": "/a", "raw_path": b"/a", "query_string": b"",
        "scheme": scheme, "headers": pairs, "client": (peer, 5000) if peer is not None else None,
    }  # fmt: skip
    return read_head({**base, **scope}, Settings(trusted_proxies=proxies))


# --- Accept-Encoding -----------------------------------------------------------------------------


@cases(
    ("named", "peer"),
    [
        ("198.51.100.4", "198.51.100.4"),
        ("198.51.100.4:5123", "198.51.100.4"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:5123", "2001:db8::1"),
        ("unknown", "unknown"),
    ],
)
def test_a_port_in_the_forwarded_address_is_removed(named, peer):
    got = head("host: x", f"x-forwarded-for: {named}", peer="10.1.2.3", proxies="10.0.0.0/8")
    assert got.peer == peer


@cases(
    "value",
    [
        "gzip",
        "GZIP",
        "Gzip",
        "gzip, deflate",
        "gzip,deflate,br",
        "deflate, gzip",
        "br;q=1.0, gzip;q=0.8, *;q=0.1",
        "gzip;q=1.0,deflate;q=0.6,identity;q=0.3",  # Ruby's Net::HTTP
        "gzip;q=0.001",
        "gzip;q=1",
        "gzip ; q=0.5",
        "gzip;Q=0.5",
        "identity;q=0, gzip",
        "*;q=0, gzip",
        "*",
        "*;q=0.5",
        "identity, *",
        "x-gzip",
        "X-GZip;q=0.5",
        " gzip ",
        "gzip,",
        ",,gzip",
        "gzip;level=9",
    ],
)
def test_gzip_is_accepted(value):
    assert accepts_gzip(request_with(f"accept-encoding: {value}").headers)


@cases(
    "value",
    [
        "",
        " ",
        ",",
        "identity",
        "deflate, br",
        "gzipped",
        "notgzip",
        "gzip;q=0",
        "gzip;q=0.0",
        "gzip;q=0.000",
        "gzip; q=0",
        "gzip;Q=0",
        "gzip ; q = 0",
        "gzip;\tq=0",
        "gzip;q=0\t",
        "gzip;q=0;x=1",
        "gzip;x=1;q=0",
        "GZIP;q=0, deflate",
        "gzip;q=0, *",
        "gzip;q=0, *;q=1",
        "*;q=0",
        "deflate, *;q=0",
        "x-gzip;q=0",
    ],
)
def test_gzip_is_not_accepted(value):
    assert not accepts_gzip(request_with(f"accept-encoding: {value}").headers)


def test_without_the_header_gzip_is_not_accepted():
    assert not accepts_gzip(request_with("host: x").headers)


@pytest.mark.parametrize(
    ("values", "accepted"),
    [(("gzip", "deflate"), True), (("deflate", "gzip"), True), (("br", "deflate"), False),
     (("*", "gzip;q=0"), False)],
)  # fmt: skip
def test_several_accept_encoding_headers_are_one_list(values, accepted):
    request = request_with(*(f"accept-encoding: {value}" for value in values))
    assert accepts_gzip(request.headers) is accepted


@QUICK
@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30))
def test_any_header_is_parsed_without_an_error(value):
    assert accepts_gzip(request_with(f"accept-encoding: {value}").headers) in {True, False}


# --- gzip ----------------------------------------------------------------------------------------


@QUICK
@given(st.binary(max_size=2000))
def test_a_compressed_body_decompresses_to_itself(body):
    assert gzip.decompress(compress(body)) == body


@cases("size", [0, 1, 4095, 4096, 4097, 70_000, 1_000_000])
def test_bodies_of_any_size_decompress(size):
    body = bytes(at * 7919 >> 5 & 255 for at in range(size))
    assert gzip.decompress(compress(body)) == body


def test_an_empty_body_becomes_valid_gzip():
    assert compress(b"")[:2] == b"\x1f\x8b"
    assert gzip.decompress(compress(b"")) == b""


def test_equal_bodies_compress_to_equal_bytes_without_a_time():
    assert compress(b"x" * 99) == compress(b"x" * 99)
    assert compress(b"x")[4:8] == bytes(4)


# --- scheme, host and peer -----------------------------------------------------------------------

FORWARDED = (
    "x-forwarded-proto: https",
    "x-forwarded-host: api.example",
    "x-forwarded-for: 198.51.100.4",
)


@cases(
    ("peer", "proxies"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("10.0.0.7", "10.0.0.0/8"),
        ("10.0.0.7", "192.168.0.0/16, 10.0.0.0/8"),
        ("127.0.0.1", "127.0.0.1"),
        ("fd00::7", "fd00::/8"),
        ("::1", "::1"),
        ("::ffff:10.0.0.7", "10.0.0.0/8"),
        ("::ffff:a00:7", "10.0.0.7"),
    ],
)
def test_forwarded_headers_of_a_trusted_proxy_count(peer, proxies):
    got = head("host: internal:8080", *FORWARDED, peer=peer, proxies=proxies)
    assert (got.scheme, got.host, got.secure) == ("https", "api.example", True)


@cases(
    ("peer", "proxies"),
    [
        ("10.0.0.7", ""),
        ("10.0.0.8", "10.0.0.7"),
        ("11.0.0.1", "10.0.0.0/8"),
        ("10.0.0.7", "fd00::/8"),
        ("fd00::7", "10.0.0.0/8"),
        ("::a00:7", "10.0.0.7"),
        ("", "0.0.0.0/0"),
        ("unix:", "0.0.0.0/0,::/0"),
        (None, "0.0.0.0/0,::/0"),
    ],
)
def test_forwarded_headers_of_other_peers_are_ignored(peer, proxies):
    got = head("host: real.example", *FORWARDED, peer=peer, proxies=proxies)
    assert (got.scheme, got.host, got.secure) == ("http", "real.example", False)


def test_a_remote_client_cannot_claim_to_be_local():
    got = head("host: x", "x-forwarded-for: 127.0.0.1", peer="203.0.113.9", proxies="10.0.0.0/8")
    assert not got.secure


def test_a_remote_client_behind_a_local_proxy_is_not_secure():
    got = head(
        "host: x", "x-forwarded-proto: http", "x-forwarded-for: 198.51.100.4",
        peer="127.0.0.1", proxies="127.0.0.1",
    )  # fmt: skip
    assert (got.scheme, got.secure) == ("http", False)


def test_only_the_last_item_of_a_forwarded_list_counts():
    got = head(
        "host: internal",
        "x-forwarded-proto: https, http",
        "x-forwarded-host: evil.example, api.example",
        "x-forwarded-for: 127.0.0.1, 198.51.100.4",
        peer="10.0.0.7",
        proxies="10.0.0.7",
    )
    assert (got.scheme, got.host, got.secure) == ("http", "api.example", False)


def test_a_trusted_proxy_without_forwarded_headers_changes_nothing():
    got = head("host: real.example", peer="10.0.0.7", proxies="10.0.0.7", scheme="https")
    assert (got.scheme, got.host, got.secure) == ("https", "real.example", True)


def test_a_forwarded_scheme_is_case_insensitive():
    got = head("host: x", "x-forwarded-proto: HTTPS", peer="10.0.0.7", proxies="10.0.0.7")
    assert (got.scheme, got.secure) == ("https", True)


@cases(
    "peer",
    ["127.0.0.1", "127.0.0.2", "127.255.255.255", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1",
     "::ffff:7f00:1"],
)  # fmt: skip
def test_a_local_client_is_secure(peer):
    assert head("host: x", peer=peer).secure


@cases(
    "peer",
    ["203.0.113.9", "128.0.0.1", "10.0.0.1", "0.0.0.0", "::", "fe80::1", "::2", "::127.0.0.1",
     "::ffff:10.0.0.1", "2001:db8::1", "localhost", "127.1", "", "unix:", None],
)  # fmt: skip
def test_a_remote_client_over_plain_http_is_not_secure(peer):
    assert not head("host: x", peer=peer).secure
    assert head("host: x", peer=peer, scheme="https").secure


def test_path_and_query_stay_percent_encoded():
    got = head(raw_path=b"/a%20b/%E2%98%83", path="/a b/☃", query_string=b"x=%41+1&y")
    assert (got.method, got.path, got.query) == ("POST", "/a%20b/%E2%98%83", "x=%41+1&y")


def test_the_query_is_removed_from_a_raw_path():
    assert head(raw_path=b"/a?x=1", query_string=b"x=1").path == "/a"


@pytest.mark.parametrize("raw_path", [None, b""])
def test_without_a_raw_path_the_decoded_path_is_encoded(raw_path):
    assert head(raw_path=raw_path, path="/a b/☃~-._").path == "/a%20b/%E2%98%83~-._"


def test_the_last_of_repeated_headers_counts():
    got = head("x-a: 1", "x-a: 2", "x-b: 3")
    assert (got.header(b"x-a"), got.header(b"x-b"), got.header(b"x-c")) == ("2", "3", "")


def test_authentication_sees_every_authorization_header():
    got = head("authorization: OAuth a", "content-type: text/plain", "authorization: Bearer b")
    message = got.message(b"body")
    assert message.authorization == ("OAuth a", "Bearer b")
    assert (message.body, message.content_type, message.path) == (b"body", "text/plain", "/a")
    assert message.scheme == "http"


# --- header cap ----------------------------------------------------------------------------------


def with_head(*pairs, path="/", query=""):
    return Request(
        "POST", path, query, pairs, fields_of(pairs), "https", "host", peer="", secure=True
    )


def test_a_head_may_be_as_large_as_the_limit():
    request = with_head((b"host", b"x" * 50), (b"a", b"b" * 42), path="/p", query="q")
    check_head(request, 100)
    with pytest.raises(HeadersTooLarge) as caught:
        check_head(request, 99)
    assert caught.value.status == 431
    assert "99" in caught.value.texts[0]


def test_the_size_of_a_head_includes_all_header_names():
    request = with_head(*((b"x", b""),) * 101, path="")
    check_head(request, 101)
    with pytest.raises(HeadersTooLarge):
        check_head(request, 100)


HOSTS = frozenset({"api.example", "[::1]", "localhost:8080"})


@cases(
    "host",
    ["api.example", "API.Example", "api.example:8443", "[::1]", "[::1]:80", "localhost:8080"],
)
def test_the_servers_own_hosts_are_served(host):
    check_head(head(f"host: {host}"), 1000, hosts=HOSTS)


@cases(
    "host",
    ["", "api.twitter.com", "api.example.evil", "xapi.example", "localhost", "localhost:8081",
     "api.example:80:80", "api.example:", "[::2]", "api.example:8443x", "api.example."],
)  # fmt: skip
def test_other_hosts_are_refused(host):
    with pytest.raises(WrongHost) as caught:
        check_head(head(f"host: {host}"), 1000, hosts=HOSTS)
    assert (caught.value.status, caught.value.code) == (421, "wrong_host")


def test_a_forwarded_host_of_a_trusted_proxy_is_checked():
    for name, refused in (("api.example", False), ("evil.example", True)):
        request = head(
            "host: internal", f"x-forwarded-host: {name}", peer="10.0.0.7", proxies="10.0.0.7"
        )
        with pytest.raises(WrongHost) if refused else nullcontext():
            check_head(request, 1000, hosts=HOSTS)


def test_without_a_list_every_host_is_served():
    check_head(head("host: anything"), 1000)


# --- bodies --------------------------------------------------------------------------------------


class Sent:
    """An ASGI `receive` with the client's messages; counts its calls."""

    def __init__(self, *parts, gone=False):
        last = len(parts) - 1
        self.messages = [
            {"type": "http.request", "body": part, "more_body": gone or at < last}
            for at, part in enumerate(parts)
        ]
        if gone:
            self.messages.append({"type": "http.disconnect"})
        self.asked = 0

    async def __call__(self):
        self.asked += 1
        return self.messages.pop(0)


def make_body(request, receive, *, timeout_s=5, budget=None, discards=1):
    return Body(
        request,
        receive,
        timeout_s=timeout_s,
        budget=budget or ByteBudget(1000, "request bodies"),
        discards=discards
        if isinstance(discards, asyncio.Semaphore)
        else asyncio.Semaphore(discards),
    )


def body_of(receive, *headers, limit=10):
    return asyncio.run(make_body(request_with(*headers), receive).read(limit))


@pytest.mark.parametrize(
    "parts", [[b""], [b"0123456789"], [b"01234", b"56789"], [b"", b"0", b"", b"1"]]
)
def test_a_body_is_read_whole_up_to_the_limit(parts):
    assert body_of(Sent(*parts)) == b"".join(parts)


def test_asgi_messages_may_omit_body_and_more_body():
    async def receive():
        return {"type": "http.request"}

    assert body_of(receive) == b""


@pytest.mark.parametrize("parts", [[b"0123456789a"], [b"01234", b"56789a"], [b"0" * 11, b""]])
def test_a_body_past_the_limit_is_refused(parts):
    with pytest.raises(BodyTooLarge) as caught:
        body_of(Sent(*parts))
    assert caught.value.status == 413
    assert "10" in caught.value.texts[0]


def test_reading_stops_at_the_limit():
    receive = Sent(*[b"0123456789"] * 100)
    with pytest.raises(BodyTooLarge):
        body_of(receive)
    assert receive.asked == 2


@pytest.mark.parametrize("length", ["11", "99999999999999999999", "9" * 5000])
def test_a_declared_length_above_the_limit_is_refused_before_reading(length):
    receive = Sent(b"")
    with pytest.raises(BodyTooLarge):
        body_of(receive, f"content-length: {length}")
    assert receive.asked == 0


@cases("length", ["10", "5", "0", "", "-1", "abc", "²"])
def test_other_declared_lengths_are_ignored(length):
    assert body_of(Sent(b"0123456789"), f"content-length: {length}") == b"0123456789"
    with pytest.raises(BodyTooLarge):
        body_of(Sent(b"0123456789a"), f"content-length: {length}")


@pytest.mark.parametrize("parts", [[], [b"0"], [b"0", b"1"]])
def test_a_truncated_body_is_refused(parts):
    with pytest.raises(MalformedBody):
        body_of(Sent(*parts, gone=True))


# --- whole messages ------------------------------------------------------------------------------


def message_of(body, encoding="", *, limit=1000):
    async def read(most, *, counted):
        assert (most, counted) == (limit, False)
        return body

    request = request_with(f"content-encoding: {encoding}", "content-type: text/plain")
    return asyncio.run(read_message(request, read, limit=limit))


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", " gzip "])
def test_a_compressed_body_is_decompressed(encoding):
    assert message_of(gzip.compress(b"hello"), encoding).body == b"hello"


@pytest.mark.parametrize("encoding", ["", "identity"])
def test_a_plain_body_is_unchanged(encoding):
    assert message_of(b"hello", encoding).body == b"hello"


def test_a_decompressed_body_may_be_as_large_as_the_limit():
    assert len(message_of(gzip.compress(bytes(1000)), "gzip").body) == 1000
    with pytest.raises(BodyTooLarge):
        message_of(gzip.compress(bytes(1001)), "gzip")


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "compress"])
def test_another_encoding_is_refused(encoding):
    with pytest.raises(UnsupportedBody):
        message_of(b"x", encoding)


@pytest.mark.parametrize(
    "body", [b"hello", gzip.compress(b"hello", mtime=0)[:-3], zlib.compress(b"hello")]
)
def test_a_body_that_does_not_match_its_encoding_is_refused(body):
    with pytest.raises(RequestError) as caught:
        message_of(body, "gzip")
    assert caught.value.status == 400


def test_a_slow_body_is_refused_after_the_timeout():
    """Otherwise a silent client would keep its connection for ever."""

    async def silent():
        await asyncio.Event().wait()

    request = with_head((b"content-length", b"1000"))
    with pytest.raises(BodyTooSlow) as caught:
        asyncio.run(make_body(request, silent, timeout_s=0.01).read(1000))
    assert caught.value.status == 408


@cases(
    ("headers", "asked"),
    [
        ([], 0),
        ([(b"content-length", b"0")], 0),
        ([(b"content-length", b"3")], 2),
        ([(b"transfer-encoding", b"chunked")], 2),
        ([(b"content-length", b"1048577")], 0),
        ([(b"content-length", b"9" * 30)], 0),
    ],
)
def test_the_rest_of_a_short_body_is_read_before_an_error_is_sent(headers, asked):
    receive = Sent(b"12", b"3")
    asyncio.run(make_body(with_head(*headers), receive).discard())
    assert receive.asked == asked


def test_a_body_that_was_read_is_not_read_again():
    receive = Sent(b"123")
    body = make_body(with_head((b"content-length", b"3")), receive)

    async def read_and_discard():
        await body.read(10)
        await body.discard()

    asyncio.run(read_and_discard())
    assert receive.asked == 1


@pytest.mark.parametrize("end", ["whole", "too slow", "gone", "cancelled"])
def test_a_bounded_number_of_bodies_is_discarded_at_once(end, monkeypatch):
    """A refusal of any other body is sent at once."""
    monkeypatch.setattr(request_module, "_DISCARD_S", 0.02 if end == "too slow" else 5)
    request = with_head((b"content-length", b"3"))

    async def discard_two():
        discards, arrives = asyncio.Semaphore(1), asyncio.Event()

        async def receive():
            await arrives.wait()
            return {"type": "http.disconnect" if end == "gone" else "http.request", "body": b"123"}

        first = asyncio.create_task(make_body(request, receive, discards=discards).discard())
        await asyncio.sleep(0)
        other = Sent(b"123")
        await make_body(request, other, discards=discards).discard()
        assert other.asked == 0
        if end in {"whole", "gone"}:
            arrives.set()
        elif end == "cancelled":
            first.cancel()
        await asyncio.wait([first])
        await make_body(request, other, discards=discards).discard()
        assert other.asked == 1

    asyncio.run(discard_two())


def test_a_body_in_tiny_parts_takes_little_memory():
    parts = [b"xx"] * 50_000
    receive = Sent(*parts)
    tracemalloc.start()
    try:
        body = asyncio.run(make_body(with_head(), receive).read(100_000))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert body == b"xx" * 50_000
    assert most < 400_000  # a list of the parts would have 2 million


# --- the bytes in flight -------------------------------------------------------------------------


def read_counted(receive, *headers, budget, limit=50_000):
    body = make_body(with_head(*headers), receive, budget=budget)
    return body, asyncio.run(body.read(limit, counted=True))


def refused(receive, *headers, budget):
    with pytest.raises(Unavailable) as caught:
        read_counted(receive, *headers, budget=budget)
    assert (caught.value.status, caught.value.headers["retry-after"]) == (503, "1")


LARGE = b"x" * (UNCOUNTED_BYTES + 1)
DECLARED = (b"content-length", b"%d" % len(LARGE))


def test_a_large_body_takes_its_declared_size_from_the_budget_until_it_is_released():
    budget = ByteBudget(2 * len(LARGE), "request bodies")
    made = [read_counted(Sent(LARGE), DECLARED, budget=budget) for _ in range(2)]
    assert [content for _, content in made] == [LARGE, LARGE]
    receive = Sent(LARGE)
    refused(receive, DECLARED, budget=budget)
    assert receive.asked == 0  # it is refused before it arrives
    made[0][0].release()
    made[0][0].release()  # a second release changes nothing
    read_counted(Sent(LARGE), DECLARED, budget=budget)
    refused(Sent(LARGE), DECLARED, budget=budget)


def test_a_large_body_without_a_declared_size_takes_the_most_it_may_have():
    budget = ByteBudget(100_000, "request bodies")
    for _ in range(2):
        read_counted(Sent(LARGE[:100], LARGE[100:]), budget=budget, limit=50_000)
    refused(Sent(LARGE[:100], LARGE[100:], LARGE), budget=budget)


@cases("parts", [[LARGE[1:]], [b"x", LARGE[2:]], [b""]])
@cases("declared", [False, True])
def test_a_small_body_is_read_although_the_budget_is_used_up(parts, declared):
    budget = ByteBudget(10, "request bodies")
    budget.take(10)
    size = sum(map(len, parts))
    headers = [(b"content-length", b"%d" % size)] if declared else []
    assert len(read_counted(Sent(*parts), *headers, budget=budget)[1]) == size


def test_a_body_that_is_not_counted_is_read_although_the_budget_is_used_up():
    budget = ByteBudget(10, "request bodies")
    budget.take(10)
    body = make_body(with_head(DECLARED), Sent(LARGE), budget=budget)
    assert asyncio.run(body.read(50_000)) == LARGE


def test_a_single_body_may_be_larger_than_the_budget():
    """Otherwise a small budget would refuse it for ever."""
    assert read_counted(Sent(LARGE), DECLARED, budget=ByteBudget(10, "bodies"))[1] == LARGE


def test_a_body_that_is_refused_for_its_size_takes_nothing():
    budget = ByteBudget(10, "request bodies")
    body = make_body(with_head(DECLARED), Sent(LARGE), budget=budget)
    with pytest.raises(BodyTooLarge):
        asyncio.run(body.read(10, counted=True))
    assert budget._taken == 0


class Client:
    """An ASGI `send` that takes at most `most` messages and then waits for ever."""

    def __init__(self, most=1000):
        self.most = most
        self.messages = []

    async def __call__(self, message):
        if len(self.messages) == self.most:
            await asyncio.Event().wait()
        self.messages.append(message)

    @property
    def body(self):
        return b"".join(message["body"] for message in self.messages[1:])


START = {"type": "http.response.start", "status": 200, "headers": []}


def send(client, body, *, budget=None, timeout_s=5):
    outbox = Outbox(budget or ByteBudget(1_000_000, "responses"), timeout_s=timeout_s)
    asyncio.run(outbox.send(START, body, send=client))


def test_a_small_answer_is_one_message_and_not_counted():
    budget, client = ByteBudget(1, "responses"), Client()
    budget.take(1)
    send(client, b"x" * WHOLE_MAX_BYTES, budget=budget)
    assert [message["type"] for message in client.messages] == [
        "http.response.start",
        "http.response.body",
    ]


@pytest.mark.parametrize("size", [WHOLE_MAX_BYTES + 1, 5 * PIECE_BYTES, 300_001])
def test_a_large_answer_is_sent_whole_in_pieces(size):
    body = bytes(at * 7919 >> 5 & 255 for at in range(size))
    client = Client()
    send(client, body)
    assert client.body == body
    more = [message.get("more_body", False) for message in client.messages[1:]]
    assert more == [True] * (len(more) - 1) + [False]
    assert max(len(message["body"]) for message in client.messages[1:]) == PIECE_BYTES


def test_a_large_answer_counts_until_it_is_taken_or_given_up():
    budget = ByteBudget(100_000, "responses")
    client = Client(most=2)
    send(client, b"x" * 90_000, budget=budget, timeout_s=0.01)
    assert len(client.messages) == 2  # the connection ends with a part of the body
    send(Client(), b"x" * 100_000, budget=budget)
    budget.take(50_000)
    client = Client()
    with pytest.raises(Unavailable) as caught:
        send(client, b"x" * 90_001, budget=budget)
    assert caught.value.headers["retry-after"] == "1"
    assert client.messages == []


@pytest.mark.heavy
def test_a_client_that_takes_a_piece_in_time_gets_the_whole_answer():
    class Slow(Client):
        async def __call__(self, message):
            await asyncio.sleep(0.25)
            await super().__call__(message)

    client = Slow()
    send(client, b"x" * (5 * PIECE_BYTES), timeout_s=2)  # ten messages take longer
    assert len(client.body) == 5 * PIECE_BYTES
