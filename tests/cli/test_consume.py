"""`openengagement consume` on a real NATS server: formats, dead letters, and sentences."""

import gzip
import json
import signal
import socket
import time

import pytest
import requests

from support.consuming import STOP_MAX_S, Events, start_consumer
from support.folders import files_told_of, flip_table
from support.metered import Scraped
from support.nats_server import NatsServer
from support.ports import HOST, free_port
from support.waiting import PATIENCE_S, wait_for

EVENT = b'{"tweet_id":"5","type":"replies","at":"2025-11-22T09:30:00Z"}'
ANSWER = {"messages": 0, "events": 0, "dead_letters": 0}


@pytest.fixture(scope="module")
def nats(tmp_path_factory):
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    yield server
    server.stop()


@pytest.fixture
def stream(nats, request):
    """A new stream for the test. Its URL has a subject filter, because others have `e.>` too."""
    name = f"S{abs(hash(request.node.nodeid))}"
    nats.add_stream(name, [f"{name}.>"])

    class Stream:
        url = nats.url(name)
        server = nats

        @staticmethod
        def publish(*bodies, subject="a", **headers):
            named = {key.replace("_", "-"): value for key, value in headers.items()} or None
            nats.publish(bodies, subject=f"{name}.{subject}", headers=named)

    Stream.name = name
    return Stream


def drain(run, url, *options):
    return run("consume", url, "--until-end", *options, "--json").json()


def test_a_stream_is_counted_once(run, data, stream):
    events = Events()
    stream.publish(*events.messages(30))

    assert drain(run, stream.url) == {**ANSWER, "messages": 30, "events": 300}
    assert events.read(data) == events.counts
    assert drain(run, stream.url) == ANSWER
    stream.publish(*events.messages(3))
    assert drain(run, stream.url) == {**ANSWER, "messages": 3, "events": 30}
    assert events.read(data) == events.counts


def test_formats_and_compressions(run, data, stream):
    events = Events()
    stream.publish(gzip.compress(events.make(5)))
    stream.publish(gzip.compress(events.make(5)), Content_Encoding="gzip")
    rows = [json.loads(line) for line in events.make(5).splitlines()]
    stream.publish(json.dumps(rows).encode())
    csv = ["tweet_id,type,at,count", *(",".join(map(str, row.values())) for row in rows)]
    for row in rows:
        events.counts[int(row["tweet_id"]), row["type"]] += row["count"]
    stream.publish("\n".join(csv).encode(), Content_Type="text/csv")

    assert drain(run, stream.url)["events"] == 20
    assert events.read(data) == events.counts


def test_dead_letters_are_in_a_file(run, data, stream):
    stream.publish(EVENT, b"nonsense", b"", EVENT + b'\n{"tweet_id":"x"}')

    assert drain(run, stream.url) == {"messages": 4, "events": 2, "dead_letters": 2}
    lines = (data / "dead-letters.ndjson").read_text().splitlines()
    letters = [json.loads(line) for line in lines]
    assert [(each["offset"], each.get("line")) for each in letters] == [(2, None), (4, 2)]
    assert [each["row"] for each in letters] == ["nonsense", '{"tweet_id":"x"}']
    assert letters[0]["source"] == f"nats:{stream.name}"


def test_dead_letters_are_in_a_stream(run, nats, stream):
    nats.add_stream(f"D{stream.name}", [f"dead.{stream.name}"])
    stream.publish(EVENT, b"nonsense", *[b"{}"] * 300)
    drain(run, stream.url, "--dead-letter-to", f"dead.{stream.name}")

    letters = [json.loads(each) for each in nats.read(f"D{stream.name}")]
    assert sorted(each["offset"] for each in letters) == list(range(2, 303))


def test_filters_are_sources_of_their_own(run, data, stream):
    one, two = Events(1), Events(2)
    stream.publish(*one.messages(5), subject="one")
    stream.publish(*two.messages(5), subject="two")
    drain(run, f"{stream.url}?subject={stream.name}.one")
    assert one.read(data) == one.counts

    both = f"{stream.url}?subject={stream.name}.one,{stream.name}.two"
    assert drain(run, both)["messages"] == 5
    assert one.read(data) == one.counts + two.counts


def test_a_dry_run_stores_nothing(run, data, stream):
    stream.publish(EVENT, b"nonsense")
    shown = run("consume", stream.url, "--dry-run", "--json").json()

    assert (shown["accepted"], shown["rejected"]) == (1, 1)
    assert shown["counts"] == {"replies": 1, "engagements": 1}
    assert shown["reasons"] == {"unsupported_body": 1}
    assert drain(run, stream.url)["events"] == 1


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("events", "the URL of the log is not like"),
        ("nats://{address}/NONE", "there is no stream NONE"),
        ("nats://{host}:{free}/S", "cannot connect"),
        ("nats://{address}/S?subject=a.>,a.b", "overlap"),
        ("nats://{address}/S?credentials=none.creds", "none.creds"),
    ],
)
def test_what_cannot_be_consumed_is_told_in_a_sentence(run, nats, url, says):
    address = f"{HOST}:{nats.port}"
    ended = run("consume", url.format(address=address, host=HOST, free=free_port()))

    assert ended.code == 1
    assert says in ended.err
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err


def test_wrong_credentials(run, tmp_path):
    server = NatsServer(tmp_path, "--user", "me", "--pass", "right")
    try:
        for user in ("", "me:wrong@", "token@"):
            ended = run("consume", server.url("S", user=user))
            assert ended.code == 1
            assert "refuses the user, password or token" in ended.err
            assert "wrong" not in ended.err
    finally:
        server.stop()


def test_a_stream_that_was_created_again_is_refused(run, stream, nats):
    stream.publish(EVENT, EVENT)
    drain(run, stream.url)

    async def again(_, jetstream):
        await jetstream.delete_stream(stream.name)
        await jetstream.add_stream(name=stream.name, subjects=[f"{stream.name}.>"])

    nats.run(again)
    stream.publish(EVENT)
    ended = run("consume", stream.url, "--until-end")
    assert ended.code == 1
    assert "it was created again" in ended.err
    assert drain(run, f"{stream.url}?name=second")["events"] == 1


def test_removed_messages_are_told(run, stream, nats):
    stream.publish(EVENT, EVENT)
    drain(run, stream.url)
    stream.publish(EVENT, EVENT, EVENT)

    async def purge(_, jetstream):
        await jetstream.purge_stream(stream.name, seq=5)

    nats.run(purge)
    ended = run("consume", stream.url, "--until-end")
    assert ended.code == 1
    assert "removed messages 3 to 4 before they were counted" in ended.err
    assert drain(run, stream.url, "--skip-lost")["events"] == 1
    assert drain(run, stream.url)["events"] == 0


@pytest.mark.heavy
def test_a_stream_that_is_created_again_while_it_is_consumed(data, stream, nats):
    """The new stream begins at 1: its first messages must not be taken for counted ones."""
    events = Events()
    consumer = start_consumer(data, stream.url)
    try:
        stream.publish(*events.messages(5))
        events.wait_until_counted(data, consumer.said)

        async def again(_, jetstream):
            await jetstream.delete_stream(stream.name)
            await jetstream.add_stream(name=stream.name, subjects=[f"{stream.name}.>"])

        nats.run(again)
        wait_for(lambda: consumer.process.poll() is not None, reason=consumer.said)
        assert consumer.process.returncode == 1
        assert "it was created again" in consumer.said() or "there is no stream" in consumer.said()
    finally:
        consumer.kill()


@pytest.mark.heavy
@pytest.mark.parametrize("options", [[], ["--skip-lost"]])
def test_messages_that_are_removed_while_a_consumer_is_frozen(data, stream, nats, options):
    events = Events()
    consumer = start_consumer(data, stream.url, *options)
    try:
        stream.publish(*events.messages(5))
        events.wait_until_counted(data, consumer.said)
        consumer.process.send_signal(signal.SIGSTOP)
        padding = b" " * 900_000 + b"\n"
        stream.publish(*(EVENT + padding for _ in range(30)))  # more than a consumer asks for
        nats.run(lambda _, jetstream: jetstream.purge_stream(stream.name))
        stream.publish(*events.messages(3))
        consumer.process.send_signal(signal.SIGCONT)
        if options:
            wait_for(lambda: not events.counts - events.read(data), reason=consumer.said)
            assert '"event": "log_messages_removed"' in consumer.said()
        else:
            wait_for(lambda: consumer.process.poll() is not None, reason=consumer.said)
            assert "before they were counted; add --skip-lost" in consumer.said()
            assert consumer.process.returncode == 1
    finally:
        consumer.kill()


@pytest.mark.parametrize("headers", [b"x", b"NATS/1.0", b"NATS/1.0 \xff\xff\xff\r\n\r\n"])
def test_headers_that_are_none_stop_nothing(run, stream, headers):
    """The client library ends the connection when it reads them."""
    with socket.create_connection((HOST, stream.server.port)) as client:
        message = headers + EVENT
        sizes = f"{len(headers)} {len(message)}"
        client.sendall(b'CONNECT {"headers":true,"verbose":false}\r\n')
        client.sendall(f"HPUB {stream.name}.a {sizes}\r\n".encode() + message + b"\r\nPING\r\n")
        while b"PONG" not in client.recv(4096):
            pass
    stream.publish(EVENT)

    assert drain(run, stream.url) == {**ANSWER, "messages": 2, "events": 2}


def test_a_stream_that_removes_acknowledged_messages_is_refused(run, nats):
    nats.add_stream("WORK", ["work.>"], retention="workqueue")
    ended = run("consume", nats.url("WORK"))

    assert ended.code == 1
    assert "has the retention 'workqueue'" in ended.err


def test_dead_letters_are_not_consumed_again(run, stream):
    ended = run("consume", stream.url, "--dead-letter-to", f"{stream.name}.dead")
    assert ended.code == 1
    assert "would be consumed again" in ended.err


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--dead-letter-to", "nowhere", "no stream has this subject"),
        ("--dead-letter-file", "/no/such/folder/letters", "dead letters cannot be appended to"),
    ],
)
def test_a_place_without_room_for_letters_is_told_at_once(run, stream, option, value, says):
    """Not at the first letter, which would stop a consumer days later."""
    stream.publish(EVENT)
    ended = run("consume", stream.url, option, value, "--until-end")
    assert (ended.code, says in ended.err) == (1, True), ended.err


def test_large_messages(run, data, tmp_path):
    config = tmp_path / "nats.conf"
    config.write_text("max_payload: 48MB\n")
    server = NatsServer(tmp_path, "-c", str(config))
    try:
        server.add_stream()
        bodies = [EVENT, (EVENT + b"\n") * 300_000, EVENT]
        server.publish(bodies)
        assert drain(run, server.url())["events"] == 300_002
    finally:
        server.stop()


@pytest.mark.heavy
def test_sigterm_ends_it_within_seconds(data, stream):
    events = Events()
    consumer = start_consumer(data, stream.url)
    stream.publish(*events.messages(5))
    events.wait_until_counted(data, consumer.said)

    assert consumer.terminate() < STOP_MAX_S


@pytest.mark.heavy
def test_metrics_of_a_consumer(data, stream):
    address = f"{HOST}:{free_port()}"
    events = Events()
    consumer = start_consumer(data, stream.url, "--metrics", address)

    def scrape():
        return Scraped(requests.get(f"http://{address}/metrics", timeout=PATIENCE_S).text)

    def figures():
        scraped = scrape()
        names = ("messages_total", "events_total", "dead_letters_total", "lag_messages")
        return [scraped.sum(f"consumer_{name}") for name in names]

    try:
        stream.publish(*events.messages(5), b"nonsense")
        events.wait_until_counted(data, consumer.said)
        # The consumer sets them one after the other.
        wait_for(lambda: figures() == [6, 50, 1, 0], reason=consumer.said)
        wait_for(lambda: scrape().sum("consumer_newest_timestamp_seconds"))
        scraped = scrape()
        assert scraped.sum("consumer_batches_total", result="counted") >= 1
        assert 0 <= time.time() - scraped.sum("consumer_newest_timestamp_seconds") < PATIENCE_S
        assert scraped.sum("processes", process="consumer") == 1
        assert scraped.sum("process_resident_memory_bytes", process="consumer") > 0
        assert scraped.sum("consumer_restarts_total") == 0
    finally:
        consumer.kill()


@pytest.mark.parametrize("address", ["9464", "host:port", "{used}"])
def test_an_address_that_cannot_have_metrics(run, nats, stream, address):
    ended = run("consume", stream.url, "--metrics", address.format(used=f"{HOST}:{nats.port}"))
    assert ended.code == 1
    assert "--metrics" in ended.err


def test_damage_that_a_commit_meets_ends_it_and_is_told(run, data, stream):
    stream.publish(EVENT)
    drain(run, stream.url)
    flip_table(data / "counters.sqlite3", "batches")
    stream.publish(EVENT)
    ended = run("consume", stream.url, "--until-end")
    assert (ended.code, "counters.sqlite3 is damaged" in ended.err) == (1, True), ended.err
    assert "Traceback" not in ended.err
    assert files_told_of(data) == ["counters.sqlite3"]
