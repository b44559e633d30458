"""The contract of event logs: what the consumer needs of NATS, Kafka or another log.

A log is divided into *sources*, each of which has one order. A log reads the sources that this
process owns, from the position in the store on. Several processes may own a source for a moment:
the store accepts the counts of one of them (docs/decisions/0019-consuming-an-event-log.md).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

POLL_BYTES_MAX: Final = 8 * 2**20  # of the messages of one `poll`, unless one is larger
# Ten times is a usual ratio of compression. With a hundred times, memory is still bounded.
_PACKED_WEIGHT: Final = 10
_PACKED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1")
BATCH_HEADER: Final = "openengagement-batch"  # `sent_batch.SentBatch`
# Returns the position of a source in the store. Raises StoreUnavailable.
ReadPosition = Callable[[str], bytes | None]


class LogUnusable(Exception):
    """The log cannot be consumed as it is. The text says why, and what to change."""


class LogUnavailable(Exception):
    """The log does not answer now. Try again later."""


class MessageTooLarge(Exception):
    """The log accepts no message of this size."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"the log accepts messages of {bytes_max} bytes")
        self.bytes_max = bytes_max


@dataclass(frozen=True, slots=True)
class LogMessage:
    """A message of a log.

    `position` is that of its source when the message has been counted, `after` the one before. All
    messages between the two were read. `epoch` increases whenever the source is read again from
    the position in the store. `offset` is the message's number, and `sent_s` the time when the log
    received it, in Unix seconds.
    """

    source: str
    epoch: int
    after: bytes | None
    position: bytes
    offset: int
    sent_s: float | None
    body: bytes
    content_type: str = ""
    encoding: str = ""
    batch: str = ""  # the header BATCH_HEADER

    @property
    def weight(self) -> int:
        """Return about how many bytes its content takes once it is decompressed."""
        packed = self.encoding or self.body.startswith(_PACKED)
        return len(self.body) * (_PACKED_WEIGHT if packed else 1)


class EventLog(Protocol):
    """A log of events. Use it in one thread."""

    def poll(self, timeout_s: float) -> list[LogMessage]:
        """Read messages, in the order of each source. Wait at most `timeout_s` for the first one.

        The messages weigh POLL_BYTES_MAX together, or one of them is larger. A log that does not
        answer is logged and tried again, and so is a store whose positions cannot be read.

        Raises:
            LogUnusable: messages are missing, or the log is another one than the store counted.
        """

    def restart(self, source: str, epoch: int) -> None:
        """Read a source again from the position in the store, unless its epoch has ended."""

    def lag(self) -> int | None:
        """Return how many messages of the owned sources were not returned yet. None if unknown."""

    def publish(self, name: str, letters: Sequence[tuple[str, bytes]]) -> None:
        """Publish messages, each with an id, to a subject or topic. Return when they are durable.

        Raises:
            LogUnavailable: some may have been published.
        """

    def close(self) -> None:
        """Stop reading, and tell other consumers so."""


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message to publish. A log may drop one whose `id` it has seen lately."""

    id: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def size(self) -> int:
        """Return the bytes of its content and headers."""
        return len(self.body) + sum(len(name) + len(self.headers[name]) for name in self.headers)


class LogPublisher(Protocol):
    """Publishes messages to a log, from any thread. It connects when it is first used."""

    def publish(self, message: OutgoingMessage) -> bool:
        """Publish a message. Return when it is durable: whether the log had it before.

        Raises:
            MessageTooLarge: nothing was published.
            LogUnavailable, LogUnusable: it may have been published.
        """

    def ping(self) -> None:
        """Find out whether messages can be published.

        Raises:
            LogUnavailable: not now.
            LogUnusable: the log, or its URL, has to be changed; the text says how.
        """

    def close(self) -> None:
        """Close the connections."""
