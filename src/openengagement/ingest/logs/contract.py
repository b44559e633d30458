"""The contract of event logs: what the consumer needs of NATS, Kafka or another log.

A log is divided into *sources*, each of which has one order. A log reads the sources that this
process owns, from the position in the store on. Several processes may own a source for a moment:
the store accepts the counts of one of them (docs/decisions/0019-consuming-an-event-log.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

POLL_BYTES_MAX: Final = 8 * 2**20  # of the messages of one `poll`, unless one is larger
# Ten times is a usual ratio of compression. With a hundred times, memory is still bounded.
_PACKED_WEIGHT: Final = 10
_PACKED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1")
# Returns the position of a source in the store. Raises StoreUnavailable.
ReadPosition = Callable[[str], bytes | None]


class LogUnusable(Exception):
    """The log cannot be consumed as it is. The text says why, and what to change."""


class LogUnavailable(Exception):
    """The log does not answer now. Try again later."""


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
