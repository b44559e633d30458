"""Load files into a data folder, also while servers run on it.

Three stages overlap: one chunk of events is parsed while the one before is folded and the one
before that is committed. `FILE.rejected.ndjson` gets the rejected lines of a file, with the number,
the reason and the original text of each.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import IO, Final

import msgspec
import polars as pl
import zstandard

from openengagement.errors import ApiError
from openengagement.ingest.batch import Outcome, ParsedBatch, describe
from openengagement.ingest.batch_parser import BatchParser, Content
from openengagement.ingest.event_counter import EventCounter
from openengagement.ingest.formats.columnar import DecodedRows
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.registrar import Registrar
from openengagement.ingest.rows import ACCOUNTS, EVENTS, TWEETS, DropReason, Kind
from openengagement.ingest.sources.chunks import Chunk, read_chunks
from openengagement.ingest.writer import BatchWriter
from openengagement.stores.contract import Applied
from openengagement.tuning import lower_priority

KINDS: Final = {kind.name: kind for kind in (ACCOUNTS, TWEETS, EVENTS)}
THREADS: Final = 2  # one parses a chunk, with all cores, while the other folds the chunk before
IN_FLIGHT_MAX: Final = 3  # chunks that were read and are not durable yet
_LINES_MAX: Final = 2**31  # no limit: CHUNK_BYTES already bounds a chunk


@dataclass(slots=True)
class LoadSummary:
    """The number of lines by result. `repeated` lines are accepted ones that counted before."""

    accepted: int = 0
    rejected: int = 0
    repeated: int = 0
    unknown_authors: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """The file that is being read, and the bytes and lines of all files that have been loaded."""

    path: Path
    read_bytes: int
    lines: int


class FileError(Exception):
    """A file cannot be read or stored to its end. The chunks before the error count."""

    def __init__(self, path: Path, reason: Exception) -> None:
        # An error about an uploaded body names the body. Here it is the file.
        super().__init__(f"{path}: {str(reason).removeprefix('body: ')}")


@dataclass(frozen=True, slots=True)
class _PendingChunk:
    """A chunk whose rows are validated. `applied` is the result of its commit, for events only."""

    chunk: Chunk
    parsed: ParsedBatch
    applied: Future[Applied] | None = None


class Loader:
    """Loads files of one kind. `future_max_s` is how far in the future a time may be."""

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
        self._counter = EventCounter(self._parse, writer)
        self._parser = BatchParser(lines_max=_LINES_MAX, latest_s=lambda: now_s() + future_max_s)
        self._parsing = Lock()
        # Accounts and Tweets must apply in the order of their lines; the order of events is free.
        self._pool = ThreadPoolExecutor(THREADS if kind is EVENTS else 1, "parse", lower_priority)

    def load(
        self, paths: Sequence[Path], on_progress: Callable[[LoadProgress], None]
    ) -> LoadSummary:
        """Load files. When it returns, every line is durable or in the file of rejected lines.

        Raises:
            FileError: a file cannot be read or stored; the chunks before the error count.
        """
        summary = LoadSummary()
        pending: deque[tuple[Path, Future[_PendingChunk]]] = deque()

        def finish(pending_max: int) -> None:
            while len(pending) > pending_max:
                path, future = pending.popleft()
                with _errors_of(path):
                    _finish_chunk(future.result(), summary, rejected=_rejected_file(path))

        def report(path: Path, read_bytes: int) -> None:
            on_progress(LoadProgress(path, read_bytes, summary.accepted + summary.rejected))

        bytes_before = 0
        try:
            for path in dict.fromkeys(paths):
                with _errors_of(path):
                    _rejected_file(path).unlink(missing_ok=True)  # that of an earlier load
                    for chunk in read_chunks(path, self._decode):
                        pending.append((path, self._pool.submit(self._start_chunk, chunk)))
                        finish(IN_FLIGHT_MAX - 1)
                        report(path, bytes_before + chunk.read_bytes)
                    bytes_before += path.stat().st_size
            finish(0)
            if paths:
                report(paths[-1], bytes_before)
        finally:
            while pending:  # after an error, too, the chunks before it count
                with suppress(FileError):
                    finish(len(pending) - 1)
        return summary

    def _start_chunk(self, chunk: Chunk) -> _PendingChunk:
        if self._kind is not EVENTS:
            parsed = self._parse(chunk.body, chunk.form)
            return _PendingChunk(chunk, self._registrar.register(parsed, kind=self._kind))
        pending = self._counter.count_batch(
            chunk.body, chunk.form, identity=chunk.identity(), describe=_describe_early
        )
        # Free the memory of the other columns while the chunk waits for its commit.
        parsed = replace(pending.parsed, rows=pending.parsed.rows.select("line"))
        return _PendingChunk(chunk, parsed, pending.applied)

    def _decode(self, file: IO[bytes], form: Format) -> Iterator[DecodedRows]:
        return self._parser.decode_file(file, form, kind=self._kind)

    def _parse(self, body: Content, form: Format) -> ParsedBatch:
        with self._parsing:
            return self._parser.parse(body, form, kind=self._kind)


def _describe_early(parsed: ParsedBatch) -> Outcome:
    """Describe the lines in the future. A later load parses the chunk again, and may accept them.

    All other rejections are the same in every load, so the store need not keep them.
    """
    early = parsed.rejected.filter(pl.col("reason") == DropReason.IN_FUTURE)
    return describe(ParsedBatch(parsed.rows, early), listed_max=early.height)


def _finish_chunk(pending: _PendingChunk, summary: LoadSummary, *, rejected: Path) -> None:
    """Wait until a chunk is durable, then count its lines and write the rejected ones."""
    parsed = pending.parsed
    if pending.applied is not None and (applied := pending.applied.result()).duplicate:
        parsed = _as_first_counted(parsed, Outcome.of_repeat(applied.outcome))
        summary.repeated += parsed.rows.height
    _write_rejected(rejected, parsed.rejected, chunk=pending.chunk)
    outcome = describe(parsed, listed_max=0)
    summary.accepted += outcome.accepted
    summary.rejected += outcome.rejected
    summary.unknown_authors += outcome.unknown_authors or 0
    for reason, count in outcome.reasons.items():
        summary.reasons[reason] = summary.reasons.get(reason, 0) + count


def _as_first_counted(parsed: ParsedBatch, first: Outcome) -> ParsedBatch:
    """Reject the lines of a repeated chunk that were in the future when the chunk was counted."""
    known = set(parsed.rejected.get_column("line"))
    rows = [msgspec.structs.astuple(row) for row in first.rejections if row.line not in known]
    if not rows:
        return parsed
    again = pl.DataFrame(rows, schema=parsed.rejected.schema, orient="row")
    lines = again.get_column("line").implode()
    return ParsedBatch(
        parsed.rows.filter(~pl.col("line").is_in(lines)),
        pl.concat([parsed.rejected, again]).sort("line"),
    )


def _rejected_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.rejected.ndjson")


def _write_rejected(path: Path, rejected: pl.DataFrame, *, chunk: Chunk) -> None:
    """Append the rejected lines of a chunk, if there are any."""
    if rejected.is_empty():
        return
    texts: list[bytes] = []
    if isinstance(chunk.body, bytes) and chunk.form in {Format.NDJSON, Format.CSV}:
        texts = chunk.body.split(b"\n")
    with path.open("ab") as file:
        for line, reason, detail in rejected.iter_rows():
            entry = {"line": line + chunk.lines_before, "reason": reason, "detail": detail}
            if texts:
                entry["row"] = texts[line - 1].decode("utf-8", "replace").rstrip("\r")
            file.write(msgspec.json.encode(entry) + b"\n")


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (ApiError, OSError, EOFError, zstandard.ZstdError) as error:
        raise FileError(path, error) from error
