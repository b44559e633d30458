"""Publish messages to a topic of Kafka. The client library chooses the partition."""

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from openengagement.ingest.logs import kafka_api
from openengagement.ingest.logs.contract import (
    LogUnavailable,
    LogUnusable,
    MessageTooLarge,
    OutgoingMessage,
)
from openengagement.ingest.logs.log_url import LogUrl

_POLL_S: Final = 0.1
_PING_S: Final = 3.0
_CLOSE_S: Final = 2.0
_RECORD_BYTES: Final = 1024  # what Kafka adds to a message
_NO_TOPIC: Final = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - its public name
}
# Errors after which an idempotent producer sends nothing more.
_BROKEN: Final = {
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.PRODUCER_FENCED,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError._FENCED,  # noqa: SLF001
}


class KafkaPublisher:
    """Publishes to the topic of a URL, in messages of at most `bytes_max` bytes.

    Every replica in sync has a message before `publish` returns.
    """

    def __init__(self, url: LogUrl, *, bytes_max: int) -> None:
        self._url = url
        self._bytes_max = bytes_max
        self._config = {
            **kafka_api.read_config(url),
            **kafka_api.PRODUCER_CONFIG,
            "message.max.bytes": bytes_max + _RECORD_BYTES,
            "linger.ms": 1,
            "allow.auto.create.topics": False,
        }
        self._lock = threading.Lock()
        self._producer = self._make_producer()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="kafka", daemon=True)
        self._thread.start()

    def publish(self, message: OutgoingMessage) -> bool:
        if message.size > self._bytes_max:
            raise MessageTooLarge(self._bytes_max)
        delivered: Future[KafkaError | None] = Future()
        headers = {name: text.encode() for name, text in message.headers.items()}

        def note(error: KafkaError | None, _: Message) -> None:
            delivered.set_result(error)

        producer = self._producer
        try:
            producer.produce(self._url.name, message.body, headers=headers, on_delivery=note)
            error = delivered.result(2 * kafka_api.TIMEOUT_S)
        except FutureTimeoutError:
            raise LogUnavailable(f"{self._url.name}: the broker does not answer") from None
        except KafkaException as failure:
            error = failure.args[0]
        except BufferError as failure:
            raise LogUnavailable(f"{self._url.name}: {failure}") from failure
        if error is not None:
            self._raise(error, producer)
        return False

    def ping(self) -> None:
        try:
            found = self._producer.list_topics(self._url.name, timeout=_PING_S)
            kafka_api.verified(found.topics[self._url.name])
        except KafkaException as failure:
            error: KafkaError = failure.args[0]
            lasting = error.code() in kafka_api.LASTING or error.code() in _NO_TOPIC
            raise (LogUnusable if lasting else LogUnavailable)(
                f"{self._url.text}: {kafka_api.explain(failure)}"
            ) from failure

    def close(self) -> None:
        self._producer.flush(_CLOSE_S)
        self._closing.set()
        self._thread.join(_CLOSE_S)

    def _make_producer(self) -> Producer:
        try:
            return Producer({**self._config, "logger": kafka_api.silent()})
        except (KafkaException, ValueError) as error:
            raise LogUnusable(f"{self._url.text}: {kafka_api.explain(error)}") from error

    def _poll(self) -> None:
        """Serve the reports of deliveries."""
        while not self._closing.is_set():
            self._producer.poll(_POLL_S)

    def _raise(self, error: KafkaError, producer: Producer) -> None:
        """Raise the exception that fits an error. Replace a producer that sends nothing more."""
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise MessageTooLarge(self._bytes_max)
        if error.fatal() or error.code() in _BROKEN:
            self._replace(producer)
        raise LogUnavailable(f"{self._url.name}: {kafka_api.explain(KafkaException(error))}")

    def _replace(self, broken: Producer) -> None:
        with self._lock:
            if broken is not self._producer:
                return
            self._producer = self._make_producer()
        broken.purge()
        broken.flush(_POLL_S)  # reports the messages that were under way as failed
