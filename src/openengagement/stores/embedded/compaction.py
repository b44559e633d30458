"""Keep the number of segments small, in two stages.

*Flush* turns unflushed segments, which commits left in the database, into a file. *Compaction*
turns several files of similar size into a larger one, so a counter is rewritten only a few times.
At most one thread of all processes runs a stage. The stages work on different segments, so a long
compaction never delays a flush.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum, auto
from itertools import accumulate
from pathlib import Path
from typing import Final

from openengagement.damage import OnDamage, ignore_damage
from openengagement.engagement.counters import Ints
from openengagement.errors import StoreDamaged
from openengagement.files import FileLock, make_folder
from openengagement.metrics.table import MERGE_FAILURES, MERGE_SECONDS, MERGED_ROWS
from openengagement.stores.embedded.database import Database
from openengagement.stores.embedded.manifest import SegmentRecord
from openengagement.stores.embedded.merging import NO_IDS, Merger, StoppedError
from openengagement.stores.embedded.segment_folder import SegmentFolder
from openengagement.telemetry import log_event, log_failure
from openengagement.tuning import lower_priority

FLUSH_MIN: Final = 8  # unflushed segments that are worth a file
_FLUSH_ROWS_MAX: Final = 4_000_000
_IDLE_FLUSH_ROWS: Final = 100_000  # rows that are worth a file while the store is idle
# More unflushed segments than this delay the next commit, because every read opens all of them.
BACKLOG_MAX: Final = 32
_COMPACT_MIN: Final = 6  # files to merge, unless the store is idle
_FILES_MAX: Final = 24  # files that `compact` may leave
# A file is merged with the smaller ones if it is at most this many times as large as they together.
_BUSY_RATIO: Final = 0.5
_IDLE_RATIO: Final = 8
_IDLE_S: Final = 1.0  # without a commit of any process
_LOOK_EVERY_S: Final = 30.0
# Names on the disk since version 3. An older process may still run on the same folder, and must
# exclude this one.
_FLUSH_LOCK: Final = "gather.lock"
_COMPACTION_LOCK: Final = "carry.lock"

# Called with all records and `idle`, returns the segments to merge.
Choose = Callable[..., list[SegmentRecord]]


class StageResult(Enum):
    """How a run of a stage ended."""

    MERGED = auto()
    NOTHING_DUE = auto()
    BUSY_ELSEWHERE = auto()  # another thread or process is running this stage
    FAILED = auto()  # and was logged; or the store was closed


def choose_unflushed(records: Sequence[SegmentRecord], *, idle: bool) -> list[SegmentRecord]:
    """Choose what to flush: the oldest unflushed segments, if they are enough for a file."""
    unflushed = [record for record in records if record.file is None]
    rows = sum(record.rows for record in unflushed)
    due = len(unflushed) >= FLUSH_MIN or rows >= (_IDLE_FLUSH_ROWS if idle else _FLUSH_ROWS_MAX)
    return limit_rows(unflushed) if due else []


def limit_rows(unflushed: Sequence[SegmentRecord]) -> list[SegmentRecord]:
    """Keep the first segments, as many as one merge may hold in memory."""
    before = accumulate((record.rows for record in unflushed), initial=0)
    pairs = zip(unflushed, before, strict=False)
    return [record for record, rows in pairs if rows < _FLUSH_ROWS_MAX]


def choose_files(records: Sequence[SegmentRecord], *, idle: bool) -> list[SegmentRecord]:
    """Choose the files to compact: the smallest ones, up to one that is not too large for them.

    The largest chosen file is at most half as large as all smaller ones together. So the number of
    files stays small, and a counter is rewritten only if its file at least triples. While the
    store is idle, that file may be several times as large, and two files are enough: fewer
    files make every read faster.
    """
    files = sorted((each for each in records if each.file), key=lambda each: each.rows)
    ratio = _IDLE_RATIO if idle else _BUSY_RATIO
    chosen = rows = 0
    for index, record in enumerate(files):
        if record.rows <= ratio * rows:
            chosen = index + 1
        rows += record.rows
    return files[:chosen] if chosen >= (2 if idle else _COMPACT_MIN) else []


@contextmanager
def failures_logged(on_damage: OnDamage) -> Iterator[None]:
    """Log a failure of the block instead of raising it. Report damage to `on_damage`, too.

    Committed data is safe without a merge. If a commit raised this error after it succeeded, its
    caller would send the batch again.
    """
    try:
        yield
    except StoppedError:
        pass
    except Exception as error:
        MERGE_FAILURES.add(1)
        log_failure("merge_failed", error)
        if isinstance(error, StoreDamaged):
            on_damage(error)


class Stage:
    """A kind of merge. At most one thread of all processes runs it at a time.

    `followed_by` is the stage that may have work after a merge of this one.
    """

    def __init__(
        self, merger: Merger, lock: FileLock, *, choose: Choose, on_damage: OnDamage
    ) -> None:
        self.lock = lock
        self.wake = threading.Event()  # set when there may be work
        self.thread: threading.Thread | None = None
        self._merger = merger
        self._choose = choose
        self._on_damage = on_damage
        self.followed_by: Stage | None = None

    def run(self, *, idle: bool = False, wait: bool = False) -> StageResult:
        """Merge once if a merge is due.

        If others run this stage, wait for them if `wait` is true, else return at once.
        """
        result = StageResult.FAILED
        with failures_logged(self._on_damage), self.lock.held(wait=wait) as held:
            if not held:
                return StageResult.BUSY_ELSEWHERE
            # List them under the lock: no other process can merge these segments now.
            chosen = self._choose(self._merger.mergeable(), idle=idle)
            began_s = time.monotonic()
            self._merger.merge(chosen)
            if chosen:
                self._note(chosen, took_s=time.monotonic() - began_s)
            result = StageResult.MERGED if chosen else StageResult.NOTHING_DUE
        if result is StageResult.MERGED and self.followed_by:
            self.followed_by.wake.set()
        return result

    def _note(self, chosen: Sequence[SegmentRecord], *, took_s: float) -> None:
        stage = "flush" if self.followed_by else "compaction"
        rows = sum(record.rows for record in chosen)
        MERGE_SECONDS.observe(took_s, stage)
        MERGED_ROWS.add(rows, stage)
        if self.followed_by is None:  # a flush runs every few commits
            log_event("compacted", files=len(chosen), rows=rows, seconds=round(took_s, 3))

    def start(self, name: str, stopping: threading.Event) -> None:
        """Run the stage in a thread from now on, until `stopping` and `wake` are set."""
        self.wake.set()
        run = self._run_forever
        thread = threading.Thread(target=run, args=(stopping,), name=name, daemon=True)
        thread.start()
        self.thread = thread

    def _run_forever(self, stopping: threading.Event) -> None:
        lower_priority()
        seen: list[SegmentRecord] = []
        while not stopping.is_set():
            # Other processes do not set `wake`, so look for their segments from time to time. If
            # nothing has changed since the last look, a merge was not due, or would fail again.
            if not self.wake.wait(_LOOK_EVERY_S) and self._look() == seen:
                continue
            self.wake.clear()
            while not stopping.is_set() and self.run() is StageResult.MERGED:
                pass
            while not stopping.is_set() and self._wait_until_idle():
                seen = self._look()
                result = self.run(idle=True)
                # After BUSY_ELSEWHERE, wait and look again. The other process may die during its
                # merge, and then nothing would wake this thread.
                if result in {StageResult.NOTHING_DUE, StageResult.FAILED}:
                    with failures_logged(self._on_damage):
                        self._merger.folder.remove_leftovers()
                    break

    def _wait_until_idle(self) -> bool:
        """Wait until no process has changed the segments for `_IDLE_S`.

        False if `wake` was set meanwhile, or if the segments cannot be listed.
        """
        idle = False
        with failures_logged(self._on_damage):
            before = None
            while before != (records := self._merger.records()):
                if self.wake.wait(_IDLE_S):
                    break
                before = records
            else:
                idle = True
        return idle

    def _look(self) -> list[SegmentRecord]:
        """List all segments, or none if the database cannot be read now."""
        with suppress(sqlite3.Error):
            return self._merger.records()
        return []


class Compactor:
    """Runs the two stages of a store, on demand and in the background."""

    def __init__(
        self, database: Database, folder: Path, *, on_damage: OnDamage = ignore_damage
    ) -> None:
        make_folder(folder)
        self._on_damage = on_damage
        self._stopping = threading.Event()
        locks = [FileLock(folder / name) for name in (_FLUSH_LOCK, _COMPACTION_LOCK)]
        self.folder = SegmentFolder(database, folder, locks=locks)
        self._merger = merger = Merger(database, self.folder, stopping=self._stopping)
        self.compaction = Stage(merger, locks[1], choose=choose_files, on_damage=on_damage)
        self.flush = Stage(merger, locks[0], choose=choose_unflushed, on_damage=on_damage)
        self.flush.followed_by = self.compaction
        self._starting = threading.Lock()

    def notify_commit(self) -> None:
        """Start a flush in the background, soon. Call after every commit that added counters.

        If more than BACKLOG_MAX segments are unflushed, flush some before returning: commits then
        come no faster than they can be flushed.
        """
        self.start()
        with failures_logged(self._on_damage):
            self.flush.wake.set()
            if len(self._merger.unflushed()) > BACKLOG_MAX:
                self.flush.run(wait=True)

    def start(self) -> None:
        """Run both stages in the background from now on."""
        with failures_logged(self._on_damage), self._starting:
            if self.flush.thread is None:
                self.folder.remove_leftovers()
                self.flush.start("flush", self._stopping)
            if self.compaction.thread is None:
                self.compaction.start("compaction", self._stopping)

    def compact(self) -> None:
        """Flush what is worth a file, then compact until at most `_FILES_MAX` files are left."""
        while self.flush.run(idle=True, wait=True) is StageResult.MERGED:
            pass
        with failures_logged(self._on_damage):
            while len(self._merger.files()) > _FILES_MAX and (
                self.compaction.run(wait=True) is StageResult.MERGED
                or self.compaction.run(idle=True, wait=True) is StageResult.MERGED
            ):
                pass

    def prune(self, oldest_hour: int) -> int:
        """Forget the counters of earlier hours. Return their number."""
        # Only files have totals of their own, which stay when hours go, so flush everything first.
        self._flush_present()
        with self.compaction.lock.held():
            files = self._merger.files()
            if not any(self._merger.has_before(record, oldest_hour) for record in files):
                return 0
            return self._merger.merge(files, oldest_hour=oldest_hour)

    def erase(self, ids: Ints) -> None:
        """Leave out the counters of these Tweets from every segment."""
        self._flush_present(without=ids)
        with self.compaction.lock.held():
            for record in self._merger.files():
                if self._merger.holds(record, ids):
                    self._merger.merge([record], without=ids)
        self.folder.remove_leftovers(wait=True)  # files that a crash after a merge has left

    def _flush_present(self, *, without: Ints = NO_IDS) -> None:
        """Flush all segments that are unflushed now. Later ones may come faster than they go."""
        with self.flush.lock.held():
            last = max((record.segment_id for record in self._merger.unflushed()), default=0)

            def list_present() -> list[SegmentRecord]:
                return [each for each in self._merger.unflushed() if each.segment_id <= last]

            while unflushed := limit_rows(list_present()):
                self._merger.merge(unflushed, without=without)

    def close(self) -> None:
        """Stop the stages. A merge that is under way is undone."""
        self._stopping.set()
        stages = (self.flush, self.compaction)
        for stage in stages:
            stage.wake.set()
        for stage in stages:
            if stage.thread is not None:
                stage.thread.join()
        for stage in stages:  # last, because a thread of one stage also holds the other's lock
            stage.lock.close()
