"""Segments become fewer and larger, in the background, in two stages.

*Gathering* turns what commits left in the database into a file. *Carrying* turns files into larger
ones, as digits carry in addition, so that a counter is rewritten a handful of times in its life.
Each stage is one process's at a time, and they touch different segments: however long a carry
takes, commits never pile up behind it. What readers hold stays theirs until they let go of it.
"""

import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from openengagement.engagement.counters import cut, first_cell, merge_at_once, to_totals
from openengagement.process import give_way
from openengagement.stores.database import Database
from openengagement.stores.manifest import Listed, list_segments, read_segment, swap_segments
from openengagement.stores.segments import Segment, SegmentFile, bounds_of
from openengagement.stores.turns import Turn
from openengagement.telemetry import log_failure

FRESH_MAX: Final = 8  # segments in the database before they are gathered
_FRESH_ROWS_MAX: Final = 4_000_000
_QUIET_ROWS: Final = 100_000  # worth gathering when nothing else is going on
# Where gathering does not keep up, committing waits for it: a read looks into every segment.
BACKLOG_MAX: Final = 32
_CARRY_MIN: Final = 4
_QUIET_S: Final = 0.5
_COUNTED_ROWS: Final = 1_000_000
_SUFFIX: Final = ".segment"


def choose_fresh(listed: Sequence[Listed], *, quiet: bool) -> list[Listed]:
    """What to gather: everything that is in the database, once that is worth a file."""
    fresh = [each for each in listed if each.file is None]
    rows = sum(each.rows for each in fresh)
    due = len(fresh) >= FRESH_MAX or rows >= (_QUIET_ROWS if quiet else _FRESH_ROWS_MAX)
    return fresh if due else []


def choose_files(listed: Sequence[Listed], *, quiet: bool) -> list[Listed]:
    """What to carry: the largest file that is no larger than all smaller ones together, and those.

    Whatever is left is larger than all smaller files together, so the files stay few.
    """
    files = sorted((each for each in listed if each.file), key=lambda each: each.rows)
    chosen = rows = 0
    for at, each in enumerate(files):
        if each.rows <= rows:
            chosen = at + 1
        rows += each.rows
    return files[:chosen] if chosen >= (2 if quiet else _CARRY_MIN) else []


class Compactor:
    """Merges the segments of one store whenever there is reason to."""

    def __init__(self, database: Database, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._database = database
        self._folder = folder
        self._closing = threading.Event()
        self._gathering = Turn(folder / "gather.lock")
        self._carrying = Turn(folder / "carry.lock")
        self._news = {stage: threading.Event() for stage in (self.gather, self.carry)}
        self._threads: list[threading.Thread] = []

    def note(self) -> None:
        """Something was committed: merge what is due soon, or now where too much has gathered."""
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._run, args=(stage,), name=name, daemon=True)
                for stage, name in ((self.gather, "gather"), (self.carry, "carry"))
            ]
            self._sweep()
            for thread in self._threads:
                thread.start()
        self._news[self.gather].set()
        if sum(each.file is None for each in self._list()) > BACKLOG_MAX:
            self._try(partial(self.gather, wait=True))

    def close(self) -> None:
        """Stop; a merge that is half done leaves no trace."""
        self._closing.set()
        for news in self._news.values():
            news.set()
        for thread in self._threads:
            thread.join()
        self._gathering.close()
        self._carrying.close()

    def gather(self, *, quiet: bool = False, wait: bool = False) -> bool:
        """Gather what is due; False when nothing was, or when somebody else is at it."""
        with self._gathering.taken(wait=wait) as mine:
            done = mine and self._merge(choose_fresh(self._list(), quiet=quiet))
        if done:
            self._news[self.carry].set()
        return done

    def carry(self, *, quiet: bool = False) -> bool:
        """Carry what is due; False when nothing was, or when somebody else is at it."""
        with self._carrying.taken(wait=False) as mine:
            return mine and self._merge(choose_files(self._list(), quiet=quiet))

    def prune(self, oldest_hour: int) -> int:
        """Forget the counters of the hours before this one; returns how many there were."""
        with self._gathering.taken():
            fresh = [each for each in self._list() if each.file is None]
            old = self._prune(fresh, oldest_hour)
        with self._carrying.taken():
            files = [each for each in self._list() if each.file]
            return old + self._prune(files, oldest_hour)

    def _prune(self, chosen: Sequence[Listed], oldest_hour: int) -> int:
        old = sum(_count_before(self._load(each), oldest_hour) for each in chosen)
        if old:
            self._merge(chosen, oldest_hour=oldest_hour)
        return old

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Meanwhile no file goes."""
        with self._gathering.taken(), self._carrying.taken():
            yield

    def _run(self, stage: Callable[..., bool]) -> None:
        give_way()
        news = self._news[stage]
        while not self._closing.is_set():
            news.wait()
            news.clear()
            while not self._closing.is_set() and self._try(stage):
                pass
            quietly = partial(stage, quiet=True)
            while not self._closing.is_set() and not news.wait(_QUIET_S) and self._try(quietly):
                pass

    def _try(self, stage: Callable[[], bool]) -> bool:
        """What was committed is safe, whether or not it is merged."""
        try:
            return stage()
        except _Closing:
            return False
        except Exception as error:
            log_failure("merge_failed", error)
            return False

    def _list(self) -> list[Listed]:
        return list_segments(self._database.connection())

    def _load(self, listed: Listed) -> Segment:
        return read_segment(self._database.connection(), listed, folder=self._folder)

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise _Closing

    def _sweep(self) -> None:
        """Remove files that nobody lists: their process died before it came to that."""
        with (
            self._gathering.taken(wait=False) as gathering,
            self._carrying.taken(wait=False) as carrying,
        ):
            if gathering and carrying:
                listed = {each.file for each in self._list()}
                for path in self._folder.glob(f"*{_SUFFIX}"):
                    if path.name not in listed:
                        path.unlink(missing_ok=True)

    def _merge(self, chosen: Sequence[Listed], *, oldest_hour: int = 0) -> bool:
        if not chosen:
            return False
        name = f"{uuid.uuid4().hex}{_SUFFIX}"
        segments = [self._load(each) for each in chosen]
        file = SegmentFile(
            self._folder / name,
            hours=bounds_of([segment.hours for segment in segments]),
            # Where hours tell the totals, these may be larger than any of them.
            totals=bounds_of([segment.summable for segment in segments])._replace(
                peak=sum(each.reach for each in chosen)
            ),
        )
        try:
            rows, reach = self._write(file, segments, oldest_hour=oldest_hour)
        except BaseException:
            (self._folder / name).unlink()
            raise
        finally:
            file.close()
        _sync(self._folder)
        with self._database.writing() as db:
            swap_segments(db, chosen, rows=rows, reach=reach, file=name)
        for each in chosen:
            if each.file:
                (self._folder / each.file).unlink(missing_ok=True)
        return True

    def _write(
        self, file: SegmentFile, segments: Sequence[Segment], *, oldest_hour: int
    ) -> tuple[int, int]:
        """Write the sum of these without earlier hours; returns its rows and reach."""
        hours = [segment.hours for segment in segments]
        totals = [segment.summable for segment in segments]
        rows = reach = 0
        for parts in cut([*hours, *totals]):
            self._check_open()
            merged = merge_at_once(parts[: len(hours)]).since(oldest_hour)
            sums = merge_at_once([to_totals(part) for part in parts[len(hours) :]])
            file.write(merged, sums)
            rows += merged.rows
            reach = max(reach, merged.peak, sums.peak)
            for segment in segments:
                segment.let_go()
        file.finish()
        return rows, reach


def _count_before(segment: Segment, hour: int) -> int:
    """How many counters are of an earlier hour."""
    cells, bound = segment.hours.cells, first_cell(hour)
    steps = range(0, len(cells), _COUNTED_ROWS)
    return sum(int(np.count_nonzero(cells[at : at + _COUNTED_ROWS] < bound)) for at in steps)


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Closing(Exception):
    """The store closes while a merge is under way."""
