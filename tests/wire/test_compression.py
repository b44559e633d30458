"""Answers are gzip exactly for clients that accept it (api.md 1.4)."""

import gzip
import zlib

import pytest

from openengagement.language.negotiation import load_languages
from openengagement.look import Look
from openengagement.portal.rendering import Assets
from support.calls import question, sign_as_user
from support.cases import cases
from support.sockets import exchange, request_bytes

PATH = "/insights/engagement/totals"
REQUESTS = {
    "data": ("POST", PATH, 401),
    "nothing there": ("POST", "/insights/engagement/nothing", 404),
    "wrong method": ("GET", PATH, 405),
    "nothing there at all": ("GET", "/nothing", 404),
    "health": ("GET", "/health", 200),
    "token": ("POST", "/oauth2/token", 403),
    "wrong method for a token": ("GET", "/oauth2/token", 405),
    "platform": ("POST", "/platform/v1/events", 401),
    "nothing there for the platform": ("POST", "/platform/v1/nothing", 404),
    "delete": ("DELETE", "/platform/v1/tweets/1", 401),
}
TAKES_GZIP = (
    "gzip",
    "gzip, deflate",
    "deflate,gzip",
    "gzip;q=1.0,deflate;q=0.6,identity;q=0.3",
    "GZIP",
    "x-gzip",
    " gzip ",
    "br, gzip;q=0.001",
    "*",
    "*;q=0.5",
    "identity, *",
    "gzip; q=1",
)
TAKES_NO_GZIP = (
    None,
    "",
    "identity",
    "deflate",
    "gzip;q=0",
    "gzip; q=0.000",
    "gzip;q=0, *",
    "*;q=0",
    "gzipped",
    "br",
)


def raw(server, method, path, accept):
    headers = [] if accept is None else [("Accept-Encoding", accept)]
    return exchange(server.port, request_bytes(method, path, headers))


@cases("what", REQUESTS)
def test_every_answer_is_gzip_for_a_client_that_accepts_it(server, what):
    method, path, status = REQUESTS[what]
    plain, packed = (raw(server, method, path, accept) for accept in ("identity", "gzip"))
    assert (plain.status, packed.status) == (status, status)
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["vary"].lower() == plain.headers["vary"].lower() == "accept-encoding"


def test_an_empty_body_is_an_empty_gzip(server):
    answer = raw(server, "POST", "/insights/engagement/nothing", "gzip")
    assert answer.body.startswith(b"\x1f\x8b\x08")
    assert gzip.decompress(answer.body) == b""


@cases("accept", [*TAKES_GZIP, *TAKES_NO_GZIP])
def test_the_pages_and_the_api_read_accept_encoding_alike(server, accept):
    """The header has one meaning on both surfaces (RFC 9110, 12.5.3)."""
    encodings = {
        raw(server, "GET", path, accept).headers.get("content-encoding")
        for path in ("/health", Assets(Look(), load_languages()).url("portal.css"))
    }
    assert encodings == {"gzip" if accept in TAKES_GZIP else None}


def test_accept_encoding_in_two_headers_is_one_list(server):
    headers = [("Accept-Encoding", "gzip"), ("Accept-Encoding", "deflate")]
    answer = exchange(server.port, request_bytes("POST", PATH, headers))
    assert answer.headers.get("content-encoding") == "gzip"


@pytest.mark.parametrize(
    ("endpoint", "tweets"), [("totals", 1), ("totals", 250), ("historical", 25)]
)
def test_small_and_large_answers_decompress_completely(server, endpoint, tweets):
    """One gzip member with a valid checksum and no trailing data, at any size."""
    ids = ["111", *(str(5000 + n) for n in range(tweets - 1))]
    body = question(*ids, groupings={"g": {"group_by": ["tweet.id", "engagement.type"]}})
    answer = server.client.ask(endpoint, body, sign_as_user(server.world.main))
    assert answer.status == 200
    inflate = zlib.decompressobj(31)
    unpacked = inflate.decompress(answer.raw)
    assert inflate.eof
    assert inflate.unused_data == b""
    plain = server.client.ask(
        endpoint, body, sign_as_user(server.world.main), {"Accept-Encoding": "identity"}
    )
    if endpoint == "totals":
        assert unpacked == plain.raw


def test_a_large_answer_is_compressed(server):
    body = question(
        *("111", "112", "113", "114", "116", "118", "119"),
        types=("impressions", "engagements", "url_clicks", "favorites", "replies"),
        groupings={
            "g": {
                "group_by": [
                    *("engagement.type", "tweet.id", "engagement.day", "engagement.hour"),
                ]
            }
        },
        start="2024-05-01",
        end="2024-05-29",
    )
    answers = [
        server.client.ask(
            "historical", body, sign_as_user(server.world.main), {"Accept-Encoding": accept}
        )
        for accept in ("gzip", "identity")
    ]
    assert answers[0].body == answers[1].raw
    assert len(answers[1].raw) > 200_000
    assert len(answers[0].raw) < len(answers[1].raw) / 10


def test_204_has_no_body_and_no_encoding(server):
    """A 204 cannot have a body."""
    world = server.world
    row = {"id": "777000", "author_id": "202", "created_at": "2026-01-01T00:00:00Z"}
    assert server.client.platform("POST", "tweets", world.platform_key, body=[row]).status == 200
    answer = server.client.platform("DELETE", "tweets/777000", world.platform_key)
    assert answer.status == 204
    assert answer.raw == b""
    assert "content-encoding" not in answer.headers
