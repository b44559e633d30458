"""The interface of a contender in the ingest benchmark."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOT_ENGAGEMENTS = ("impressions", "media_views", "video_views")


class Contender(ABC):
    """A store of hourly counters. Two threads call `prepare` and `apply` at the same time."""

    version: str
    # Whether an acknowledged batch survives the loss of power, and how that is had.
    durable: bool
    how: str
    # How many batches that wait are best committed together.
    together = 1
    # Whether `prepare` is left out of what is measured.
    prepared_before = False

    def prepare(self, paths: Sequence[Path]) -> Any:  # noqa: ANN401
        """Prepare the input of `apply`. One thread prepares while the other commits."""
        return paths

    @abstractmethod
    def apply(self, keys: Sequence[str], prepared: Any) -> None:  # noqa: ANN401
        """Count batches, identified by `keys`, in one commit; return once they are acknowledged.

        Batches that were counted before change nothing. A mix of old and new batches does not occur
        here and may be refused: a client would send each batch alone.
        """

    @abstractmethod
    def compact(self) -> None:
        """Finish the store's background work, before space and reads are measured."""

    @abstractmethod
    def sums(self) -> dict[str, int]:
        """Return the sum of each event type over the whole store."""

    @abstractmethod
    def totals(self, tweet_ids: Sequence[int]) -> dict[int, list[int]]:
        """Return the totals of Tweets, in the order of TOTALS_TYPES."""

    @abstractmethod
    def disk_bytes(self) -> int:
        """Return the disk usage of the counters."""


@dataclass(frozen=True, slots=True)
class Words:
    """The event types in the stream's order, and the types of the requested totals."""

    types: Sequence[str]
    totals: Sequence[str]

    def parts(self, requested: str) -> list[str]:
        """The event types that one total adds up."""
        if requested != "engagements":
            return [requested]
        return [name for name in self.types if name not in NOT_ENGAGEMENTS]

    def fold(self, counts: Mapping[str, int]) -> list[int]:
        """Compute the requested totals from the count of each event type."""
        return [sum(counts.get(each, 0) for each in self.parts(name)) for name in self.totals]


# Opens a contender in a folder of its own.
Open = Callable[[Path, Words], AbstractContextManager[Contender]]


def folder_bytes(folder: Path) -> int:
    """Add up the sizes of all files in a folder."""
    return sum(each.stat().st_size for each in files_in(folder))


def files_in(folder: Path) -> Iterator[Path]:
    return (each for each in folder.rglob("*") if each.is_file())
