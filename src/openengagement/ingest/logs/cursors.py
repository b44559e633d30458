"""Where each source of a log is read: in all logs the same."""

from collections.abc import Mapping
from dataclasses import dataclass

from openengagement.errors import StoreDamaged, StoreUnavailable
from openengagement.ingest.logs.contract import LogUnusable, ReadPosition
from openengagement.telemetry import WARNING, log_event


@dataclass(slots=True)
class Cursor:
    """The place in a source up to which messages were returned.

    `position` is None at the beginning of the source, and `offset` is then 0. Unless it is
    `started`, the position in the store has to be read first.
    """

    source: str
    started: bool = False
    epoch: int = 0
    position: bytes | None = None
    offset: int = 0
    lag: int | None = None
    fresh: bool = False  # nothing was read yet after the position in the store

    def restart(self, epoch: int) -> None:
        """Read again from the position in the store, unless this epoch has ended."""
        if epoch == self.epoch:
            self.started, self.lag = False, None


class PositionCodec:
    """Positions of a log: the log's identity and the number of a message, as `IDENTITY@NUMBER`.

    `older` is another identity of the same log, which earlier positions may have. `mismatch` says
    that a position is one of another log.
    """

    def __init__(self, identity: str, *, described: str, older: str = "") -> None:
        self._identity = identity
        self._accepted = {identity, older or identity}
        self.mismatch = (
            f"{described} is not the one that was counted before: it was created again, or another "
            "log has its name; add the option name=NAME to the URL, with a new name, to count all "
            "of it"
        )

    def encode(self, offset: int) -> bytes:
        """Return the position after the message with this number."""
        return f"{self._identity}@{offset}".encode()

    def decode(self, position: bytes) -> int:
        """Return the number of the last message that was counted.

        Raises:
            LogUnusable: the position is one of another log.
        """
        identity, _, offset = position.decode("utf-8", "replace").rpartition("@")
        if identity not in self._accepted or not offset.isdecimal():
            raise LogUnusable(self.mismatch)
        return int(offset)


def start(
    cursors: Mapping[str, Cursor], codec: PositionCodec, *, read_position: ReadPosition
) -> list[Cursor]:
    """Start the cursors that are not started, at the position in the store. Return those.

    While the store does not answer, they stay as they are.

    Raises:
        LogUnusable: a position is one of another log.
        StoreDamaged
    """
    started: list[Cursor] = []
    for cursor in cursors.values():
        if cursor.started:
            continue
        try:
            position = read_position(cursor.source)
        except StoreDamaged:
            raise
        except StoreUnavailable as error:
            log_event("consumer_waits", level=WARNING, reason=error.reason)
            break
        cursor.position = position
        cursor.offset = 0 if position is None else codec.decode(position)
        cursor.epoch += 1
        cursor.started = cursor.fresh = True
        started.append(cursor)
    return started


def total_lag(cursors: Mapping[str, Cursor]) -> int | None:
    """Add up the lags of all cursors. None if one is unknown."""
    lags = [cursor.lag for cursor in cursors.values()]
    known = [lag for lag in lags if lag is not None]
    return sum(known) if len(known) == len(lags) else None
