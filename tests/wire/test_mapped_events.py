"""`POST /platform/v1/events?map=NAME`: rows of the platform's own shape, with both intakes."""

import io
import json
import uuid
from pathlib import Path

import polars as pl
import pytest

from support.cli import call_command
from support.event_logs import open_log
from support.folders import open_store
from support.server import Server

pytestmark = [pytest.mark.heavy, pytest.mark.embedded]
EXAMPLES = Path(__file__).parents[2] / "examples" / "mappings"
FAVOURITES = (EXAMPLES / "samples" / "mastodon_favourites.csv").read_bytes()
POSTS = [113555000000000001, 113555000000000002]
CSV = "text/csv"


@pytest.fixture(scope="module", params=["direct", "log"])
def server(request, world, tmp_path_factory):
    """A server with two mappings. `count_all` waits until everything is counted."""
    names = ("mastodon_favourites", "activitypub")
    settings = {"mappings": ",".join(f"{name}={EXAMPLES / name}.toml" for name in names)}
    with open_log("nats", tmp_path_factory.mktemp("log")) as log:
        if request.param == "log":
            settings |= {"intake": "log", "intake_log": log.url}
        with Server(world, settings=settings) as running:
            running.counted = 202 if request.param == "log" else 200
            running.count_all = lambda: (
                request.param == "log"
                and call_command(running.data, "consume", log.url, "--until-end")
            )
            yield running


def post(server, body, *, query="?map=mastodon_favourites", kind="events", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.client.platform(
        "POST", f"{kind}{query}", server.world.platform_key, body=body, headers=named
    )


def favorites(server):
    server.count_all()
    store = open_store(server.data)
    try:
        return store.read_totals(POSTS, ["favorites"])[:, 0].tolist()
    finally:
        store.close()


def added(server, before):
    pairs = zip(favorites(server), before, strict=True)
    return [now - then for now, then in pairs]


def test_rows_are_mapped_and_counted_once(server):
    before, key = favorites(server), str(uuid.uuid4())
    for _ in range(2):
        answer = post(server, FAVOURITES, Content_Type=CSV, Idempotency_Key=key)
        assert answer.status == server.counted
        assert (answer.json()["accepted"], answer.json()["rejected"]) == (3, 1)
        assert answer.json()["rejections"] == [
            {"line": 5, "reason": "missing_field", "detail": "tweet_id is missing"}
        ]
    assert added(server, before) == [2, 1]


def test_other_formats_are_mapped(server):
    before = favorites(server)
    rows = pl.read_csv(io.BytesIO(FAVOURITES)).select("status_id", "created_at").drop_nulls()
    parquet, arrow = io.BytesIO(), io.BytesIO()
    rows.write_parquet(parquet)
    rows.write_ipc_stream(arrow)
    for body in (parquet.getvalue(), arrow.getvalue(), rows.write_ndjson().encode()):
        assert post(server, body).json()["accepted"] == 3
    assert added(server, before) == [6, 3]


def test_every_row_may_be_refused(server):
    answer = post(server, b'{"id":1}\n', Idempotency_Key="unused")
    assert (answer.status, answer.code) == (422, "all_lines_rejected")
    query = "?map=mastodon_favourites&atomic=true"
    atomic = post(server, FAVOURITES, query=query, Content_Type=CSV)
    assert (atomic.status, atomic.code) == (400, "batch_refused")


def test_rows_that_a_mapping_ignores_are_a_batch_without_events(server):
    answer = post(server, b'{"type":"Follow"}\n', query="?map=activitypub")
    assert (answer.status, answer.json()["accepted"], answer.json()["rejected"]) == (
        *(server.counted, 0, 0),
    )


@pytest.mark.parametrize(
    ("query", "kind", "says"),
    [
        ("?map=unknown", "events", "map: the server has no mapping 'unknown'"),
        ("?map=activitypub&map=activitypub", "events", "the parameters are map, once"),
        ("?map=activitypub", "tweets", "the only parameter is atomic"),
        ("?map=activitypub&what=1", "events", "the parameters are map"),
    ],
)
def test_requests_that_name_no_mapping_are_refused(server, query, kind, says):
    answer = post(server, FAVOURITES, query=query, kind=kind, Content_Type=CSV)
    assert (answer.status, answer.code) == (400, "invalid_field")
    assert says in answer.json()["errors"][0]


@pytest.mark.parametrize("server", ["direct"], indirect=True)  # with a log: a dead letter
def test_a_key_with_another_mapping_is_another_batch(server):
    key = str(uuid.uuid4())
    row = json.dumps({"status_id": str(POSTS[0]), "created_at": "2026-11-22 10:15:00"}).encode()
    assert post(server, row, Idempotency_Key=key).status == 200
    answer = post(server, row, query="", Idempotency_Key=key)
    assert answer.status == 422, "the same bytes without a mapping are no events"
    again = post(server, row, Idempotency_Key=key)
    assert (again.status, again.json()["duplicate"]) == (200, True)
