"""The contract of a store that can be moved to another one, or filled from one.

An *inventory* gives access to everything in a store, in order, while others read and write. All
times and errors are as in `stores.contract`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, Protocol, runtime_checkable

import msgspec
import polars as pl

from openengagement.engagement.counters import Counters, no_counters
from openengagement.errors import StoreUnavailable
from openengagement.files import UnusableFile
from openengagement.stores.contract import Applied, Batch, CounterStore, Position

NEVER: Final = 2**62  # as `KeyRow.applied_at_s`: the key never expires
PROGRESS: Final = "move"  # the position in the target of a move
DESTINATION: Final = "moves to"  # the position in the source of a move, a `Destination`


class KeyRow(NamedTuple):
    """A used idempotency key. `applied_at_s` is in the time of the ledger."""

    applied_at_s: int
    key: bytes
    digest: bytes
    outcome: bytes

    @property
    def place(self) -> tuple[int, bytes]:
        """The place of the key in the order of `Inventory.next_keys`."""
        return self.applied_at_s, self.key


class Inventory(Protocol):
    """Everything in a store.

    Ids of Tweets are positive. `after_id` is exclusive, and `last_id` inclusive.
    """

    def is_empty(self) -> bool:
        """Whether the store has no Tweet, counter, key or position, apart from that of a move."""

    def count(self) -> tuple[int, int]:
        """Return about how many counters and exactly how many Tweets there are."""

    def cut(self, after_id: int) -> int:
        """Return an id so that a bounded number of counters lies between. ID_MAX at the end."""

    def read_counters(self, after_id: int, last_id: int) -> Counters:
        """Read the counters of Tweets, in plain form (`engagement.differences`)."""

    def next_tweets(self, after_id: int, limit: int) -> pl.DataFrame:
        """Read the next Tweets, with the columns of TWEET_SCHEMA. The content has no nulls."""

    def next_videos(self, after_number: int, limit: int) -> list[tuple[int, str]]:
        """Read the numbers and ids of the next videos."""

    def number_videos(self, video_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the number of each of these videos, and give new ones a number."""

    def read_views(self, numbers: Sequence[int]) -> list[int]:
        """Read the views of these videos."""

    def next_keys(self, after: tuple[int, bytes], limit: int) -> list[KeyRow]:
        """Read the next idempotency keys, those that never expire last.

        A new key has about the highest time: an hour before the newest one is early enough.
        """

    def list_positions(self) -> Mapping[str, bytes]:
        """Return the position of each source."""

    def wait_for_commits(self) -> None:
        """Wait until every commit that began is readable.

        Raises:
            StoreUnavailable: it takes too long, or an operator has to decide about a commit.
        """

    def quiet(self) -> AbstractContextManager[object]:
        """Let no erasure work on the store for the block."""

    def seal(self, reason: str) -> None:
        """Refuse every change from now on, in all processes, with StoreUnavailable.

        `reason` has no quotes. Commits that are under way can still end, and merges go on.
        """

    def release(self) -> None:
        """Allow changes again."""

    def is_sealed(self) -> bool:
        """Whether changes are refused."""


@runtime_checkable
class Moves(Protocol):
    """A store that can be moved to another one, and be filled from one."""

    def inventory(self) -> Inventory:
        """Return access to everything in the store."""


class MoveState(msgspec.Struct, frozen=True):
    """How far a move into a store is. It is the store's position PROGRESS.

    `source` identifies the store that is moved, and `run` the process that moves it. `step` counts
    the commits of the move.
    """

    source: str
    run: str = ""
    step: int = 0
    finished: bool = False

    @classmethod
    def read(cls, store: CounterStore) -> "MoveState | None":
        """Read the state of the move into a store. None if there was none."""
        found = store.read_position(PROGRESS)
        return None if found is None else msgspec.json.decode(found, type=cls)


class Destination(msgspec.Struct, frozen=True):
    """Where a sealed store is moved, or was moved. It is the store's position DESTINATION.

    `store` identifies the target, and `name` is what the command called it.
    """

    store: str
    name: str

    @classmethod
    def read(cls, store: CounterStore) -> "Destination | None":
        """Read the destination that a store was last sealed for. None if there was none."""
        found = store.read_position(DESTINATION)
        return None if found is None else msgspec.json.decode(found, type=cls)

    def write(self, store: CounterStore) -> None:
        """Keep it in a store, which is not sealed yet.

        Raises:
            StoreUnavailable: try again later.
        """
        before = store.read_position(DESTINATION)
        position = Position(DESTINATION, msgspec.json.encode(self), before)
        (answer,) = store.apply_batches([Batch(no_counters(), None, b"", b"", position=position)])
        if not isinstance(answer, Applied):
            raise StoreUnavailable(store.name, "another process moves it")


def refuse_unfinished(store: CounterStore) -> None:
    """Refuse a store that a move has not filled yet.

    Raises:
        UnusableFile
    """
    state = MoveState.read(store)
    if state is not None and not state.finished:
        raise UnusableFile(
            "a move into these stores has not finished: run the same `openengagement move` again, "
            "with --switch"
        )
