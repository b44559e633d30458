"""Segments become fewer and larger, in the background, in two stages.

*Gathering* turns what commits left in the database into a file. *Carrying* turns files into larger
ones, as digits carry in addition, so that a counter is rewritten a handful of times in its life.
Each stage is one process's at a time, and they touch different segments: however long a carry
takes, commits never pile up behind it. What readers hold stays theirs until they let go of it.
"""

import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Final

from openengagement.engagement.counters import (
    AnyInts,
    cut,
    first_cell,
    merge_at_once,
    peak_of,
    to_totals,
)
from openengagement.files import FileLock
from openengagement.stores.embedded.database import Database
from openengagement.stores.embedded.manifest import (
    Listed,
    list_segments,
    read_segment,
    swap_segments,
)
from openengagement.stores.embedded.segments import Segment, SegmentFile, bounds_of, remove_segments
from openengagement.telemetry import log_failure
from openengagement.tuning import lower_priority

FRESH_MAX: Final = 8  # segments in the database before they are gathered
_FRESH_ROWS_MAX: Final = 4_000_000
_QUIET_ROWS: Final = 100_000  # worth gathering when nothing else is going on
# Where gathering does not keep up, committing waits for it: a read looks into every segment.
BACKLOG_MAX: Final = 32
_CARRY_MIN: Final = 6  # files to one, unless it is quiet
_FILES_MAX: Final = 24  # when a load ends: some gather while a large one is carried
_BUSY_TIMES: Final = 0.5  # as large as all smaller ones a file may be to be carried with them
_QUIET_TIMES: Final = 8
_QUIET_S: Final = 1.0  # without a commit
_OTHERS_S: Final = 30.0  # how often is looked for what others left: a load that has ended
_LOOKED_AT_ROWS: Final = 1_000_000
_SUFFIX: Final = ".segment"


def choose_fresh(fresh: Sequence[Listed], *, quiet: bool) -> list[Listed]:
    """What to gather: the oldest in the database, once there is enough for a file, and no more."""
    rows = sum(each.rows for each in fresh)
    due = len(fresh) >= FRESH_MAX or rows >= (_QUIET_ROWS if quiet else _FRESH_ROWS_MAX)
    return _first(fresh) if due else []


def _first(fresh: Sequence[Listed]) -> list[Listed]:
    """As many as are merged in one go: they are read into memory."""
    before = accumulate((each.rows for each in fresh), initial=0)
    return [each for each, rows in zip(fresh, before, strict=False) if rows < _FRESH_ROWS_MAX]


def choose_files(files: Sequence[Listed], *, quiet: bool) -> list[Listed]:
    """What to carry: the largest file at most half as large as all smaller together, and those.

    So the files stay few, and a counter is rewritten only where its file becomes at least three
    times as large. When nothing else is going on, a file may be several times as large as the
    smaller ones together, and two are enough: reads look into each.
    """
    files = sorted(files, key=lambda each: each.rows)
    times = _QUIET_TIMES if quiet else _BUSY_TIMES
    chosen = rows = 0
    for at, each in enumerate(files):
        if each.rows <= times * rows:
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
        self._gathering = FileLock(folder / "gather.lock")
        self._carrying = FileLock(folder / "carry.lock")
        self._news = {stage: threading.Event() for stage in (self.gather, self.carry)}
        self._threads: dict[Callable[..., bool | None], threading.Thread] = {}
        self._starting = threading.Lock()

    def note(self) -> None:
        """Something was committed: merge what is due soon, or now where too much has gathered."""
        self._try(self._note)

    def start(self) -> None:
        """Merge in the background from now on, first what was left when others stopped."""
        self._try(self._start)

    def _note(self) -> bool | None:
        self._start()
        self._news[self.gather].set()
        return len(self._list_fresh()) > BACKLOG_MAX and self.gather(wait=True)

    def _start(self) -> None:
        with self._starting:
            if not self._threads:
                self._sweep()
            for stage in self._news.keys() - self._threads.keys():
                self._news[stage].set()
                thread = threading.Thread(
                    target=self._run, args=(stage,), name=stage.__name__, daemon=True
                )
                thread.start()
                self._threads[stage] = thread

    def compact(self) -> None:
        """Gather what is worth a file, and carry until at most `_FILES_MAX` files are left."""
        while self._try(partial(self.gather, quiet=True, wait=True)):
            pass
        while self._try(self._thin_out):
            pass

    def _thin_out(self) -> bool | None:
        many = len(self._list_files()) > _FILES_MAX
        return many and (self.carry(wait=True) or self.carry(quiet=True, wait=True))

    def close(self) -> None:
        """Stop; a merge that is half done leaves no trace."""
        self._closing.set()
        for news in self._news.values():
            news.set()
        for thread in self._threads.values():
            thread.join()
        self._gathering.close()
        self._carrying.close()

    def gather(self, *, quiet: bool = False, wait: bool = False) -> bool | None:
        """Gather what is due; False when nothing was, None when somebody else is at it."""
        with self._gathering.held(wait=wait) as mine:
            chosen = choose_fresh(self._list_fresh(), quiet=quiet) if mine else []
            self._merge(chosen)
        if chosen:
            self._news[self.carry].set()
        return bool(chosen) if mine else None

    def carry(self, *, quiet: bool = False, wait: bool = False) -> bool | None:
        """Carry what is due; False when nothing was, None when somebody else is at it."""
        with self._carrying.held(wait=wait) as mine:
            chosen = choose_files(self._list_files(), quiet=quiet) if mine else []
            self._merge(chosen)
            return bool(chosen) if mine else None

    def prune(self, oldest_hour: int) -> int:
        """Forget the counters of the hours before this one; returns how many there were."""
        with self._gathering.held():
            while fresh := _first(self._list_fresh()):
                self._merge(fresh)
        with self._carrying.held():
            files = self._list_files()
            if not any(_has_before(self._load(each), oldest_hour) for each in files):
                return 0
            return self._merge(files, oldest_hour=oldest_hour)

    def _run(self, stage: Callable[..., bool | None]) -> None:
        lower_priority()
        news = self._news[stage]
        left: list[Listed] = []
        while not self._closing.is_set():
            # What was left as it is, because nothing was due or it failed, is not tried again.
            if not news.wait(_OTHERS_S) and self._look() == left:
                continue
            news.clear()
            while not self._closing.is_set() and self._try(stage):
                pass
            quiet = partial(self._wait_for_quiet, news)
            quietly = partial(stage, quiet=True)
            while not self._closing.is_set() and self._try(quiet):
                left = self._look()
                merged = self._try(quietly)
                if merged is None:  # and may die at it
                    continue
                if not merged:
                    self._try(self._sweep)
                    break

    def _wait_for_quiet(self, news: threading.Event) -> bool:
        """Wait until nobody, in whatever process, has changed anything for a while.

        False with news before that.
        """
        before = None
        while before != (now := self._list()):
            if news.wait(_QUIET_S):
                return False
            before = now
        return True

    def _try(self, step: Callable[[], bool | None]) -> bool | None:
        """What a step comes to; False, and a line in the log, where it fails.

        Nobody else is told: what was committed is safe, whether or not it is merged.
        """
        try:
            return step()
        except _Closing:
            return False
        except Exception as error:
            log_failure("merge_failed", error)
            return False

    def _look(self) -> list[Listed]:
        """What is listed; nothing where the database cannot tell now."""
        try:
            return self._list()
        except sqlite3.Error:
            return []

    def _list(self) -> list[Listed]:
        return list_segments(self._database.connection())

    def _list_fresh(self) -> list[Listed]:
        return [each for each in self._list() if each.file is None]

    def _list_files(self) -> list[Listed]:
        return [each for each in self._list() if each.file is not None]

    def _load(self, listed: Listed) -> Segment:
        return read_segment(self._database.connection(), listed, folder=self._folder)

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise _Closing

    def _sweep(self) -> None:
        """Remove files that nobody lists: their process died before it came to that."""
        with (
            self._gathering.held(wait=False) as gathering,
            self._carrying.held(wait=False) as carrying,
        ):
            if gathering and carrying:
                listed = {each.file for each in self._list()}
                for path in self._folder.glob(f"*{_SUFFIX}"):
                    if path.name not in listed:
                        path.unlink(missing_ok=True)

    def _merge(self, chosen: Sequence[Listed], *, oldest_hour: int = 0) -> int:
        """Put one file in the place of these; returns how many counters of earlier hours went."""
        if not chosen:
            return 0
        segments = [self._load(each) for each in chosen]
        path = self._folder / f"{uuid.uuid4().hex}{_SUFFIX}"
        file = SegmentFile(
            path,
            hours=bounds_of(
                [segment.hours for segment in segments], peak=sum(map(_peak_of_hours, segments))
            ),
            # Totals made of hours may be larger than any of these.
            totals=bounds_of(
                [segment.summable for segment in segments], peak=sum(each.reach for each in chosen)
            ),
        )
        try:
            rows, reach, gone = self._write(file, segments, oldest_hour=oldest_hour)
            _sync(self._folder)
            with self._database.writing() as db:
                swap_segments(db, chosen, rows=rows, reach=reach, file=path.name)
        except BaseException:
            if all(each.file != path.name for each in self._list()):
                path.unlink()
            raise
        finally:
            file.close()
        del segments  # their files are freed once nobody holds them
        files = [self._folder / each.file for each in chosen if each.file]
        remove_segments(files, stopping=self._closing.wait)
        return gone

    def _write(
        self, file: SegmentFile, segments: Sequence[Segment], *, oldest_hour: int
    ) -> tuple[int, int, int]:
        """Write the sum of these; its rows and reach, and how many counters were left out.

        Files bring their totals. Those of blobs are what their hours say, as none was pruned.
        """
        hours = [segment.hours for segment in segments]
        totals = [segment.totals for segment in segments if segment.totals is not None]
        assert len(totals) in {0, len(hours)}
        rows = reach = gone = 0
        for parts in cut([*hours, *totals]):
            self._check_open()
            merged = merge_at_once(parts[: len(hours)])
            kept = merged.since(oldest_hour)
            sums = merge_at_once(parts[len(hours) :]) if totals else to_totals(merged)
            file.write(kept, sums)
            rows += kept.rows + sums.rows
            gone += merged.rows - kept.rows
            reach = max(reach, kept.peak, sums.peak)
            for segment in segments:
                segment.evict()
        file.finish()
        return rows, reach, gone


def _has_before(segment: Segment, hour: int) -> bool:
    """Whether it has counters of an earlier hour."""
    bound = first_cell(hour)
    return any((cells < bound).any() for cells in _look_at(segment, segment.hours.cells))


def _peak_of_hours(segment: Segment) -> int:
    """The count of an hour that is furthest from zero, without its sign."""
    return max(map(peak_of, _look_at(segment, segment.hours.counts)), default=0)


def _look_at(segment: Segment, column: AnyInts) -> Iterator[AnyInts]:
    """A whole column, some rows at a time, of which none stay resident when the next are here."""
    for at in range(0, len(column), _LOOKED_AT_ROWS):
        yield column[at : at + _LOOKED_AT_ROWS]
        segment.evict()


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Closing(Exception):
    """The store closes while a merge is under way."""
