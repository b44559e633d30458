"""Loading files, on the data folder itself, beside whatever servers run on it.

A chunk of events is parsed while the one before is added up and the one before that is committed.
What is refused is handed back in `FILE.rejected.ndjson`: the line's number, the reason, and the
line as it was.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

import msgspec
import polars as pl
import zstandard

from openengagement.errors import ApiError
from openengagement.ingest.chunks import Chunk, read_chunks
from openengagement.ingest.intake import (
    Intake,
    Outcome,
    describe,
    digest_of,
    make_batch,
    read_batch,
    repeat_of,
)
from openengagement.ingest.register import Registrar
from openengagement.ingest.rows import ACCOUNTS, EVENTS, TWEETS, DropReason, Kind
from openengagement.ingest.writer import BatchWriter
from openengagement.stores.contract import Applied
from openengagement.tuning import lower_priority

KINDS: Final = {kind.name: kind for kind in (ACCOUNTS, TWEETS, EVENTS)}
THREADS: Final = 2  # one chunk is parsed, by all cores, while another's events are added up
IN_FLIGHT_MAX: Final = 3  # chunks between reading and durable
_LINES_MAX: Final = 2**31  # a chunk is bounded by its bytes


@dataclass(slots=True)
class Loaded:
    """What became of the lines. `repeated` ones were accepted by an earlier load of their file."""

    accepted: int = 0
    rejected: int = 0
    repeated: int = 0
    unknown_authors: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


class Reached(NamedTuple):
    """How far a load has come: the file being read, and of all files bytes read and lines taken."""

    path: Path
    read_bytes: int
    lines: int


class FileFault(Exception):
    """A file that cannot be read, or stored, to its end. Its chunks before the fault count."""

    def __init__(self, path: Path, reason: Exception) -> None:
        super().__init__(f"{path}: {reason}")


@dataclass(frozen=True, slots=True)
class _Taken:
    """A chunk as it was judged, and what the store will say of it (events only)."""

    chunk: Chunk
    intake: Intake
    applied: Future[Applied] | None = None
    unknown_authors: int = 0


class Loader:
    """Loads files of one kind. `future_max_s` is how far ahead of now a time may lie."""

    def __init__(
        self,
        kind: Kind,
        *,
        registrar: Registrar,
        writer: BatchWriter,
        now_s: Callable[[], float],
        future_max_s: int,
    ) -> None:
        self._kind = kind
        self._registrar = registrar
        self._writer = writer
        self._now_s = now_s
        self._future_max_s = future_max_s
        self._parsing = Lock()
        # Accounts and Tweets apply in the order of their lines; events add up in any.
        self._pool = ThreadPoolExecutor(THREADS if kind is EVENTS else 1, "parse", lower_priority)

    def load(self, paths: Sequence[Path], on_progress: Callable[[Reached], None]) -> Loaded:
        """Load files; every line is durable, or in its file of rejected ones, when this returns.

        Raises:
            FileFault: what was read before it counts.
        """
        loaded = Loaded()
        waiting: deque[tuple[Path, Future[_Taken]]] = deque()

        def settle(most: int) -> None:
            while len(waiting) > most:
                path, future = waiting.popleft()
                with _faults_of(path):
                    _settle(future.result(), loaded, rejected=_RejectedFile(path))

        def tell(path: Path, read_bytes: int) -> None:
            on_progress(Reached(path, read_bytes, loaded.accepted + loaded.rejected))

        before = 0
        try:
            for path in dict.fromkeys(paths):
                with _faults_of(path):
                    _RejectedFile(path).remove()
                    for chunk in read_chunks(path):
                        waiting.append((path, self._pool.submit(self._take, chunk)))
                        settle(IN_FLIGHT_MAX - 1)
                        tell(path, before + chunk.read_bytes)
                    before += path.stat().st_size
            settle(0)
            if paths:
                tell(paths[-1], before)
        finally:
            while waiting:  # what was read before a fault counts, and its refused lines are told
                with suppress(FileFault):
                    settle(len(waiting) - 1)
        return loaded

    def _take(self, chunk: Chunk) -> _Taken:
        with self._parsing:
            intake = read_batch(
                chunk.body,
                chunk.form,
                kind=self._kind,
                lines_max=_LINES_MAX,
                latest_s=self._now_s() + self._future_max_s,
            )
        if self._kind is ACCOUNTS:
            intake = self._registrar.register_accounts(intake, now_s=self._now_s())
            return _Taken(chunk, intake)
        if self._kind is TWEETS:
            unknown = self._registrar.register_tweets(intake)
            return _Taken(chunk, intake, unknown_authors=unknown)
        # The only verdict that time changes: a repeat of this chunk must know what it left out.
        early = Intake(
            intake.rows, intake.rejected.filter(pl.col("reason") == DropReason.IN_FUTURE)
        )
        outcome = describe(early, listed_max=early.rejected.height)
        digest = digest_of(chunk.body)
        batch = make_batch(intake, outcome, digest=digest, key=chunk.key(digest), expires=False)
        # While it waits to be durable nothing is asked but which lines it has.
        lines = Intake(intake.rows.select("line"), intake.rejected)
        return _Taken(chunk, lines, applied=self._writer.submit(batch))


def _settle(taken: _Taken, loaded: Loaded, *, rejected: "_RejectedFile") -> None:
    """Wait until a chunk is durable, then count its lines and hand back what was refused."""
    intake = taken.intake
    if taken.applied is not None and (applied := taken.applied.result()).duplicate:
        intake = _as_first_judged(intake, repeat_of(applied.outcome))
        loaded.repeated += intake.rows.height
    rejected.write(intake.rejected, taken.chunk)
    loaded.unknown_authors += taken.unknown_authors
    loaded.accepted += intake.rows.height
    loaded.rejected += intake.rejected.height
    for reason, count in describe(intake, listed_max=0).reasons.items():
        loaded.reasons[reason] = loaded.reasons.get(reason, 0) + count


def _as_first_judged(intake: Intake, first: Outcome) -> Intake:
    """A repeated chunk: lines that were ahead of their time when it was counted are still out."""
    known = set(intake.rejected.get_column("line"))
    early = [each for each in first.rejections if each.line not in known]
    if not early:
        return intake
    rows = [(each.line, each.reason, each.detail) for each in early]
    again = pl.DataFrame(rows, schema=intake.rejected.schema, orient="row")
    lines = again.get_column("line").implode()
    return Intake(
        intake.rows.filter(~pl.col("line").is_in(lines)),
        pl.concat([intake.rejected, again]).sort("line"),
    )


class _RejectedFile:
    """The file that refused lines of another go to; there is none when no line was refused."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.rejected.ndjson")

    def remove(self) -> None:
        """Forget what an earlier load refused."""
        self._path.unlink(missing_ok=True)

    def write(self, rejected: pl.DataFrame, chunk: Chunk) -> None:
        if rejected.is_empty():
            return
        texts = chunk.body.split(b"\n") if chunk.has_lines else []
        with self._path.open("ab") as file:
            for line, reason, detail in rejected.iter_rows():
                entry = {"line": line + chunk.lines_before, "reason": reason, "detail": detail}
                if texts:
                    entry["row"] = texts[line - 1].decode("utf-8", "replace").rstrip("\r")
                file.write(msgspec.json.encode(entry) + b"\n")


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (ApiError, OSError, EOFError, zstandard.ZstdError) as error:
        raise FileFault(path, error) from error
