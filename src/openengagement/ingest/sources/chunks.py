"""Cut files into chunks, each of which is a batch.

A chunk ends at the end of a line, element or row. Its end depends on the file alone, never on a
setting. So when an interrupted load runs again, it sees the same chunks, and the store recognises
those that were counted.
"""

import hashlib
import io
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, cast

import zstandard
from isal import igzip

from openengagement.errors import MalformedBody, UnsupportedBody
from openengagement.http.decompression import find_compression
from openengagement.ingest.batch import BatchIdentity, digest_of
from openengagement.ingest.batch_parser import COLUMNAR, Content
from openengagement.ingest.formats.columnar import DecodedRows
from openengagement.ingest.formats.detection import Format, detect_objects
from openengagement.ingest.formats.text_rows import strip_mark
from openengagement.ingest.sources.text_parts import Part, cut_csv, cut_document, cut_lines, locate

CHUNK_BYTES: Final = 16 * 2**20
_ZSTD_READ_BYTES: Final = 65_536
_COPY_BYTES: Final = 2**20
_SUFFIXES: Final = {
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".json": Format.JSON,
    ".csv": Format.CSV,
    ".parquet": Format.PARQUET,
    ".arrow": Format.ARROW,
    ".arrows": Format.ARROW,
}

_BYTE: Final = re.compile(r"\(byte ([0-9]+)\)")
_CUTTERS: Final = {Format.NDJSON: cut_lines, Format.CSV: cut_csv, Format.JSON: cut_document}

# Decodes a columnar file on disk in chunks of rows.
Decode = Callable[[IO[bytes], Format], Iterator[DecodedRows]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a file: a body that can be parsed by itself, or rows of a columnar file.

    `lines_before` is the number of lines of the file before this chunk. `read_bytes` is the number
    of stored (perhaps compressed) bytes of the file up to the end of this chunk. `digest` is that
    of the body, or of the whole columnar file. `part` is a body's place in the file.
    """

    body: Content
    form: Format
    lines_before: int
    read_bytes: int
    digest: bytes
    part: Part | None = None

    @property
    def loaded_before(self) -> int:
        """The number of the last line (element, row) of the file before this chunk."""
        # In a later chunk, the header of CSV is repeated, and is no line of the file.
        return self.lines_before + (self.form is Format.CSV and self.lines_before > 0)

    def locate(self, reason: str) -> str:
        """Name the line and byte of the file in the reason of a refusal, not the chunk's byte."""
        found = _BYTE.search(reason)
        if not found or self.part is None:
            return reason
        _, _, first_byte, line_ends = self.part
        text = strip_mark(self.part.body)
        place = locate(text, int(found[1]), first_byte=first_byte, line_ends=line_ends)
        return reason.replace(found[0], place)

    def identity(self, map_digest: bytes = b"") -> BatchIdentity:
        """Identify the chunk by its content and its place in the file, without expiry.

        If it was mapped, the mapping is part of it: with another one, the file has other events.
        """
        digest = digest_of(self.digest + map_digest) if map_digest else self.digest
        key = b"file:" + digest + self.lines_before.to_bytes(8, "big")
        return BatchIdentity(key, digest, expires=False)


def read_chunks(path: Path, decode: Decode) -> Iterator[Chunk]:
    """Cut a file into chunks, and decompress `.gz` and `.zst`. `decode` reads columnar files.

    Raises:
        UnsupportedBody: the file name does not end in the suffix of a format.
        MalformedBody: the file is empty, UTF-16, damaged, or compressed under another name.
        OSError, EOFError, zstandard.ZstdError: the file cannot be read, or is cut short.
    """
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    form = _SUFFIXES.get(Path(name).suffix.lower())
    if form is None:
        allowed = " ".join(_SUFFIXES)
        raise UnsupportedBody(f"the name must end in one of {allowed} (.gz or .zst may follow)")
    if form not in COLUMNAR:
        _verify_compressed(path)
    with path.open("rb") as raw, _decompressed(path, raw) as file:
        if form not in COLUMNAR:
            yield from _cut_text(file, form, tell=raw.tell)
            return
        with _on_disk(file, raw) as stored:
            yield from _cut_rows(stored, form, decode=decode)


def _verify_compressed(path: Path) -> None:
    """Decompress a file to its end, where its checksum is, before any of its lines counts."""
    if path.suffix in {".gz", ".zst"} and path.is_file():  # a pipe cannot be read twice
        with path.open("rb") as raw, _decompressed(path, raw) as file:
            while file.read(_COPY_BYTES):
                pass


@contextmanager
def _decompressed(path: Path, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    if path.suffix == ".gz":
        # Thrice as fast as `gzip`. The library has no types for it.
        with igzip.IGzipFile(fileobj=raw) as file:  # type: ignore[no-untyped-call]
            yield cast("IO[bytes]", file)
    elif path.suffix == ".zst":
        yield cast("IO[bytes]", io.BufferedReader(_ZstdFile(raw)))
    else:
        yield raw


@contextmanager
def _on_disk(file: IO[bytes], raw: IO[bytes]) -> Iterator[IO[bytes]]:
    """Decompress a columnar file to a temporary one: its decoder must seek."""
    if file is raw:
        yield raw
    else:
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy, _COPY_BYTES)
            copy.flush()
            yield copy


class _ZstdFile(io.RawIOBase):
    """Decompresses zstd. Unlike the library's own reader, fails if a frame is cut short."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._frame = _zstd_frame()
        self._frame_is_empty = True  # the decompressor got no data of this frame yet
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        while not self._ready:
            compressed = self._frame.unused_data or self._raw.read(_ZSTD_READ_BYTES)
            if not compressed:
                if self._frame_is_empty or self._frame.eof:
                    return 0
                raise EOFError("the zstd data is cut short")
            if self._frame.eof:
                self._frame = _zstd_frame()
            self._frame_is_empty = False
            self._ready = self._frame.decompress(compressed)
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


def _zstd_frame() -> Any:  # noqa: ANN401 - the library names no type for it
    return zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()


def _cut_text(file: IO[bytes], form: Format, *, tell: Callable[[], int]) -> Iterator[Chunk]:
    # Objects of a JSON document take several times the memory of lines.
    size = CHUNK_BYTES // 2 if form is Format.JSON else CHUNK_BYTES
    blocks = iter(partial(file.read, size), b"")
    first = next(blocks, b"")
    if not first and form is not Format.NDJSON:
        raise MalformedBody("is empty")
    if encoding := find_compression(first):
        suffix = {"gzip": ".gz", "zstd": ".zst"}[encoding]
        raise MalformedBody(f"is {encoding} data; the name of such a file must end in {suffix}")
    start = strip_mark(first).lstrip()
    if form is Format.JSON and start.startswith(b"{"):
        form = detect_objects(start)
    for part in _CUTTERS[form](chain([first], blocks)):
        yield Chunk(part.body, form, part.lines_before, tell(), digest_of(part.body), part)


def _cut_rows(file: IO[bytes], form: Format, *, decode: Decode) -> Iterator[Chunk]:
    """Read a columnar file in chunks of rows. Their digest is that of the whole file."""
    digest = hashlib.file_digest(cast("io.BufferedReader", file), "sha256").digest()
    lines_before = 0
    for rows in decode(file, form):
        yield Chunk(rows, form, lines_before, rows.read_bytes, digest)
        lines_before += rows.height
