"""Loading files, on the data folder itself, beside whatever servers run on it.

A chunk of events is parsed while the one before is added up and the one before that is committed.
What is refused is handed back in `FILE.rejected.ndjson`: the line's number, the reason, and the
line as it was.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO, Final, Self

import msgspec
import polars as pl

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
from openengagement.process import give_way
from openengagement.stores.contract import Applied

KINDS: Final = {kind.name: kind for kind in (ACCOUNTS, TWEETS, EVENTS)}
THREADS: Final = 2  # one chunk is parsed, by all cores, while another's events are added up
IN_FLIGHT_MAX: Final = 3  # chunks between reading and durable
_LINES_MAX: Final = 2**31  # a chunk is bounded by its bytes


@dataclass(slots=True)
class Loaded:
    """What became of a file's lines. `repeated` ones were accepted by an earlier load of it."""

    accepted: int = 0
    rejected: int = 0
    repeated: int = 0
    unknown_authors: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


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
        self._pool = ThreadPoolExecutor(THREADS if kind is EVENTS else 1, "parse", give_way)

    def load(self, path: Path, on_progress: Callable[[int, int], None]) -> Loaded:
        """Load a file; every line is durable, or in the file of rejected ones, when this returns.

        `on_progress` is told the bytes read so far and the lines taken so far.

        Raises:
            ApiError: the file as a whole cannot be read; chunks before it are counted.
        """
        loaded = Loaded()
        waiting: deque[Future[_Taken]] = deque()
        aside = path.with_name(f"{path.name}.rejected.ndjson")
        try:
            with _RejectedFile(aside) as rejected:
                for chunk in read_chunks(path):
                    waiting.append(self._pool.submit(self._take, chunk))
                    while len(waiting) >= IN_FLIGHT_MAX:
                        _settle(waiting.popleft().result(), loaded, rejected=rejected)
                    on_progress(chunk.read_bytes, loaded.accepted + loaded.rejected)
                for taken in waiting:
                    _settle(taken.result(), loaded, rejected=rejected)
                on_progress(path.stat().st_size, loaded.accepted + loaded.rejected)
        finally:
            wait(waiting)  # what was read before a fault counts
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
    """The file that refused lines go to; there is none when no line was refused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, rejected: pl.DataFrame, chunk: Chunk) -> None:
        if rejected.is_empty():
            return
        if self._file is None:
            self._file = self._path.open("wb")
        texts = chunk.body.split(b"\n") if chunk.has_lines else []
        for line, reason, detail in rejected.iter_rows():
            entry = {"line": line + chunk.lines_before, "reason": reason, "detail": detail}
            if texts:
                entry["row"] = texts[line - 1].decode("utf-8", "replace").rstrip("\r")
            self._file.write(msgspec.json.encode(entry) + b"\n")
        self._file.flush()
