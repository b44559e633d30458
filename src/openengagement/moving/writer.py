"""Write to the counters of a target, each change once, also after a crash.

Every commit moves the target's position `stores.inventory.PROGRESS` on. So a commit whose answer
was lost is recognised, and a second process that moves into the same target is refused.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import msgspec

from openengagement.engagement.counters import Counters, no_counters
from openengagement.errors import StoreUnavailable
from openengagement.moving.sides import CannotMove
from openengagement.stores.contract import (
    Answer,
    Applied,
    Batch,
    CounterStore,
    Position,
    PositionConflict,
)
from openengagement.stores.inventory import PROGRESS, MoveState

_PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 0.5
ANOTHER: Final = "another process is moving data into these stores; wait until it ends"


class TargetWriter:
    """Applies changes to `store`. `state` is the one that the store had when the move began."""

    def __init__(self, store: CounterStore, state: MoveState | None) -> None:
        self._store = store
        self.state = state

    def begin(self, state: MoveState) -> None:
        """Record that a move has begun, has taken a step or has finished.

        Raises:
            CannotMove: another process moves into the store.
            StoreUnavailable: try again later.
        """
        self._commit([], state)

    def add(self, deltas: Counters) -> None:
        """Add to counters. Raises as `begin`."""
        self._step([Batch(deltas, None, b"", b"")])

    def apply(self, batches: Sequence[Batch]) -> list[Answer]:
        """Apply batches that have keys or positions of their own. Raises as `begin`."""
        return self._step(batches)

    def _step(self, batches: Sequence[Batch]) -> list[Answer]:
        assert self.state is not None
        return self._commit(batches, replace_step(self.state))

    def _commit(self, batches: Sequence[Batch], state: MoveState) -> list[Answer]:
        before = None if self.state is None else msgspec.json.encode(self.state)
        position = Position(PROGRESS, msgspec.json.encode(state), before)
        mine = Batch(no_counters(), None, b"", b"", position=position)
        # A batch has one position. Counts without a key and position must not come without it.
        rest = list(batches)
        if rest and rest[0].key is None and rest[0].position is None:
            mine = replace(rest.pop(0), position=position)
        answers = self._send([mine, *rest], state)
        if isinstance(answers[0], PositionConflict):
            raise CannotMove(ANOTHER)
        self.state = state
        return answers[1:]

    def _send(self, batches: Sequence[Batch], state: MoveState) -> list[Answer]:
        """Apply batches. If the answer is lost, find out whether they were applied."""
        give_up_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self._store.apply_batches(batches)
            except StoreUnavailable:
                if time.monotonic() > give_up_s:
                    raise
            time.sleep(_PAUSE_S)
            try:
                if MoveState.read(self._store) == state:
                    return self._repeat(batches)
            except StoreUnavailable:
                if time.monotonic() > give_up_s:
                    raise

    def _repeat(self, batches: Sequence[Batch]) -> list[Answer]:
        """Return the answers to batches that were applied. Those with keys are sent again."""
        first = Applied(False, b"")
        return [first, *(self._store.apply_batches(batches[1:]) if batches[1:] else [])]


def replace_step(state: MoveState) -> MoveState:
    """Return the state after another commit."""
    return msgspec.structs.replace(state, step=state.step + 1)
