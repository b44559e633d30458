"""`openengagement consume` on a broker that speaks Kafka's protocol."""

import gzip
import json
import logging
import time
from contextlib import closing
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer, Producer

from openengagement.engagement.counters import no_counters
from openengagement.ingest.logs import kafka_api
from openengagement.ingest.logs.kafka_api import read_config
from openengagement.ingest.logs.log_url import parse_url
from openengagement.sandbox.certificate_authority import open_certificates
from openengagement.stores.contract import Batch, Position
from support.consuming import STOP_MAX_S, Events, start_consumer
from support.folders import open_store
from support.kafka_broker import KafkaBroker
from support.ports import HOST, free_port
from support.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.heavy
EVENT = b'{"tweet_id":"5","type":"replies","at":"2025-11-22T09:30:00Z"}'
# The group misses a killed consumer after 6 s; with the library's own setting, after 45 s.
REPLACE_MAX_S = 40


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    yield broker
    broker.stop()


@pytest.fixture
def topic(kafka, request):
    name = f"t{abs(hash(request.node.nodeid))}"
    kafka.add_topic(name)
    return name


def drain(run, url, *options):
    return run("consume", url, "--until-end", *options, "--json").json()


def test_a_topic_is_counted_once(run, data, kafka, topic):
    events = Events()
    kafka.publish(topic, events.messages(40))
    kafka.publish(topic, [None, b"", gzip.compress(events.make(7))])

    counted = drain(run, kafka.url(topic))
    assert (counted["messages"], counted["events"]) == (43, 407)
    assert events.read(data) == events.counts
    kafka.publish(topic, events.messages(3))
    assert drain(run, kafka.url(topic))["messages"] == 3
    assert events.read(data) == events.counts


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compression_of_the_log(run, data, kafka, topic, codec):
    events = Events()
    kafka.publish(topic, events.messages(40), **{"compression.type": codec})
    drain(run, kafka.url(topic))
    assert events.read(data) == events.counts


def test_dead_letters_are_in_a_topic(run, data, kafka, topic):
    kafka.add_topic(f"dead-{topic}", partitions=1)
    kafka.publish(topic, [EVENT, b"nonsense", b"{}", EVENT])

    counted = drain(run, kafka.url(topic), "--dead-letter-to", f"dead-{topic}")
    assert (counted["events"], counted["dead_letters"]) == (2, 2)
    letters = [json.loads(each) for each in kafka.read(f"dead-{topic}", messages=2)]
    assert sorted(each["source"] for each in letters) == [f"kafka:{topic}/1", f"kafka:{topic}/2"]


def test_a_missing_topic_for_letters_is_told_at_once(run, kafka, topic):
    ended = run("consume", kafka.url(topic), "--dead-letter-to", "nowhere", "--until-end")
    assert (ended.code, "dead letters for nowhere: there is no such topic" in ended.err) == (
        1,
        True,
    )


@pytest.mark.heavy
def test_a_broker_without_tls_or_passwords(run, kafka, topic, tmp_path):
    """The options reach the library: it speaks TLS and SASL to a broker that does not."""
    address = f"{HOST}:{kafka.port}/{topic}"
    config = tmp_path / "client.properties"
    config.write_text("security.protocol=sasl_plaintext\nsasl.mechanisms=PLAIN\n")
    for url, says in (
        (f"kafka://me:secret@{address}", "does not answer over TLS; is this its port for TLS?"),
        (f"kafka://me:secret@{address}?config={config}", "the broker refuses the credentials"),
    ):
        ended = run("consume", url)
        assert (ended.code, says in ended.err) == (1, True), ended.err
        assert "secret" not in ended.err
        assert len(ended.err.splitlines()) == 1


@pytest.fixture
def secure(tmp_path):
    """A broker behind TLS. `authority` is the file that clients must trust."""
    made = open_certificates(tmp_path / "tls", ["localhost"], now=datetime.now(UTC))
    broker = KafkaBroker(tmp_path, certificates=made)
    broker.authority = made.authority
    yield broker
    broker.stop()


def test_a_topic_is_counted_over_tls(run, data, secure, tmp_path):
    events = Events()
    secure.add_topic("events")
    secure.publish("events", events.messages(20))
    config = tmp_path / "client.properties"
    config.write_text(f"security.protocol=ssl\nssl.ca.location={secure.authority}\n")

    assert drain(run, secure.url("events", f"?config={config}"))["messages"] == 20
    assert events.read(data) == events.counts


@pytest.mark.parametrize("host", ["localhost", HOST])
def test_a_certificate_that_does_not_fit_is_refused(run, secure, tmp_path, host):
    """Nobody vouches for it, or it is for another host."""
    secure.add_topic("events")
    config = tmp_path / "client.properties"
    trusted = f"ssl.ca.location={secure.authority}\n" if host == HOST else ""
    config.write_text(f"security.protocol=ssl\n{trusted}")
    ended = run("consume", f"kafka://{host}:{secure.port}/events?config={config}")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1), ended.err
    assert "certificate" in ended.err


def test_credentials_reach_the_client_library(tmp_path):
    url = "kafka://me:p%40ss@one,two:9093/events"
    secure = {"security.protocol": "sasl_ssl", "sasl.mechanisms": "PLAIN"}
    servers = {"bootstrap.servers": "one:9092,two:9093"}
    named = {"sasl.username": "me", "sasl.password": "p@ss"}
    assert read_config(parse_url(url)) == {**named, **secure, **servers}
    config = tmp_path / "client.properties"
    config.write_text("# TLS\n\nssl.ca.location = /ca.pem\nsasl.mechanisms=SCRAM-SHA-512\n")
    assert read_config(parse_url(f"{url}?config={config}")) == {
        **named,
        **secure,
        **servers,
        "ssl.ca.location": "/ca.pem",
        "sasl.mechanisms": "SCRAM-SHA-512",
    }


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("kafka://{address}/no-such-topic", "there is no such topic"),
        ("kafka://{host}:{free}/t", "t: "),
        ("kafka://{address}/t?config=none.properties", "none.properties cannot be read"),
        ("kafka://{address}/t?subject=a", "unknown option subject"),
    ],
)
def test_what_cannot_be_consumed_is_told_in_a_sentence(run, kafka, url, says):
    address = f"{HOST}:{kafka.port}"
    ended = run("consume", url.format(address=address, host=HOST, free=free_port()))

    assert ended.code == 1
    assert says in ended.err
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err


def test_messages_that_the_topic_removed(run, data, kafka, monkeypatch):
    """The broker of these tests removes none, so its answer about the oldest offset is changed."""

    class Trimmed(Consumer):
        def get_watermark_offsets(self, *arguments, **options):
            low, high = super().get_watermark_offsets(*arguments, **options)
            return max(low, 3), max(high, 3)

    topic = f"trimmed-{time.monotonic_ns()}"
    kafka.add_topic(topic, partitions=1)
    for _ in range(2):
        kafka.publish(topic, [EVENT], partitions=1)
    assert drain(run, kafka.url(topic))["events"] == 2
    for _ in range(3):
        kafka.publish(topic, [EVENT], partitions=1)
    monkeypatch.setattr("openengagement.ingest.logs.kafka_log.Consumer", Trimmed)

    ended = run("consume", kafka.url(topic), "--until-end")
    assert ended.code == 1
    assert "lost the messages from offset 2 to 2 before they were counted" in ended.err
    assert "--skip-lost" in ended.err
    assert drain(run, kafka.url(topic), "--skip-lost")["events"] == 2
    monkeypatch.undo()
    assert drain(run, kafka.url(topic))["events"] == 0


CREATED_AGAIN = "was created again"


@pytest.mark.parametrize("messages", [0, 3, 40])
def test_a_topic_that_was_created_again_is_refused(run, data, kafka, topic, messages):
    """Whether it is shorter now than what was counted, or longer."""
    events = Events()
    kafka.publish(topic, events.messages(20))
    assert drain(run, kafka.url(topic))["messages"] == 20
    kafka.add_topic_again(topic)
    new = Events(1)
    kafka.publish(topic, new.messages(messages))

    ended = run("consume", kafka.url(topic), "--until-end")
    assert (ended.code, CREATED_AGAIN in ended.err) == (1, True), ended.err
    assert "name=NAME" in ended.err
    assert events.read(data) == events.counts
    assert drain(run, kafka.url(topic, "?name=second"))["messages"] == messages
    assert events.read(data) == events.counts + new.counts


def test_a_topic_that_is_created_again_while_it_is_consumed(run, data, kafka, topic):
    """The client library crashes: this broker forgets at once what it was asked for."""
    events = Events()
    kafka.publish(topic, events.messages(20))
    consumer = start_consumer(data, kafka.url(topic))
    try:
        events.wait_until_counted(data, consumer.said)
        kafka.add_topic_again(topic)
        wait_for(lambda: consumer.process.poll() is not None, reason=consumer.said)
        assert consumer.process.returncode != 0
    finally:
        consumer.kill()
    kafka.publish(topic, Events(1).messages(40))
    ended = run("consume", kafka.url(topic), "--until-end")
    assert (ended.code, CREATED_AGAIN in ended.err) == (1, True), ended.err
    assert events.read(data) == events.counts


def test_another_id_of_a_topic_is_noticed(kafka, topic, monkeypatch):
    """As a consumer does from time to time."""
    monkeypatch.setattr(kafka_api, "_ASK_EVERY_S", 0.05)
    watch = kafka_api.TopicWatch(topic, read_config(parse_url(kafka.url(topic))))
    known = watch.read_id()
    assert known
    assert known == watch.read_id()
    kafka.add_topic_again(topic)
    wait_for(lambda: watch.find_change(known), pause_s=0.01)
    new = watch.read_id()
    assert new != known
    for _ in range(20):
        time.sleep(0.01)
        assert not watch.find_change(new)


def test_log_lines_of_the_watch_are_not_kept(monkeypatch, caplog):
    """The client keeps them until it is polled. This one cannot reach a broker."""
    monkeypatch.setattr(kafka_api, "_ASK_EVERY_S", PATIENCE_S)
    monkeypatch.setattr(kafka_api, "silent", lambda: logging.getLogger("kafka"))
    watch = kafka_api.TopicWatch("t", {"bootstrap.servers": f"{HOST}:{free_port()}"})
    wait_for(lambda: watch.find_change("id") or "Connection refused" in caplog.text)


@pytest.fixture
def mock():
    """The cluster inside a client of the library. It answers as Kafka when an offset is wrong."""
    client = Producer({"test.mock.num.brokers": 1, "logger": kafka_api.silent()})
    known = client.list_topics("events", timeout=PATIENCE_S)
    for number in range(3):
        client.produce("events", EVENT, partition=number)
    assert client.flush(PATIENCE_S) == 0
    (broker,) = known.brokers.values()
    return f"{broker.host}:{broker.port}", known.cluster_id, client


def test_a_position_beyond_the_end_of_a_topic_is_refused(run, data, mock, monkeypatch):
    """As after a topic was created again, at a broker that gives topics no id."""
    monkeypatch.setattr(kafka_api.TopicWatch, "read_id", lambda _: "")
    address, cluster_id, _ = mock
    assert run("account", "add", "ana").code == 0
    with closing(open_store(data)) as store:
        position = Position("kafka:events/1", f"{cluster_id}@20".encode(), None)
        store.apply_batches([Batch(no_counters(), None, b"", b"", position=position)])
    ended = run("consume", f"kafka://{address}/events", "--until-end")
    assert (ended.code, CREATED_AGAIN in ended.err) == (1, True), ended.err
    assert "counted up to offset 20, but the partition ends at 1" in ended.err


def test_a_killed_consumer_is_replaced(data, kafka, topic):
    events = Events()
    consumers = [start_consumer(data, kafka.url(topic)) for _ in range(2)]
    try:
        kafka.publish(topic, events.messages(40))
        events.wait_until_counted(data, consumers[0].said)
        consumers[0].kill()
        kafka.publish(topic, events.messages(40))
        began = time.monotonic()
        events.wait_until_counted(data, consumers[1].said)
        assert time.monotonic() - began < REPLACE_MAX_S
        assert consumers[1].terminate() < STOP_MAX_S
    finally:
        for consumer in consumers:
            consumer.kill()


def test_kills_while_a_backlog_is_drained(data, kafka, topic):
    events = Events()
    kafka.publish(topic, events.messages(2000, events=100))
    for pause_s in (0.9, 1.3, 1.1, 1.6):
        consumer = start_consumer(data, kafka.url(topic))
        time.sleep(pause_s)
        consumer.kill()
        assert not events.read(data) - events.counts
    last = start_consumer(data, kafka.url(topic))
    try:
        events.wait_until_counted(data, last.said)
    finally:
        last.kill()
