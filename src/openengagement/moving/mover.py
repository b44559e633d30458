"""Move everything from one side to another while the source keeps taking events.

1. *Copy.* Passes compare both sides and copy what differs (`passes`). The source takes events
   meanwhile, so each pass finds less.
2. *Switch.* The source refuses every change (*sealed*), and still answers reads. The check compares
   everything, copies the rest, and compares that again. Then the source refuses signed requests too
   (*closed*): nonces, rate windows and usage are copied. The target is finished, and servers may
   start on it.

Until the target is finished, a failure opens the source again. A process that was killed leaves it
as it was, and the next one goes on. Both sides are locked (`place_lock`): no other process seals,
opens or fills them meanwhile.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from openengagement.errors import StoreUnavailable
from openengagement.ingest.logs.store_identity import read_identity
from openengagement.moving.passes import FIRST_KEY, Pass
from openengagement.moving.sides import CannotMove, Side
from openengagement.moving.tally import Pace, Tally
from openengagement.moving.writer import TargetWriter
from openengagement.registry.copying import SEALED, USAGE, copy_tables, count_differences
from openengagement.stores.inventory import Destination, MoveState

REASON: Final = "everything here is being moved, or was moved, to other stores"
# Workers write their usage every 5 s, and say then that they will write more of it.
ROUND_S: Final = 6.0
_USAGE_MIN_S: Final = 60.0  # how long to wait at least for a worker that is late
_AFTER_BODY_S: Final = 15.0  # to answer a request whose body arrived late, and to write its usage
_PAUSE_S: Final = 0.1
_PASSES_MAX: Final = 6
_FEW: Final = 10_000  # counters that a pass found: the next pass would find about as many


class SidesDiffer(CannotMove):
    """The check found a difference. The source was opened again."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move did. `sealed_s` is how long the source refused changes, `closed_s` everything."""

    switched: bool
    passes: int = 0
    tally: Tally | None = None  # of the last pass, or of the check: what differed in the end
    sealed_s: float = 0.0
    closed_s: float = 0.0


# Called with the name of a stage and how many counters and Tweets it will compare.
OnStage = Callable[[str, int], None]


class Mover:
    """Moves `source` to `target`. `on_stage` and `on_compared` are called with the progress."""

    def __init__(
        self,
        source: Side,
        target: Side,
        *,
        pace: Pace,
        on_stage: OnStage,
        on_compared: Callable[[str, int], None],
    ) -> None:
        self._source = source
        self._target = target
        self._pace = pace
        self._usage_max_s = _USAGE_MIN_S
        self._on_stage = on_stage
        self._on_compared = on_compared
        store = target.stores.counters
        self._writer = TargetWriter(store, MoveState.read(store))
        self._keys_from = FIRST_KEY

    def move(self, *, switch: bool, body_timeout_s: float) -> Moved:
        """Copy everything, and then switch if asked to.

        `body_timeout_s` is how long a request's body may take at the servers of the source.

        Raises:
            CannotMove: the sides do not fit, or differ in the end.
            StoreUnavailable: try again later; the next call goes on.
        """
        self._usage_max_s = max(_USAGE_MIN_S, body_timeout_s + _AFTER_BODY_S)
        if self._is_finished():
            return Moved(switched=True)
        sealed = self._source.inventory.is_sealed()
        if sealed:
            self._verify_sealed(switch=switch)
        self._begin()
        if sealed:
            return self._switch(passes=0)
        passes, tally = self._converge()
        return self._switch(passes) if switch else Moved(False, passes, tally)

    def _is_finished(self) -> bool:
        """Whether this move has finished before.

        Raises:
            CannotMove: the source was opened again since.
        """
        state = self._writer.state
        if state is None or not state.finished or state.source != self._identity():
            return False
        if not self._source.inventory.is_sealed():
            raise CannotMove(
                f"a move to {self._target.name} has finished, and {self._source.name} was opened "
                "again since. Empty the target, or choose another one"
            )
        return True

    def _verify_sealed(self, *, switch: bool) -> None:
        """Verify that this move has sealed the source, and may go on.

        Raises:
            CannotMove
        """
        source, state = self._source, self._writer.state
        found = Destination.read(source.stores.counters)
        if found and (state is None or found.store != read_identity(self._target.stores.counters)):
            raise CannotMove(
                f"{source.name} is sealed, because it is being moved, or was moved, to "
                f"{found.name}. To move it to {self._target.name} instead, open it again with "
                "--release"
            )
        if not switch:
            raise CannotMove(
                f"{source.name} is sealed, because a switch was interrupted. Add --switch to "
                "complete it, or open the source again with --release"
            )

    def _identity(self) -> str:
        return read_identity(self._source.stores.counters)

    def _begin(self) -> None:
        """Record that the move has begun, or goes on.

        Raises:
            CannotMove: the target holds something else.
        """
        identity, state = self._identity(), self._writer.state
        if state is None and not self._target.is_empty():
            raise CannotMove(
                f"{self._target.name} is not empty, and no move has filled it. Empty it, or choose "
                "another target"
            )
        if state is not None and (state.source != identity or state.finished):
            raise CannotMove(
                f"{self._target.name} was filled from other stores. Empty it, or choose another "
                "target"
            )
        step = 0 if state is None else state.step + 1
        self._writer.begin(MoveState(identity, uuid.uuid4().hex, step))
        self._target.inventory.wait_for_commits()  # of what a killed process has begun

    def _converge(self) -> tuple[int, Tally]:
        """Run passes until another one would find about as much as the last. Count them."""
        passes = before = 0
        while True:
            passes += 1
            tally = self._copy(f"pass {passes}", self._pace)
            found = tally.differing["counters"]
            if found <= _FEW or passes == _PASSES_MAX or (before and 2 * found > before):
                return passes, tally
            before = found

    def _copy(self, stage: str, pace: Pace) -> Tally:
        """Run one pass that copies what differs. Videos follow when the source is sealed."""
        one = self._pass(stage, pace, checks=False)
        one.tweets()
        one.counters()
        self._keys_from = one.keys(self._keys_from)
        one.positions()
        rows = copy_tables(self._source.registry.database, self._target.registry.database)
        one.tally.add("registry rows", compared=rows, differing=rows)
        return one.tally

    def _pass(self, stage: str, pace: Pace, *, checks: bool) -> Pass:
        self._on_stage(stage, sum(self._source.inventory.count()))
        tally = Tally(checks=checks)
        return Pass(self._source, self._target, self._writer, tally, pace, self._on_compared)

    def _switch(self, passes: int) -> Moved:
        source = self._source
        sealed_s = time.monotonic()
        with source.inventory.quiet():
            try:
                self._seal()
                tally = self._check()
                closed_s = time.monotonic()
                self._copy_last()
                self._verify_locks()
            except BaseException as error:
                self._reopen(error)
                raise
            # From here on the target may be in use, so the source stays closed.
            assert self._writer.state is not None
            self._writer.begin(msgspec.structs.replace(self._writer.state, finished=True))
        now_s = time.monotonic()
        return Moved(True, passes, tally, now_s - sealed_s, now_s - closed_s)

    def _reopen(self, error: BaseException) -> None:
        """Open the source again after this error.

        Raises:
            CannotMove: it may be sealed still.
        """
        reason = "the lock of the move was lost"  # so another process may move it now
        if self._source.lock.is_held():
            try:
                release_side(self._source)
            except StoreUnavailable as failure:
                reason = str(failure)
            else:
                return
        raise CannotMove(
            f"{self._source.name} may be sealed still, because {reason}. Run the command with "
            "--switch again, or open the source with --release"
        ) from error

    def _seal(self) -> None:
        """Let the source refuse every change, and wait for those that have begun."""
        source = self._source
        self._verify_locks()
        if not source.inventory.is_sealed():
            identity = read_identity(self._target.stores.counters)
            Destination(identity, self._target.name).write(source.stores.counters)
        source.inventory.seal(REASON)  # first, because `is_sealed` looks here
        source.registry.database.seal(SEALED, REASON)
        source.inventory.wait_for_commits()

    def _verify_locks(self) -> None:
        """Verify that no other process can have begun to move meanwhile.

        Raises:
            StoreUnavailable: PostgreSQL has ended the connection that holds a lock.
        """
        if not (self._source.lock.is_held() and self._target.lock.is_held()):
            raise StoreUnavailable("registry", "the lock of the move was lost")

    def _check(self) -> Tally:
        """Compare everything. Copy what changed since the last pass, and compare that again.

        The source is sealed, so what is equal once stays so.

        Raises:
            SidesDiffer
        """
        one = self._pass("check", Pace(0), checks=True)
        one.tweets()
        one.counters()
        one.videos()  # after the counters, because the target adds these to videos
        one.positions()
        # Repeats of known keys are answered, and change nothing.
        one.keys(FIRST_KEY)
        databases = self._source.registry.database, self._target.registry.database
        copy_tables(*databases)
        for table, count in count_differences(*databases).items():
            if table not in {each.name for each in USAGE}:
                one.tally.add(f"rows of {table}", compared=count, differing=count)
        if +one.tally.differing:
            raise SidesDiffer(f"the two sides differ: {one.tally.describe()}")
        return one.tally

    def _copy_last(self) -> None:
        """Let the source refuse signed requests, and copy what these have changed."""
        source, target = self._source, self._target
        source.limits.seal(REASON)
        self._wait_for_usage()
        copy_tables(source.registry.database, target.registry.database, tables=USAGE)
        target.limits.add_all(*source.limits.read_all())

    def _wait_for_usage(self) -> None:
        """Wait until every worker of the source has written the usage that it counted.

        Raises:
            CannotMove: one takes too long.
        """
        time.sleep(ROUND_S)
        give_up_s = time.monotonic() + self._usage_max_s
        while self._source.registry.database.has_writers():
            if time.monotonic() > give_up_s:
                raise CannotMove(
                    f"a server of {self._source.name} has not written its usage within "
                    f"{self._usage_max_s:.0f} s: it is overloaded, or a request's body arrives "
                    "very slowly. Restart or stop it, and run the command again"
                )
            time.sleep(_PAUSE_S)


def release_side(side: Side) -> None:
    """Open a side again that was sealed and closed.

    Raises:
        StoreUnavailable: repeat the call.
    """
    side.limits.release()
    side.registry.database.release()
    side.inventory.release()  # last, because `is_sealed` looks here
