"""The platform API (api.md 6): formats, rejections, idempotency, deletion and limits."""

import gzip
import io
import json
import time

import polars as pl
import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from support.calls import Bearer, question, sign_as_user
from support.cases import cases
from support.server import Server
from support.stores import query_registry

REASONS_SHOWN = 100
AT = "2024-06-01T10:15:00Z"
HEADER = {"ndjson": "application/x-ndjson", "json": "application/json", "csv": "text/csv"}


@pytest.fixture(scope="module")
def server(world):
    """A server for this module, with small limits."""
    settings = {
        "batch_max_bytes": "200000",
        "batch_max_decompressed_bytes": "400000",
        "batch_max_lines": "2000",
    }
    with Server(world, settings=settings) as running:
        yield running


@pytest.fixture
def send(server):
    def post(what, body, form="ndjson", *, query="", key=None, **headers):
        given = {"Content-Type": HEADER.get(form, form)}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return server.client.platform(
            "POST", f"{what}{query}", key or server.world.platform_key, body=body, headers=given
        )

    return post


@pytest.fixture
def favorites(server):
    """Read the favorites of a Tweet of bob; every test uses its own Tweet."""

    def count(tweet_id):
        answer = server.client.ask("totals", question(tweet_id), server.bearer(server.world.main))
        assert answer.status == 200, answer
        return int(answer.json()["g"][tweet_id]["favorites"])

    return count


@pytest.fixture
def tweet(send):
    """A new Tweet of bob."""
    tweet_id = str(time.time_ns() // 1000)
    row = {"id": tweet_id, "author_id": "202", "created_at": "2026-01-01T00:00:00Z"}
    assert send("tweets", json.dumps(row)).json()["accepted"] == 1
    return tweet_id


def event(tweet_id, **fields):
    return {"tweet_id": tweet_id, "type": "favorites", "at": AT, **fields}


def lines(*rows):
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def outcome(accepted, rejected=0, *, duplicate=False):
    return {
        "accepted": accepted,
        "rejected": rejected,
        "rejections": [],
        "reasons": {},
        "duplicate": duplicate,
    }


# Authentication.


@cases(
    ("authorization", "code"),
    [
        (None, "unknown_authorization_type"),
        ("Bearer", "platform_key_not_found"),
        ("Bearer oepk_wrong", "platform_key_not_found"),
        ("Bearer " + "x" * 5000, "platform_key_not_found"),
        ("Basic dTpw", "unknown_authorization_type"),
        ("oepk_x", "unknown_authorization_type"),
    ],
)
@cases("call", ["events", "tweets", "accounts", "tweets/111"])
def test_invalid_platform_keys_are_refused(server, call, authorization, code):
    method = "DELETE" if "/" in call else "POST"
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = server.client.send(method, f"/platform/v1/{call}", body=b"{}", headers=headers)
    assert (answer.status, answer.code) == (401, code)
    assert answer.json()["errors"]


def test_an_apps_bearer_token_is_no_platform_key(server, send):
    bearer = server.bearer(server.world.main).token
    assert send("events", lines(event("111")), key=bearer).status == 401


def test_a_platform_key_reads_nothing(server):
    answer = server.client.ask("totals", question("111"), Bearer(server.world.platform_key))
    assert (answer.status, answer.code) == (401, "bearer_token_not_found")


def test_the_platform_key_is_verified_before_the_body(server):
    answer = server.client.platform("POST", "events", "wrong", body=b"x" * 250_000)
    assert answer.status == 401


# Formats.

ROWS = [
    {"type": "favorites", "count": 2, "promoted": False},
    {"type": "impressions", "count": 5, "promoted": True},
    {"type": "impressions", "count": 7, "promoted": False},
    {"type": "url_clicks", "count": 1, "promoted": True},
]


def frame(tweet_id):
    return pl.DataFrame([event(tweet_id, **row) for row in ROWS])


def written(method, *arguments):
    target = io.BytesIO()
    method(target, *arguments)
    return target.getvalue()


FORMATS = {
    "ndjson": lambda f: ("application/x-ndjson", f.write_ndjson().encode()),
    "ndjson by another name": lambda f: ("application/jsonl", f.write_ndjson().encode()),
    "json array": lambda f: ("application/json", f.write_json().encode()),
    "json array with charset": lambda f: (
        "application/json; charset=utf-8",
        f.write_json().encode(),
    ),
    "json array over lines": lambda f: (
        "application/json",
        json.dumps(json.loads(f.write_json()), indent=2).encode(),
    ),
    "csv": lambda f: ("text/csv", f.write_csv().encode()),
    "csv in another order": lambda f: (
        "text/csv",
        f.select(reversed(f.columns)).write_csv().encode(),
    ),
    "csv with carriage returns": lambda f: (
        "text/csv",
        f.write_csv(line_terminator="\r\n").encode(),
    ),
    "parquet": lambda f: ("application/vnd.apache.parquet", written(f.write_parquet)),
    "arrow stream": lambda f: ("application/vnd.apache.arrow.stream", written(f.write_ipc_stream)),
    "arrow file": lambda f: ("application/vnd.apache.arrow.file", written(f.write_ipc)),
    "parquet with numbers and times": lambda f: (
        "application/vnd.apache.parquet",
        written(
            f.with_columns(
                pl.col("tweet_id").cast(pl.Int64), pl.col("at").str.to_datetime(time_zone="UTC")
            ).write_parquet
        ),
    ),
    "arrow stream, nothing named": lambda f: ("", written(f.write_ipc_stream)),
    "ndjson, nothing named": lambda f: ("", f.write_ndjson().encode()),
    "json array as curl sends it": lambda f: (
        "application/x-www-form-urlencoded",
        f.write_json().encode(),
    ),
}


# tests/unit/ingest/test_compression.py decompresses every format.
@pytest.mark.parametrize(
    ("name", "encoding"),
    [*((name, "") for name in FORMATS), ("ndjson", "gzip"), ("ndjson", "zstd"), ("csv", "zstd")],
)
def test_every_format_is_accepted(send, server, favorites, tweet, name, encoding):
    form, body = FORMATS[name](frame(tweet))
    pack = {"": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}[encoding]
    headers = {"Content_Encoding": encoding} if encoding else {}
    answer = send("events", pack(body), form, **headers)
    assert answer.status == 200, answer
    assert answer.json() == outcome(4)
    assert answer.is_gzip
    found = server.client.ask(
        "totals",
        question(tweet, types=("impressions", "engagements", "favorites")),
        sign_as_user(server.world.bobs),
    ).json()
    if found.keys() == {"g"}:  # under 90 days old, otherwise the answer has a message
        assert found["g"][tweet] == {"impressions": "7", "engagements": "3", "favorites": "2"}
    assert favorites(tweet) == 2


@cases(
    "form", ["application/xml", "text/html", "image/png", "multipart/form-data; boundary=x", "x"]
)
def test_unknown_content_types_are_refused(send, form):
    answer = send("events", b"<x/>", form)
    assert (answer.status, answer.code) == (415, "unsupported_body")


@cases("form", ["application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"])
@cases("body", [b"", b"nonsense", b"PAR1PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff\x10"])
def test_invalid_columnar_bodies_are_refused(send, form, body):
    answer = send("events", body, form)
    assert (answer.status, answer.code) == (400, "malformed_body"), answer


def test_files_that_follow_each_other_are_refused(send, tweet, favorites):
    for name, between in (("parquet", b"\n"), ("parquet", b""), ("arrow file", b"")):
        form, body = FORMATS[name](frame(tweet))
        answer = send("events", body + between + body, form)
        assert (answer.status, answer.code) == (400, "malformed_body")
        assert "send them one by one" in answer.json()["errors"][0]
    assert favorites(tweet) == 0


def test_columnar_texts_that_are_not_utf_8_are_refused(send):
    names = pa.array([b"b\xffb", b"bob"])
    texts = pa.Array.from_buffers(pa.string(), 2, names.buffers())
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({"id": [5, 6], "screen_name": texts}), sink)
    body = sink.getvalue().to_pybytes()

    answer = send("accounts", body, "application/vnd.apache.parquet")

    assert (answer.status, answer.code) == (400, "malformed_body")
    assert answer.json()["errors"] == ["body: column screen_name has bytes that are not UTF-8"]


def test_truncated_columnar_bodies_are_refused(send, tweet, favorites):
    for name in ("parquet", "arrow stream"):
        form, body = FORMATS[name](frame(tweet))
        for keep in (len(body) // 3, len(body) * 2 // 3):
            assert send("events", body[:keep], form).status == 400
    assert favorites(tweet) == 0


@cases("body", ["{}", '"x"', "[1,", "nonsense", "null", "[" * 10_000, "\xff", '{"a":' * 10_000])
def test_bodies_other_than_a_json_array_are_refused(send, body):
    answer = send("events", body.encode("latin-1"), "json")
    assert answer.status in {400, 422}
    found = answer.json()
    if answer.status == 422:  # an object is a batch of one line
        assert (found["accepted"], found["rejected"]) == (0, 1)


# Bodies as real programs send them, and the counted favorites. "ID" stands for the Tweet.
READ = {
    "TRUE and FALSE of a spreadsheet": (
        "csv",
        f"tweet_id,type,at,promoted\nID,favorites,{AT},TRUE\nID,favorites,{AT},FALSE\n",
        2,
    ),
    "a byte order mark": ("ndjson", "\ufeff" + lines(event("ID"), event("ID")), 2),
    "a byte order mark in CSV": ("csv", f"\ufefftweet_id,type,at\nID,favorites,{AT}\n", 1),
    "a byte order mark before an array": ("json", "\ufeff" + json.dumps([event("ID")]), 1),
    "an object over several lines": ("json", json.dumps(event("ID"), indent=2), 1),
    "the output of jq": ("json", "\n".join([json.dumps(event("ID"), indent=2)] * 3), 3),
    "a key twice": ("ndjson", lines(event("ID", count=2))[:-2] + ',"count":5}\n', 5),
    "a number beyond a double": ("ndjson", lines(event("ID"))[:-2] + ',"ratio":1e400}', 1),
    "counts with a fraction": ("csv", f"tweet_id,type,at,count\nID,favorites,{AT},3.0\n", 3),
    "counts with an exponent": ("ndjson", lines(event("ID")).replace("}", ',"count":1e3}'), 1000),
    "a space in a time": ("ndjson", lines(event("ID", at="2024-06-01 10:15:00+05:30")), 1),
    "a leap second": ("ndjson", lines(event("ID", at="2024-06-01T23:59:60Z")), 1),
}


@pytest.mark.parametrize("case", READ)
def test_bodies_of_real_programs_are_counted(send, favorites, tweet, case):
    form, text, count = READ[case]
    answer = send("events", text.replace("ID", tweet).encode(), form)
    assert (answer.status, answer.json()["rejected"]) == (200, 0), answer
    assert favorites(tweet) == count


# Bodies that are refused as a whole, and a word of the message.
REFUSED = {
    "semicolons": ("csv", f"tweet_id;type;at\nID;favorites;{AT}\n", "semicolons"),
    "a column missing": ("csv", "tweet_id,type\nID,favorites\n", "names no column at"),
    "line ends removed": ("csv", f"tweet_id,type,atID,favorites,{AT}", "--data-binary"),
    "carriage returns": ("csv", f"tweet_id,type,at\rID,favorites,{AT}\r", "carriage return"),
    "an array as NDJSON": ("ndjson", json.dumps([event("ID")], indent=0), "a JSON array"),
    "data after an array": ("json", json.dumps([event("ID")]) + lines(event("ID")), "trailing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bodies_that_are_no_batch_are_refused_as_a_whole(send, favorites, tweet, case):
    form, text, message = REFUSED[case]
    answer = send("events", text.replace("ID", tweet).encode(), form)
    assert (answer.status, answer.code) == (400, "malformed_body")
    [error] = answer.json()["errors"]
    assert message in error
    assert favorites(tweet) == 0


def test_lines_after_an_unclosed_quote_are_rejected(send, favorites, tweet):
    row = f"{tweet},favorites,{AT},"
    body = "\n".join(["tweet_id,type,at,text", row, row + '"to be', *[row] * 200])
    answer = send("events", body, "csv").json()
    assert (answer["accepted"], answer["rejected"]) == (1, 201)
    assert answer["reasons"] == {"malformed": 201}
    assert answer["rejections"][0]["line"] == 3
    assert favorites(tweet) == 1
    assert send("events", body, "csv", query="?atomic=true").status == 400
    assert favorites(tweet) == 1


@cases("form", ["ndjson", "json", "csv", "application/gzip", ""])
def test_undeclared_compression_is_named(send, form):
    for name, pack in (("gzip", gzip.compress), ("zstd", zstandard.compress)):
        answer = send("events", pack(lines(event("1")).encode()), form)
        assert (answer.status, answer.code) == (400, "malformed_body")
        assert answer.json()["errors"] == [f"body: is {name} data; send Content-Encoding: {name}"]


def test_an_empty_batch(send):
    assert send("events", b"").json() == outcome(0)
    assert send("events", b"[]", "json").json() == outcome(0)
    assert send("events", b"\n\n\n").json() == outcome(0)


# Rejections.

BAD = {
    "malformed": ["{", "[1]", "nonsense", '"x"', '{"tweet_id":}'],
    "missing_field": [
        {"type": "favorites", "at": AT},
        {"tweet_id": "1", "at": AT},
        {"tweet_id": "1", "type": "favorites"},
        {"tweet_id": None, "type": "favorites", "at": AT},
    ],
    "invalid_id": [event("abc"), event("-1"), event("0"), event("9" * 19), event(1.5), event("")],
    "unknown_type": [event("1", type="likes"), event("1", type="engagements"), event("1", type=7)],
    "invalid_time": [
        event("1", at="yesterday"),
        event("1", at="2024-02-30T00:00:00Z"),
        event("1", at="2024-06-01T10:15:00"),
        event("1", at="1969-12-31T23:59:59Z"),
        event("1", at=""),
    ],
    "in_future": [event("1", at="2199-01-01T00:00:00Z")],
    "invalid_count": [event("1", count="x"), event("1", count=1.5), event("1", count=10**15)],
    "invalid_flag": [event("1", promoted="maybe"), event("1", promoted=2)],
}


def test_bad_lines_do_not_affect_the_good_ones(send, favorites, tweet):
    """Good and bad lines alternate. `tests/unit/ingest/test_rows.py` has every rule."""
    bad = [(reason, row) for reason, rows in BAD.items() for row in rows]
    answer = send("events", lines(*(line for _, row in bad for line in (event(tweet), row))))
    assert answer.status == 200, answer
    found = answer.json()
    assert (found["accepted"], found["rejected"]) == (len(bad), len(bad))
    assert found["duplicate"] is False
    assert [(each["line"], each["reason"]) for each in found["rejections"]] == [
        (2 * number, reason) for number, (reason, _) in enumerate(bad, start=1)
    ]
    assert all(each["detail"] for each in found["rejections"])
    assert found["reasons"] == {reason: len(rows) for reason, rows in BAD.items()}
    assert favorites(tweet) == len(bad)


def test_up_to_a_hundred_rejections_are_listed_and_all_are_counted(send, tweet, favorites):
    rows = [event(tweet, type="likes"), event(tweet, at="never"), event(tweet)] * 100
    found = send("events", lines(*rows)).json()
    assert (found["accepted"], found["rejected"]) == (100, 200)
    assert len(found["rejections"]) == REASONS_SHOWN
    assert [each["line"] for each in found["rejections"][:4]] == [1, 2, 4, 5]
    assert found["reasons"] == {"invalid_time": 100, "unknown_type": 100}
    assert favorites(tweet) == 100


def test_lines_are_numbered_from_one(send, tweet):
    body = "\n" + lines(event(tweet)) + "\n\r\n" + lines("{bad}") + lines(event(tweet))
    found = send("events", body).json()
    assert (found["accepted"], [each["line"] for each in found["rejections"]]) == (2, [5])


def test_csv_rejections_name_lines_after_the_header(send, tweet):
    body = f"tweet_id,type,at\n{tweet},favorites,{AT}\n{tweet},likes,{AT}\n"
    found = send("events", body, "csv").json()
    assert (found["accepted"], [each["line"] for each in found["rejections"]]) == (1, [3])


def test_a_rejection_quotes_only_the_start_of_a_value(send):
    found = send("events", lines(event("1", type="x" * 50_000))).json()
    assert len(found["rejections"][0]["detail"]) < 1000


def test_an_atomic_batch_is_applied_completely_or_not_at_all(send, favorites, tweet):
    bad = lines(event(tweet), event(tweet, type="likes"))
    answer = send("events", bad, query="?atomic=true")
    assert answer.status == 400
    found = answer.json()
    assert found["errors"]
    assert (found["accepted"], found["rejected"]) == (0, 1)
    assert found["rejections"][0]["line"] == 2
    assert favorites(tweet) == 0
    assert send("events", lines(event(tweet)), query="?atomic=true").json() == outcome(1)
    assert send("events", bad, query="?atomic=false").json()["accepted"] == 1
    assert favorites(tweet) == 2


def test_atomic_accounts_with_a_name_that_is_taken(send):
    """Only the registry knows that the name is taken, and the whole batch is refused."""
    first = str(time.time_ns() // 1000)
    second, third = str(int(first) + 1), str(int(first) + 2)
    assert send("accounts", lines({"id": first, "screen_name": f"a{first}"})).json() == outcome(1)
    batch = lines(
        {"id": second, "screen_name": f"a{second}"}, {"id": third, "screen_name": f"A{first}"}
    )
    answer = send("accounts", batch, query="?atomic=true")
    assert (answer.status, answer.code) == (400, "batch_refused")
    assert answer.json()["accepted"] == 0
    assert [each["reason"] for each in answer.json()["rejections"]] == ["name_taken"]
    # The name is still free, so the valid row was not registered either.
    again = lines({"id": third, "screen_name": f"a{second}"})
    assert send("accounts", again, query="?atomic=true").json() == outcome(1)


@cases(
    "query",
    [
        "?atomic=yes",
        "?atomic=",
        "?atomic=%zz",
        "?atomic=true&atomic=false",
        "?atomic=true&atomic=true",
        "?Atomic=true",
        "?atomic=true&x=1",
    ],
)
def test_atomic_is_true_or_false(send, query):
    answer = send("events", lines(event("1")), query=query)
    assert (answer.status, answer.code) == (400, "invalid_field")


# Idempotency.


def test_a_batch_sent_again_counts_once(send, favorites, tweet):
    body = lines(event(tweet), event(tweet, type="likes"))
    first = send("events", body, Idempotency_Key=f"k {tweet}")
    again = send("events", body, Idempotency_Key=f"k {tweet}")
    assert first.status == again.status == 200
    assert first.json()["duplicate"] is False
    assert again.json() == {**first.json(), "duplicate": True}
    assert favorites(tweet) == 1


def test_the_same_batch_under_another_key_or_none_counts_again(send, favorites, tweet):
    body = lines(event(tweet))
    for headers in ({"Idempotency_Key": f"a{tweet}"}, {"Idempotency_Key": f"b{tweet}"}, {}, {}):
        assert send("events", body, **headers).json() == outcome(1)
    assert favorites(tweet) == 4


@pytest.mark.parametrize("what", ["events", "tweets"])
def test_an_empty_key_is_refused(send, favorites, tweet, what):
    """The sender believes that a repeat counts once."""
    row = event(tweet) if what == "events" else {"id": tweet, "author_id": "202"}
    answer = send(what, lines(row), Idempotency_Key="")
    assert (answer.status, answer.code) == (400, "invalid_field")
    assert answer.json()["errors"][0].startswith("Idempotency-Key: is empty")
    assert favorites(tweet) == 0


def test_a_key_with_another_body_is_refused(send, favorites, tweet):
    key = f"reused {tweet}"
    assert send("events", lines(event(tweet)), Idempotency_Key=key).status == 200
    answer = send("events", lines(event(tweet, count=2)), Idempotency_Key=key)
    assert (answer.status, answer.code) == (422, "idempotency_key_reused")
    assert favorites(tweet) == 1


def test_idempotency_keys_belong_to_a_platform_key(server, send, favorites, tweet):
    """Two producers that both start with key "1" must not look like repeats of each other."""
    other = server.command("platform-key", "issue", "other")["platform_key"]
    body, key = lines(event(tweet)), f"shared {tweet}"
    assert send("events", body, Idempotency_Key=key).json() == outcome(1)
    assert send("events", body, key=other, Idempotency_Key=key).json() == outcome(1)
    assert send("events", body, key=other, Idempotency_Key=key).json()["duplicate"]
    assert favorites(tweet) == 2


def test_the_length_of_an_idempotency_key_is_limited(send, favorites, tweet):
    body = lines(event(tweet))
    assert send("events", body, Idempotency_Key="k" * 256).code == "invalid_field"
    assert send("events", body, Idempotency_Key=f"{tweet:k<255}").status == 200
    assert favorites(tweet) == 1


def test_a_refused_batch_does_not_consume_its_key(send, favorites, tweet):
    key = f"atomic {tweet}"
    bad = lines(event(tweet), "{")
    assert send("events", bad, query="?atomic=true", Idempotency_Key=key).status == 400
    assert send("events", lines(event(tweet)), Idempotency_Key=key).json() == outcome(1)
    assert favorites(tweet) == 1


# How CSV with a line that is rejected is sent again, after it was counted.
SENT_AGAIN = {
    "atomic": {"form": "csv", "query": "?atomic=true"},
    "as NDJSON, atomic": {"form": "ndjson", "query": "?atomic=true"},
    "as JSON": {"form": "json"},
    "as Parquet": {"form": "application/vnd.apache.parquet"},
    "as Arrow": {"form": "application/vnd.apache.arrow.stream"},
    "as an image": {"form": "image/png"},
}


@pytest.mark.parametrize("again", SENT_AGAIN.values(), ids=SENT_AGAIN)
def test_a_repeat_is_known_even_if_it_would_be_refused_now(send, favorites, tweet, again):
    """No refusal may say that nothing was counted, or that the counted body cannot be read."""
    body = f"tweet_id,type,at,count\n{tweet},favorites,{AT},4\n{tweet},claps,{AT},1\n"
    key = f"again-{tweet}"
    first = send("events", body, form="csv", Idempotency_Key=key).json()
    assert (first["accepted"], first["rejected"]) == (1, 1)

    refused = send("events", body, **again)
    assert refused.status in {400, 415}
    repeat = send("events", body, Idempotency_Key=key, **again)

    assert (repeat.status, repeat.json()) == (200, {**first, "duplicate": True})
    assert favorites(tweet) == 4


@pytest.mark.parametrize(("form", "query"), [("csv", ""), ("ndjson", "?atomic=true")])
def test_another_body_under_a_known_key_is_refused_for_its_own_reason(send, tweet, form, query):
    key = f"other-{tweet}"
    send("events", lines(event(tweet)), Idempotency_Key=key)
    other = lines(event(tweet, type="claps"))
    refused = send("events", other, form, query=query, Idempotency_Key=key)
    assert refused.code in {"malformed_body", "batch_refused"}

    again = send("events", lines(event(tweet)), Idempotency_Key=key)
    assert (again.json()["duplicate"], again.json()["accepted"]) == (True, 1)


def test_compression_does_not_change_the_identity_of_a_batch(send, favorites, tweet):
    body, key = lines(event(tweet)).encode(), f"packed {tweet}"
    assert send("events", body, Idempotency_Key=key).json()["duplicate"] is False
    packed = send("events", gzip.compress(body), Content_Encoding="gzip", Idempotency_Key=key)
    assert packed.json()["duplicate"] is True
    assert favorites(tweet) == 1


# Tweets and accounts.


def test_deleting_a_tweet(server, send, tweet):
    ask = server.client.ask
    bearer = server.bearer(server.world.main)
    send("events", lines(event(tweet)))
    assert ask("totals", question(tweet), bearer).status == 200
    answer = server.client.platform("DELETE", f"tweets/{tweet}", server.world.platform_key)
    assert (answer.status, answer.raw) == (204, b"")
    answer = ask("totals", question(tweet), bearer)
    assert answer.json() == {
        "errors": ["1 Tweet ID(s) are unavailable"],
        "unavailable_tweet_ids": [tweet],
    }


@cases(
    ("tweet_id", "status"),
    [
        ("5550001", 404),
        ("abc", 400),
        ("-1", 400),
        ("0", 400),
        ("", 400),
        ("9" * 30, 400),
        ("1/2", 400),
    ],
)
def test_deleting_an_unknown_tweet(server, tweet_id, status):
    answer = server.client.platform("DELETE", f"tweets/{tweet_id}", server.world.platform_key)
    assert answer.status == status, answer
    assert answer.json()["errors"]


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "PATCH"])
def test_other_methods_on_a_tweet(server, method):
    answer = server.client.platform(method, "tweets/111", server.world.platform_key)
    assert (answer.status, answer.headers["allow"]) == (405, "DELETE")


def test_registering_a_tweet_again_replaces_it(server, send, tweet):
    """A second registration may change the author and restores a deleted Tweet."""
    bearer = server.bearer(server.world.main)
    for author, deleted, status in (("404", False, 200), ("404", True, 400), ("202", False, 200)):
        row = {"id": tweet, "author_id": author, "deleted": deleted}
        answer = send("tweets", lines(row))
        assert answer.json() == {**outcome(1), "unknown_authors": 0}
        assert server.client.ask("totals", question(tweet), bearer).status == status
    answer = server.client.ask("totals", question(tweet), sign_as_user(server.world.bobs))
    assert answer.status == 200


FIVE = ("ndjson", "json array", "csv", "parquet", "arrow stream")


def empty_column(form, rows, name):
    """Encode the rows with a column that is empty for all of them."""
    nothing = pl.lit(None, dtype=pl.String).alias(name)
    return FORMATS[form](pl.DataFrame(rows).with_columns(nothing))


@cases("form", FIVE)
def test_an_account_stays_protected_when_omitted(server, send, form):
    """An account that is sent again without `protected`, or with null, stays protected."""
    bearer = server.bearer(server.world.main)
    account_id = str(time.time_ns() // 1000)
    tweet_id = account_id
    assert send("tweets", lines({"id": tweet_id, "author_id": account_id})).status == 200

    def is_shown():
        return server.client.ask("totals", question(tweet_id), bearer).status == 200

    def register(name, **said):
        row = {"id": account_id, "screen_name": f"{name}{account_id}", **said}
        media_type, body = FORMATS[form](pl.DataFrame([row]))
        assert send("accounts", body, media_type).json() == outcome(1)

    register("a", protected=True)
    assert not is_shown()
    register("b")
    assert not is_shown()
    row = {"id": account_id, "screen_name": f"c{account_id}"}
    media_type, body = empty_column(form, [row], "protected")
    assert send("accounts", body, media_type).json() == outcome(1)
    assert not is_shown()
    register("d", protected=False)
    assert is_shown()
    register("e")
    assert is_shown()


@pytest.mark.parametrize("form", FIVE)
def test_omitted_fields_of_a_tweet_are_kept(server, send, tweet, form):
    """Video, creation time and deletion."""
    bobs = sign_as_user(server.world.bobs)
    other, video = str(int(tweet) + 1), tweet
    bare = [{"id": tweet, "author_id": "202"}, {"id": other, "author_id": "202"}]
    send("tweets", lines(*({**row, "video_id": video} for row in bare)))
    send("events", lines(event(other, type="video_views", count=3)))

    def seen():
        return server.client.ask("totals", question(tweet, types=("video_views",)), bobs).json()

    # By its id it would be older than 1,800 days, and would have no video views.
    before = seen()
    assert before == {"g": {tweet: {"video_views": "3"}}}
    for name in ("video_id", "created_at", "deleted"):
        for media_type, body in (FORMATS[form](pl.DataFrame(bare)), empty_column(form, bare, name)):
            assert send("tweets", body, media_type).json()["accepted"] == 2
            assert seen() == before
    server.client.platform("DELETE", f"tweets/{tweet}", server.world.platform_key)
    for media_type, body in (
        FORMATS[form](pl.DataFrame(bare)),
        empty_column(form, bare, "deleted"),
    ):
        assert send("tweets", body, media_type).json()["accepted"] == 2
        assert seen()["unavailable_tweet_ids"] == [tweet]
    media_type, body = FORMATS[form](pl.DataFrame([{**bare[0], "deleted": False}]))
    assert send("tweets", body, media_type).json()["accepted"] == 1
    assert seen() == before


def test_rows_of_a_batch_apply_in_order(server, send):
    bearer = server.bearer(server.world.main)
    first = time.time_ns() // 1000
    ids = [str(first + at) for at in range(3)]
    accounts = [
        {"id": ids[0], "screen_name": f"a{first}", "protected": True},
        {"id": ids[0], "screen_name": f"b{first}"},
        {"id": ids[1], "screen_name": f"a{first}"},
        {"id": ids[1], "screen_name": f"b{first}", "protected": True},  # refused: the name is taken
    ]
    tweets = [
        {"id": ids[0], "author_id": ids[0]},
        {"id": ids[1], "author_id": ids[1], "deleted": True},
        {"id": ids[2], "author_id": ids[1], "deleted": True},
        {"id": ids[1], "author_id": ids[1], "deleted": False},
        {"id": ids[1], "author_id": ids[1]},
        {"id": ids[2], "author_id": ids[1], "deleted": None},
    ]
    assert send("accounts", lines(*accounts)).json()["reasons"] == {"name_taken": 1}
    assert send("tweets", lines(*tweets)).json()["accepted"] == len(tweets)

    answer = server.client.ask("totals", question(*ids), bearer)
    assert answer.json()["unavailable_tweet_ids"] == [ids[0], ids[2]]
    assert answer.json()["g"].keys() == {ids[1]}


def test_a_refused_atomic_batch_registers_nothing(server, send, tweet):
    bearer = server.bearer(server.world.main)
    rows = lines({"id": tweet, "author_id": "202", "deleted": True}, {"id": "x"})
    assert send("tweets", rows, query="?atomic=true").status == 400
    assert server.client.ask("totals", question(tweet), bearer).status == 200


def test_a_tweet_of_an_unknown_author_is_reported_and_unavailable(server, send):
    row = {"id": "666001", "author_id": "666", "created_at": "2026-01-01T00:00:00Z"}
    answer = send("tweets", lines(row))
    assert answer.json() == {**outcome(1), "unknown_authors": 1}
    bearer = server.bearer(server.world.main)
    assert server.client.ask("totals", question("666001"), bearer).status == 400
    account = {"id": "666", "screen_name": "late"}
    assert send("accounts", lines(account)).json() == outcome(1)
    assert server.client.ask("totals", question("666001"), bearer).status == 200


def test_invalid_tweets_and_accounts_are_rejected(send):
    tweets = [
        {"id": "1"},
        {"id": "x", "author_id": "1"},
        {"id": "1", "author_id": "1", "created_at": "never"},
        {"id": "1", "author_id": "1", "video_id": "x" * 129},
        {"id": "1", "author_id": "1", "deleted": "x"},
    ]
    found = send("tweets", lines(*tweets)).json()
    assert [each["reason"] for each in found["rejections"]] == [
        *("missing_field", "invalid_id", "invalid_time", "invalid_id", "invalid_flag"),
    ]
    accounts = [
        {"id": "7"},
        {"id": "7", "screen_name": "a b"},
        {"id": "7", "screen_name": "<script>"},
        {"id": "7", "screen_name": "x" * 65},
        {"id": "7", "screen_name": "BOB"},
        {"id": "7", "screen_name": "fine", "protected": "x"},
    ]
    found = send("accounts", lines(*accounts)).json()
    assert [each["reason"] for each in found["rejections"]] == [
        *("missing_field", "invalid_name", "invalid_name", "invalid_name", "name_taken"),
        "invalid_flag",
    ]
    assert found["accepted"] == 0


# Limits.


def test_a_batch_with_too_many_bytes_is_refused(send):
    answer = send("events", b" " * 200_001)
    assert (answer.status, answer.code) == (413, "body_too_large")


def test_a_batch_with_too_many_lines_is_refused(send, favorites, tweet):
    assert send("events", lines(*[event(tweet)] * 1000)).json() == outcome(1000)
    rows = [{"tweet_id": tweet, "type": "favorites", "at": AT}] * 2001
    packed = gzip.compress(lines(*rows).encode())
    answer = send("events", packed, Content_Encoding="gzip")
    assert answer.status == 413
    answer = send(
        "events", gzip.compress(json.dumps(rows).encode()), "json", Content_Encoding="gzip"
    )
    assert answer.status == 413
    assert favorites(tweet) == 1000


@pytest.mark.parametrize("form", ["parquet", "arrow stream"])
def test_a_columnar_batch_with_too_many_rows_is_refused(send, tweet, form):
    rows = pl.DataFrame([event(tweet)] * 2001)
    media_type, body = FORMATS[form](rows)
    answer = send("events", body, media_type)
    assert answer.status == 413


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress)]
)
def test_a_decompression_bomb_is_refused(send, encoding, pack):
    bomb = pack(b" " * 50_000_000)
    began = time.monotonic()
    answer = send("events", bomb, Content_Encoding=encoding)
    assert answer.status == 413
    assert time.monotonic() - began < 20  # detects a hang; not a measured figure


@pytest.mark.parametrize(
    ("encoding", "member"),
    [("gzip", gzip.compress(b"", mtime=0)), ("zstd", zstandard.compress(b""))],
    ids=["gzip", "zstd"],
)
def test_a_body_of_empty_gzip_members(servers, world, encoding, member):
    """A sixteenth of the default limit of bytes."""
    began = time.monotonic()
    answer = servers().client.platform(
        "POST",
        "events",
        world.platform_key,
        body=member * (4_000_000 // len(member)),
        headers={"Content-Encoding": encoding, "Content-Type": "application/x-ndjson"},
    )
    assert answer.status in {200, 400, 413}
    assert time.monotonic() - began < 20  # detects a hang; not a measured figure


def mail_of(server, account_id):
    query = "SELECT mail FROM accounts WHERE id = ?"
    ((mail,),) = query_registry(server.data, query, account_id)
    return mail


def test_the_mail_address_of_an_account(send, server):
    """Left out it stays, and an empty text removes it."""
    account_id = str(time.time_ns() // 1000)
    row = {"id": account_id, "screen_name": f"m{account_id}"}
    for more, mail in (
        ({}, None),
        ({"mail": "ana.b+c@mail.example.org"}, "ana.b+c@mail.example.org"),
        ({}, "ana.b+c@mail.example.org"),
        ({"mail": None}, "ana.b+c@mail.example.org"),
        ({"mail": ""}, None),
    ):
        assert send("accounts", lines(row | more)).json() == outcome(1)
        assert mail_of(server, int(account_id)) == mail


@cases(
    "mail",
    [
        "ana",
        "@example.org",
        "ana@",
        "a b@example.org",
        "ana@example.org\r\nBcc: b@example.org",
        "Ana <ana@example.org>",
        "ana@example.org, b@example.org",
        7,
        f"{'a' * 65}@example.org",
    ],
)
def test_mail_addresses_that_are_rejected(send, mail):
    account_id = str(time.time_ns() // 1000)
    row = {"id": account_id, "screen_name": f"m{account_id}", "mail": mail}
    answer = send("accounts", lines(row)).json()
    assert answer["reasons"] == {"invalid_text": 1}
    assert "is not a mail address" in answer["rejections"][0]["detail"]
