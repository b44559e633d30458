"""`serve --intake log` with real logs: what is answered, published and counted."""

import gzip
import json
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import requests

from support.cli import call_command
from support.consuming import Events
from support.event_logs import open_log
from support.metered import Metered
from support.nats_server import NatsServer
from support.server import Server
from support.waiting import PATIENCE_S, wait_for

pytestmark = [pytest.mark.heavy, pytest.mark.embedded]
AT = "2025-11-22T09:30:00Z"
BAD = b'{"tweet_id":"5","type":"claps","at":"2025-11-22T09:30:00Z"}\n'


def event(**fields):
    return json.dumps({"tweet_id": "5", "type": "replies", "at": AT, **fields}).encode() + b"\n"


@pytest.fixture(scope="module", params=["nats", "kafka"])
def log(request, tmp_path_factory):
    with open_log(request.param, tmp_path_factory.mktemp("log")) as running:
        yield running


@pytest.fixture(scope="module")
def server(world, log):
    settings = {"intake": "log", "intake_log": log.url, "intake_message_max_bytes": "50000"}
    with Metered(world, settings=settings) as running:
        yield running


@pytest.fixture
def counted(server, log):
    """Consume the log to its end. Return what the command says, and the change of the totals."""
    events = Events()
    call_command(server.data, "consume", log.url, "--until-end")
    before = events.read(server.data)

    def consume(*options):
        ended = call_command(server.data, "consume", log.url, "--until-end", *options)
        return ended, events.read(server.data) - before

    return consume


def post(server, body, *, query="", **headers):
    named = {"Content-Type": "application/x-ndjson"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return server.client.platform(
        "POST", f"events{query}", server.world.platform_key, body=body, headers=named
    )


def test_a_batch_is_published_and_counted_later(server, counted):
    answer = post(server, event() + BAD + event(count=2), Idempotency_Key="one")

    assert answer.status == 202
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (2, 1)
    assert answer.json()["rejections"][0]["line"] == 2
    assert answer.json()["reasons"] == {"unknown_type": 1}
    ended, change = counted()
    assert ended == {"messages": 1, "events": 2, "dead_letters": 0}
    assert change == {(5, "replies"): 3}


@pytest.mark.parametrize("key", ["a", "x" * 255, "\xe9\xff"])
def test_a_key_counts_once_however_often_it_is_sent(server, counted, key):
    events = Events(tweets=5)
    key = str(uuid.uuid4())[: 255 - len(key)] + key
    body = events.make(50)
    send = partial(post, server, Idempotency_Key=key.encode("latin-1"))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, [body] * 4 + [body]))
        answers.append(send(gzip.compress(body), Content_Encoding="gzip"))

    assert {answer.status for answer in answers} == {202}
    assert {answer.json()["accepted"] for answer in answers} == {50}
    ended, change = counted()
    assert ended["events"] == 50
    assert change == events.counts
    assert send(body).status == 202
    assert counted()[0]["events"] == 0, "the store knows the key, also after it was consumed"


def test_a_key_that_is_used_for_another_batch_is_a_dead_letter(server, counted):
    key = str(uuid.uuid4())
    assert post(server, event(), Idempotency_Key=key).status == 202
    assert post(server, event(count=7), Idempotency_Key=key).status == 202
    assert post(server, event(count=100)).status == 202

    file = server.data.parent / f"{key}.ndjson"
    ended, change = counted("--dead-letter-file", str(file))
    (letter,) = map(json.loads, file.read_text().splitlines())
    assert letter["reason"] == "idempotency_key_reused"
    assert change in ({(5, "replies"): 101}, {(5, "replies"): 107}), "the first one in the log"
    assert ended["dead_letters"] == 1


def test_batches_without_a_key_count_each_time(server, counted):
    for _ in range(3):
        assert post(server, event()).status == 202
    assert counted()[1] == {(5, "replies"): 3}


def test_formats_become_events(server, counted):
    csv = f"tweet_id,type,at,count,promoted\n5,replies,{AT},4,false\n5,impressions,{AT},1,true\n"
    rows = json.dumps([{"tweet_id": 6, "type": "favorites", "at": AT}] * 2).encode()
    assert post(server, csv.encode(), Content_Type="text/csv").json()["accepted"] == 2
    assert post(server, rows, Content_Type="application/json").json()["accepted"] == 2

    assert counted()[1] == Counter({(5, "replies"): 4, (6, "favorites"): 2})


@pytest.mark.parametrize(
    ("body", "query", "headers", "status", "code"),
    [
        (BAD, "", {}, 422, "all_lines_rejected"),
        (event() + BAD, "?atomic=true", {}, 400, "batch_refused"),
        (b"[]", "", {}, 400, "malformed_body"),
        (b"no event", "", {"Content_Type": "text/plain"}, 415, "unsupported_body"),
        (b"nonsense", "", {"Content_Encoding": "gzip"}, 400, "malformed_body"),
        (event(), "", {"Idempotency_Key": ""}, 400, "invalid_field"),
        (event(), "?what=1", {}, 400, "invalid_field"),
    ],
)
def test_refused_batches_are_not_published(server, counted, body, query, headers, status, code):
    answer = post(server, body, query=query, **headers)

    assert (answer.status, answer.code) == (status, code)
    assert counted()[0]["messages"] == 0


def test_callers_without_the_scope_are_refused(server, counted):
    scope = server.command("platform-key", "issue", "usage-only", "--scope", "usage")
    for key, status in (("nobody", 401), (scope["platform_key"], 403)):
        answer = server.client.platform("POST", "events", key, body=event())
        assert answer.status == status
    assert counted()[0]["messages"] == 0


def test_a_batch_that_is_too_large_for_the_log_is_refused(server, counted):
    lines = [event(tweet_id=str(uuid.uuid4().int >> 66)) for _ in range(5000)]
    answer = post(server, b"".join(lines))

    assert (answer.status, answer.code) == (413, "body_too_large")
    assert "which accepts 50000; send smaller batches" in answer.json()["errors"][0]
    assert counted()[0]["messages"] == 0
    assert post(server, b"".join(lines[:500])).status == 202


def test_an_empty_batch_is_accepted(server, counted):
    answer = post(server, b"")
    assert (answer.status, answer.json()["accepted"]) == (202, 0)
    assert counted()[0]["messages"] == 0


def test_tweets_and_accounts_are_written_directly(server):
    row = {"id": "7", "author_id": "202", "created_at": "2026-01-01T00:00:00Z"}
    key = server.world.platform_key
    assert server.client.platform("POST", "tweets", key, body=json.dumps(row)).status == 200
    assert server.client.platform("DELETE", "tweets/7", key).status == 204


def test_the_metrics_show_what_was_published(server):
    before = server.scrape()
    assert post(server, event()).status == 202
    after = server.scrape()
    for name in ("log_published_total", "log_publish_duration_seconds_count"):
        assert after.sum(name) == before.sum(name) + 1
    assert after.sum("log_published_bytes_total") > before.sum("log_published_bytes_total")
    assert after.sum("log_publishing") == 0
    assert after.sum("fault", part="log") == 0


def test_messages_that_are_not_of_the_intake_are_counted_beside(server, counted, log):
    post(server, event(), Idempotency_Key=str(uuid.uuid4()))
    log.publish(event(count=10), event(count=20))
    post(server, event(), Idempotency_Key=str(uuid.uuid4()))
    log.publish(event(count=1000), openengagement_batch="!!")

    ended, change = counted()
    assert change == {(5, "replies"): 32}
    assert ended["dead_letters"] == 1


def test_a_switch_between_both_intakes_counts_a_key_once(world, log):
    events, key = Events(), str(uuid.uuid4())
    body = events.make(30) + BAD
    log_settings = {"intake": "log", "intake_log": log.url}
    with Server(world, settings=log_settings) as server:
        first = post(server, body, Idempotency_Key=key).json()
        call_command(server.data, "consume", log.url, "--until-end")
        server.stop()
        server.settings = {}
        server.start()
        again = post(server, body, Idempotency_Key=key)
        assert again.status == 200
        assert again.json() == {**first, "duplicate": True}


@pytest.fixture
def nats(tmp_path):
    server = NatsServer(tmp_path)
    server.add_stream(subjects=["e.in"])
    yield server
    server.stop()


def test_the_log_goes_away_and_comes_back(world, nats):
    settings = {"intake": "log", "intake_log": nats.url()}
    events = Events(tweets=5)
    with Metered(world, settings=settings) as server:
        body = events.make(10)
        nats.stop()
        answer = post(server, body, Idempotency_Key="k")
        assert (answer.status, answer.code) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        wait_for(lambda: ready(server)["checks"]["log"] != "ok", pause_s=0.2)
        assert ready(server)["status"] == "degraded"
        wait_for(lambda: server.scrape().sum("fault", part="log") == 1, pause_s=0.2)
        assert requests.get(f"{server.url}/health", timeout=PATIENCE_S).status_code == 200
        nats.start()
        wait_for(lambda: post(server, body, Idempotency_Key="k").status == 202, pause_s=0.2)
        wait_for(lambda: ready(server)["status"] == "ready", pause_s=0.2)
        call_command(server.data, "consume", nats.url(), "--until-end")
        assert events.read(server.data) == events.counts


def ready(server):
    return requests.get(f"{server.url}/readyz", timeout=PATIENCE_S).json()
