"""What a contender of the ingest benchmark must be able to do."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOT_ENGAGEMENTS = ("impressions", "media_views", "video_views")


class Contender(ABC):
    """A store of hourly counters. Two threads call `prepare` and `apply` at once."""

    version: str
    # Whether an acknowledged batch survives the loss of power, and how that is had.
    durable: bool
    how: str
    # How many batches that wait are best committed together.
    together = 1
    # Whether `prepare` is left out of what is measured.
    prepared_before = False

    def prepare(self, paths: Sequence[Path]) -> Any:  # noqa: ANN401
        """What `apply` takes; made by one thread while the other waits for its commit."""
        return paths

    @abstractmethod
    def apply(self, keys: Sequence[str], prepared: Any) -> None:  # noqa: ANN401
        """Count batches, known by `keys`, in one commit; return once they are acknowledged.

        Those that were counted already change nothing. A mix of such and others does not occur
        here, and may be refused: a client would send each alone.
        """

    @abstractmethod
    def compact(self) -> None:
        """Let background work of the store come to its end, before space and reads are measured."""

    @abstractmethod
    def sums(self) -> dict[str, int]:
        """The sum of each event type over all that is stored."""

    @abstractmethod
    def totals(self, tweet_ids: Sequence[int]) -> dict[int, list[int]]:
        """The totals of Tweets that are stored, in the order of TOTALS_TYPES."""

    @abstractmethod
    def disk_bytes(self) -> int:
        """What the counters take on the disk."""


@dataclass(frozen=True, slots=True)
class Words:
    """The event types in the stream's order, and the types that totals are asked for."""

    types: Sequence[str]
    totals: Sequence[str]

    def parts(self, asked: str) -> list[str]:
        """The event types that one total is the sum of."""
        if asked != "engagements":
            return [asked]
        return [name for name in self.types if name not in NOT_ENGAGEMENTS]

    def fold(self, counts: Mapping[str, int]) -> list[int]:
        """The totals asked for, from the count of each event type."""
        return [sum(counts.get(each, 0) for each in self.parts(name)) for name in self.totals]


# Opens a contender in a folder of its own.
Open = Callable[[Path, Words], AbstractContextManager[Contender]]


def folder_bytes(folder: Path) -> int:
    """The sizes of all files in a folder."""
    return sum(each.stat().st_size for each in files_in(folder))


def files_in(folder: Path) -> Iterator[Path]:
    return (each for each in folder.rglob("*") if each.is_file())
