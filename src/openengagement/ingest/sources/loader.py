"""Load files into a data folder, also while servers run on it.

Three stages overlap: one chunk of events is parsed while the one before is folded and an earlier
one is committed. `FILE.rejected.ndjson` gets the rejected lines of a file, with the number, the
reason and the original text of each.

Chunks count in order, and one counts only when the next one is known to be good. So if a file is
refused, nothing after the fault counts, nor does the chunk whose end a correction of the fault may
move. All earlier chunks are the same in the corrected file, and are recognised there.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import IO, Final, cast

import msgspec
import polars as pl
import zstandard
from isal.igzip_lib import IsalError

from openengagement.engagement.rollup import fold_events
from openengagement.errors import ApiError, StoreUnavailable
from openengagement.ingest.batch import Outcome, ParsedBatch, describe
from openengagement.ingest.batch_parser import COLUMNAR, BatchParser, Content
from openengagement.ingest.event_counter import EventCounter, PreparedBatch
from openengagement.ingest.formats.columnar import DecodedRows
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.mapping.map_file import Mapping
from openengagement.ingest.mapping.mapped_parser import MappedParser
from openengagement.ingest.preview import Preview
from openengagement.ingest.registrar import Registrar
from openengagement.ingest.rows import ACCOUNTS, EVENTS, TWEETS, DropReason, Kind
from openengagement.ingest.sources.chunks import Chunk, read_chunks
from openengagement.ingest.writer import BatchWriter
from openengagement.tuning import lower_priority

KINDS: Final = {kind.name: kind for kind in (ACCOUNTS, TWEETS, EVENTS)}
THREADS: Final = 2  # one parses a chunk, with all cores, while the other folds the chunk before
IN_FLIGHT_MAX: Final = 4  # chunks that were read and are not durable yet
_INFLATE_ERRORS: Final = (EOFError, zstandard.ZstdError, cast("type[Exception]", IsalError))
_ERRORS: Final = (ApiError, OSError, *_INFLATE_ERRORS)
_LINES_MAX: Final = 2**31  # no limit: CHUNK_BYTES already bounds a chunk


@dataclass(slots=True)
class LoadSummary:
    """The number of lines by result. `repeated` lines are accepted ones that counted before.

    `ignored_fields` has the accepted lines with each field that is not read.
    """

    accepted: int = 0
    rejected: int = 0
    repeated: int = 0
    unknown_authors: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    ignored_fields: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """The file that is being read, and the bytes and lines of all files that have been loaded."""

    path: Path
    read_bytes: int
    lines: int


@dataclass(frozen=True, slots=True)
class LoadedPart:
    """The part of a refused file that was loaded.

    `last` is the number of its last line, 0 if nothing was loaded, and None if that is unknown. If
    nothing before the fault is changed, a load of the corrected file loads the rest. But if this is
    a `whole_key`, all of it counts again: the keys of a columnar file depend on the whole file.
    """

    last: int | None
    unit: str = "lines"
    whole_key: bool = False


class FileError(Exception):
    """A file cannot be read or stored to its end. `loaded` is what is stored of it."""

    def __init__(self, path: Path, reason: str, *, loaded: LoadedPart) -> None:
        # An error about an uploaded body names the body. Here it is the file.
        super().__init__(f"{path}: {reason.removeprefix('body: ')}")
        self.loaded = loaded


@dataclass(frozen=True, slots=True)
class _PreparedChunk:
    """A chunk whose rows are validated. `batch` has the deltas, for events only."""

    chunk: Chunk
    parsed: ParsedBatch
    batch: PreparedBatch | None = None


@dataclass(frozen=True, slots=True)
class _PendingChunk:
    """A chunk of a file that is being prepared."""

    path: Path
    chunk: Chunk
    prepared: Future[_PreparedChunk]


class Loader:
    """Loads files of one kind. `parser` validates them."""

    def __init__(
        self,
        kind: Kind,
        *,
        registrar: Registrar,
        writer: BatchWriter,
        latest_s: Callable[[], float],
        mapping: Mapping | None = None,
    ) -> None:
        self._kind = kind
        self._registrar = registrar
        self._counter = EventCounter(self._parse, writer)
        parser = BatchParser(lines_max=_LINES_MAX, latest_s=latest_s)
        self._parser = MappedParser(parser, mapping) if mapping else parser
        self._map_digest = mapping.digest if mapping else b""
        self._parsing = Lock()
        self._pool = ThreadPoolExecutor(THREADS, "parse", lower_priority)

    def load(
        self, paths: Sequence[Path], on_progress: Callable[[LoadProgress], None]
    ) -> LoadSummary:
        """Load files. When it returns, every line is durable or in the file of rejected lines.

        Raises:
            FileError: a file cannot be read or stored. The files before it are loaded.
        """
        summary = LoadSummary()
        pending: deque[_PendingChunk] = deque()
        bytes_before = 0

        def report(path: Path, read_bytes: int) -> None:
            on_progress(LoadProgress(path, read_bytes, summary.accepted + summary.rejected))

        for path in dict.fromkeys(paths):
            for chunk in self._read(path, pending, summary=summary):
                prepared = self._pool.submit(self._prepare, chunk)
                pending.append(_PendingChunk(path, chunk, prepared))
                self._finish(pending, summary, pending_max=IN_FLIGHT_MAX - 1)
                report(path, bytes_before + chunk.read_bytes)
            with suppress(OSError):
                bytes_before += path.stat().st_size
        self._finish(pending, summary, pending_max=0)
        if paths:
            report(paths[-1], bytes_before)
        return summary

    def preview(self, path: Path, preview: Preview) -> None:
        """Add the first chunk of a file to a preview, without storing anything.

        Raises:
            FileError: the file cannot be read.
        """
        try:
            chunk = next(read_chunks(path, self._decode), None)
            if chunk is None:
                return
            parsed = self._parse(chunk.body, chunk.form)
        except _ERRORS as error:
            raise FileError(path, str(error), loaded=LoadedPart(0)) from error
        if self._kind is EVENTS:
            preview.add_counted(fold_events(parsed.rows), events=parsed.rows.height)
        else:
            preview.add_accepted(parsed.rows.height)
        preview.add_rejected(parsed.rejected.select("reason", "detail").rows())

    def _read(
        self, path: Path, pending: deque[_PendingChunk], *, summary: LoadSummary
    ) -> Iterator[Chunk]:
        """Read the chunks of a file. Before raising an error, load what comes before the fault."""
        try:
            _rejected_file(path).unlink(missing_ok=True)  # that of an earlier load
            yield from read_chunks(path, self._decode)
        except _ERRORS as error:
            has_last = bool(pending) and pending[-1].path == path
            self._finish(pending, summary, pending_max=int(has_last))
            loaded = LoadedPart(0)
            if has_last:  # it is not loaded, and its own fault is an earlier one
                last = pending.popleft()
                loaded = self._loaded_before(last.chunk)
                with _refusal_of(last, loaded):
                    last.prepared.result()
            raise FileError(path, str(error), loaded=loaded) from error

    def _finish(
        self, pending: deque[_PendingChunk], summary: LoadSummary, *, pending_max: int
    ) -> None:
        """Load the first pending chunks until `pending_max` are left."""
        while len(pending) > pending_max:
            first = pending.popleft()
            same_file = [first, *(each for each in list(pending)[:1] if each.path == first.path)]
            loaded = self._loaded_before(first.chunk)
            for each in same_file:
                with _refusal_of(each, loaded):
                    each.prepared.result()
            with _refusal_of(first, loaded):
                self._finish_chunk(first, summary)

    def _loaded_before(self, chunk: Chunk) -> LoadedPart:
        columnar = chunk.form in COLUMNAR
        unit = "rows" if columnar else "elements" if chunk.form is Format.JSON else "lines"
        # Accounts and Tweets may be loaded again: the last values stay.
        return LoadedPart(chunk.loaded_before, unit, columnar and self._kind is EVENTS)

    def _prepare(self, chunk: Chunk) -> _PreparedChunk:
        if self._kind is not EVENTS:
            return _PreparedChunk(chunk, self._parse(chunk.body, chunk.form))
        batch = self._counter.prepare_batch(
            chunk.body,
            chunk.form,
            identity=chunk.identity(self._map_digest),
            describe=_describe_early,
        )
        # Free the memory of the other columns while the chunk waits for its commit.
        parsed = replace(batch.parsed, rows=batch.parsed.rows.select("line"))
        return _PreparedChunk(chunk, parsed, replace(batch, parsed=parsed))

    def _finish_chunk(self, pending: _PendingChunk, summary: LoadSummary) -> None:
        """Store a chunk, wait until it is durable, count its lines, write the rejected ones."""
        prepared = pending.prepared.result()
        parsed = prepared.parsed
        if prepared.batch is None:
            parsed = self._registrar.register(parsed, kind=self._kind)
        elif (applied := self._counter.submit(prepared.batch).result()).duplicate:
            parsed = _as_first_counted(parsed, Outcome.of_repeat(applied.outcome))
            summary.repeated += parsed.rows.height
        _write_rejected(_rejected_file(pending.path), parsed.rejected, chunk=pending.chunk)
        outcome = describe(parsed, listed_max=0)
        summary.accepted += outcome.accepted
        summary.rejected += outcome.rejected
        summary.unknown_authors += outcome.unknown_authors or 0
        for reason, count in outcome.reasons.items():
            summary.reasons[reason] = summary.reasons.get(reason, 0) + count
        for name, count in (outcome.ignored_fields or {}).items():
            summary.ignored_fields[name] = summary.ignored_fields.get(name, 0) + count

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
def _refusal_of(refused: _PendingChunk, loaded: LoadedPart) -> Iterator[None]:
    """Turn an error about a chunk into one about its file."""
    try:
        yield
    except _ERRORS as error:
        if isinstance(error, StoreUnavailable):
            loaded = replace(loaded, last=None)
        reason = refused.chunk.locate(str(error))
        raise FileError(refused.path, reason, loaded=loaded) from error
