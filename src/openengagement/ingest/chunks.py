"""Files -> chunks that are batches of their own.

A chunk ends at a line's end, and its edges depend on the file alone, never on a setting: so a load
that was cut short and is run again meets the same chunks, and those that were counted are known.
"""

import gzip
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

import polars as pl
import zstandard

from openengagement.errors import MalformedBody, UnsupportedBody
from openengagement.ingest.formats import Format, count_line_ends

CHUNK_BYTES: Final = 16 * 2**20
_ZSTD_PIECE: Final = 65_536
CHUNK_ROWS: Final = 250_000  # of formats without lines
_SUFFIXES: Final = {
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".json": Format.JSON,
    ".csv": Format.CSV,
    ".parquet": Format.PARQUET,
    ".arrow": Format.ARROW,
    ".arrows": Format.ARROW,
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Part of a file: a body of its own, how many lines stand before it, and how far it reaches."""

    body: bytes
    form: Format
    lines_before: int
    read_bytes: int  # of the file as it lies on the disk, for a progress bar

    @property
    def has_lines(self) -> bool:
        """Whether its lines are rows as they stand."""
        return self.form in {Format.NDJSON, Format.CSV}

    def key(self, digest: bytes) -> bytes:
        """What it is known by once it was counted: its place and its content."""
        return b"file:" + digest + self.lines_before.to_bytes(8, "big")


def read_chunks(path: Path) -> Iterator[Chunk]:
    """Cut a file into chunks. `.gz` and `.zst` are unpacked on the way.

    Raises:
        UnsupportedBody: the name does not end like a format we read.
        OSError, EOFError, zstandard.ZstdError: the file cannot be read, or is cut short.
    """
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    form = _SUFFIXES.get(Path(name).suffix.lower())
    if form is None:
        allowed = " ".join(_SUFFIXES)
        raise UnsupportedBody(
            f"{path}: the name must end in one of {allowed} (.gz or .zst may follow)"
        )
    with path.open("rb") as raw, _unpacked(path, raw) as file:
        if form in {Format.NDJSON, Format.CSV}:
            yield from _cut_lines(file, form, tell=raw.tell)
        else:
            body = file.read()
            yield from _cut_rows(body, form, read_bytes=raw.tell())


@contextmanager
def _unpacked(path: Path, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    if path.suffix == ".gz":
        with gzip.GzipFile(fileobj=raw) as file:
            yield cast("IO[bytes]", file)
    elif path.suffix == ".zst":
        yield cast("IO[bytes]", io.BufferedReader(_ZstdFile(raw)))
    else:
        yield raw


class _ZstdFile(io.RawIOBase):
    """What a zstd file holds. Unlike the library's reader it tells when a frame is cut short."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._frame = _zstd_frame()
        self._fresh = True  # the frame has been fed nothing yet
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        while not self._ready:
            packed = self._frame.unused_data or self._raw.read(_ZSTD_PIECE)
            if not packed:
                if self._fresh or self._frame.eof:
                    return 0
                raise EOFError("the zstd data ends before its end")
            if self._frame.eof:
                self._frame = _zstd_frame()
            self._fresh = False
            self._ready = self._frame.decompress(packed)
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


def _zstd_frame() -> Any:  # noqa: ANN401 - the library names no type for it
    return zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()


def _cut_lines(file: IO[bytes], form: Format, *, tell: Callable[[], int]) -> Iterator[Chunk]:
    header = b""
    lines_before = 0
    rest = b""
    while block := file.read(CHUNK_BYTES):
        if form is Format.CSV:
            block, rest = rest + block, b""
            end = _last_row_end(block)
        else:
            end = block.rfind(b"\n") + 1
        if not end:
            rest += block
            continue
        # One copy of something large, not one for each of its parts.
        body = b"".join([header, rest, memoryview(block)[:end]])
        rest = block[end:]
        yield Chunk(body, form, lines_before, tell())
        lines_before += count_line_ends(body) - bool(header)
        if form is Format.CSV and not header:
            # Every later chunk repeats the header, which then is not a line of its own.
            header = body[: body.find(b"\n") + 1]
            lines_before -= 1
    if rest.strip():
        yield Chunk(header + rest, form, lines_before, tell())


def _last_row_end(block: bytes) -> int:
    """Where the last whole row of a CSV block ends: at a line's end outside of quotes."""
    end = block.rfind(b"\n") + 1
    quotes = block.count(b'"', 0, end)
    while quotes % 2:
        before = block.rfind(b"\n", 0, end - 1) + 1
        quotes -= block.count(b'"', before, end)
        end = before
    return end


def _cut_rows(body: bytes, form: Format, *, read_bytes: int) -> Iterator[Chunk]:
    if form is not Format.PARQUET:
        yield Chunk(body, form, 0, read_bytes)
        return
    try:
        height = pl.scan_parquet(io.BytesIO(body)).select(pl.len()).collect().item()
        for start in range(0, height, CHUNK_ROWS):
            rows = pl.scan_parquet(io.BytesIO(body)).slice(start, CHUNK_ROWS).collect()
            part = io.BytesIO()
            rows.write_ipc_stream(part)
            done = read_bytes * min(height, start + CHUNK_ROWS) // height
            yield Chunk(part.getvalue(), Format.ARROW, start, done)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        raise MalformedBody("is damaged, or no Parquet") from None
