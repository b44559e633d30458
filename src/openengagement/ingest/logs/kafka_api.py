"""Settings and errors of Kafka's client library, which the consumer and the publisher share."""

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, TopicDescription, TopicMetadata

from openengagement.ingest.logs.contract import LogUnusable
from openengagement.ingest.logs.log_url import LogUrl

TIMEOUT_S: Final = 5.0
_ASK_EVERY_S: Final = 5.0
# Settings that durability depends on.
PRODUCER_CONFIG: Final[Mapping[str, Any]] = {
    "enable.idempotence": True,
    "acks": "all",
    "message.timeout.ms": int(TIMEOUT_S * 1000),
    "client.id": "openengagement",
}
# Errors that no retry helps, with what to say.
LASTING: Final = {
    KafkaError.UNKNOWN_TOPIC_OR_PART: "there is no such topic",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the broker does not let this user use the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the broker does not let this user join the group",
    KafkaError._AUTHENTICATION: "the broker refuses the credentials",  # noqa: SLF001 - its public name
    KafkaError.SASL_AUTHENTICATION_FAILED: "the broker refuses the credentials",
}


# Errors that do not say why.
_SILENT: Final = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT}  # noqa: SLF001


def verified(topic: TopicMetadata) -> TopicMetadata:
    """Return the description of a topic, if there is one.

    Raises:
        KafkaException
    """
    if topic.error is not None:
        raise KafkaException(topic.error)
    return topic


def explain(error: Exception) -> str:
    """Say in a few words what went wrong."""
    found = error.args[0] if error.args else ""
    if isinstance(found, KafkaError):
        found = LASTING.get(found.code(), found.str())
    return str(found)


def explain_silence(error: KafkaException, settings: Mapping[str, str]) -> str:
    """Say why a broker does not answer the first request. Over TLS, the library does not know."""
    if error.args[0].code() not in _SILENT:
        return explain(error)
    secure = settings.get("security.protocol", "").lower().endswith("ssl")
    over = " over TLS; is this its port for TLS?" if secure else ""
    return f"the broker does not answer{over}"


def silent() -> logging.Logger:
    """Return a logger that writes nothing: errors are reported by the calls that fail."""
    logger = logging.getLogger("openengagement.kafka")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def read_config(url: LogUrl) -> dict[str, str]:
    """Read the settings of the client, such as servers and credentials: of the URL and its file.

    Raises:
        LogUnusable: the file cannot be read.
    """
    settings: dict[str, str] = {}
    if url.user:
        settings |= {"sasl.username": url.user, "sasl.password": url.password}
        settings |= {"security.protocol": "sasl_ssl", "sasl.mechanisms": "PLAIN"}
    if path := url.option("config"):
        try:
            lines = Path(path).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise LogUnusable(f"{path} cannot be read: {error}") from error
        pairs = (line.partition("=") for line in lines if line.strip() and line[:1] != "#")
        settings |= {name.strip(): value.strip() for name, _, value in pairs}
    return {**settings, "bootstrap.servers": ",".join(url.hosts)}


class TopicWatch:
    """Notices that a topic was deleted and created again: brokers give each topic an id.

    Brokers before Kafka 2.8 give none. The id is then empty, and never changes.
    """

    def __init__(self, topic: str, config: Mapping[str, Any]) -> None:
        self._topic = topic
        self._admin = AdminClient({**config, "logger": silent()})
        self._asked: Future[TopicDescription] | None = None
        self._next_s = time.monotonic() + _ASK_EVERY_S

    def read_id(self) -> str:
        """Ask for the id of the topic.

        Raises:
            KafkaException: the broker does not answer, or has no such topic.
        """
        return _id_of(self._ask().result())

    def find_change(self, known: str) -> bool:
        """Return whether the topic has another id than this one. Asks now and then, and is quick.

        Raises:
            KafkaException: as `read_id`.
        """
        self._admin.poll(0)  # otherwise the client keeps every line that it logs
        if self._asked is None and time.monotonic() >= self._next_s:
            self._asked = self._ask()
        if self._asked is None or not self._asked.done():
            return False
        asked, self._asked = self._asked, None
        self._next_s = time.monotonic() + _ASK_EVERY_S
        return _id_of(asked.result()) != known

    def _ask(self) -> "Future[TopicDescription]":
        names = TopicCollection([self._topic])
        asked = self._admin.describe_topics(names, request_timeout=TIMEOUT_S)
        future: Future[TopicDescription] = asked[self._topic]
        return future


def _id_of(topic: TopicDescription) -> str:
    bits = topic.topic_id.get_most_significant_bits(), topic.topic_id.get_least_significant_bits()
    return str(topic.topic_id) if any(bits) else ""
