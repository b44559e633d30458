"""Read the columns of Parquet and Arrow by row group and record batch, in the decoder process.

The file is mapped into memory, and pages are released after they were read. So a file of any size
is never held whole. Only the requested columns are read.
"""

import mmap
from collections.abc import Iterator
from typing import IO, Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from openengagement.errors import BodyTooLarge, MalformedBody
from openengagement.ingest.formats.column_extent import (
    ARROW_FILE,
    PARQUET,
    check_arrow_file,
    check_parquet,
    read_metadata,
)
from openengagement.ingest.formats.column_text import (
    check_type,
    is_text_or_bytes,
    simplify,
    validate,
)
from openengagement.ingest.formats.column_wide import read_wide
from openengagement.ingest.formats.decoder_protocol import Request

BATCH_ROWS: Final = 125_000
_NAMES_SHOWN: Final = 20
_NAME_SHOWN: Final = 64  # characters
_IGNORED_MAX: Final = 100  # as in an answer
_BUFFER_BYTES: Final = 2**20


class Batch(NamedTuple):
    """Columns of the same rows by name, and the bytes of the file that are read after them.

    `ignored` names the columns that are not read.
    """

    columns: dict[str, pa.Array]
    rows: int
    read_bytes: int
    ignored: tuple[str, ...] = ()


def read_batches(file: IO[bytes], request: Request) -> Iterator[Batch]:
    """Read the requested columns that a file has.

    Raises:
        MalformedBody: a required column is missing, a column is named twice, or other data precedes
            or follows the file.
        BodyTooLarge: there are too many rows.
        pa.ArrowException, OSError: the file is damaged.
    """
    size = file.seek(0, 2)
    if not size:
        raise MalformedBody(f"body: is empty, not {request.name}")
    # The mapping ends with the process: buffers refer to it as long as they live.
    whole = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    rows = 0
    for batch in _read(whole, request):
        rows += batch.rows
        if rows > request.rows_max:
            raise BodyTooLarge("rows")
        yield batch
        whole.madvise(mmap.MADV_DONTNEED)


def _read(whole: mmap.mmap, request: Request) -> Iterator[Batch]:
    if whole[: len(PARQUET)] == PARQUET:
        return _read_parquet(whole, request)
    if whole[: len(ARROW_FILE)] == ARROW_FILE:
        return _read_file(whole, request)
    return _read_streams(whole, request)


def _read_wide(body: bytes, request: Request, *, read_bytes: int) -> Iterator[Batch]:
    """Read a file or a stream whose schema has a type that only the other library knows."""
    table = read_wide(body, request)
    ignored = _names_ignored(table.schema, request)
    for batch in table.select(_choose_columns(table.schema, request)).to_batches():
        yield from _slices(batch, read_bytes, ignored=ignored)


def _choose_columns(schema: pa.Schema, request: Request) -> list[int]:
    """Choose the columns of a schema by index, and check their types."""
    names = schema.names
    if missing := [name for name in request.required if name not in names]:
        found = ", ".join(name[:_NAME_SHOWN] for name in names[:_NAMES_SHOWN]) or "none"
        more = ", ..." if len(names) > _NAMES_SHOWN else ""
        raise MalformedBody(
            f"body: has no column {', '.join(missing)}; its columns are: {found}{more}"
        )
    if twice := [name for name in request.fields if names.count(name) > 1]:
        raise MalformedBody(f"body: has column {twice[0]} twice")
    chosen = [names.index(name) for name in request.fields if name in names]
    for index in chosen:
        check_type(names[index], schema.types[index])
    return chosen


def _names_ignored(schema: pa.Schema, request: Request) -> tuple[str, ...]:
    """Name the columns of a schema that are not read, at most as many as an answer lists."""
    names = dict.fromkeys(name for name in schema.names if name not in request.fields)
    return tuple([name[:_NAME_SHOWN] for name in names][:_IGNORED_MAX])


def _read_parquet(whole: mmap.mmap, request: Request) -> Iterator[Batch]:
    source = pa.py_buffer(whole)
    try:
        file = pq.ParquetFile(pa.BufferReader(source))
    except pa.ArrowNotImplementedError:
        _check_parquet(whole, read_metadata(whole), rows_max=request.rows_max)
        yield from _read_wide(whole[:], request, read_bytes=len(whole))
        return
    with file:
        metadata = file.metadata
        _check_parquet(whole, metadata, rows_max=request.rows_max)
        schema = file.schema_arrow
        chosen, ignored = _choose_columns(schema, request), _names_ignored(schema, request)
    names = [schema.names[index] for index in chosen]
    texts = [schema.names[index] for index in chosen if is_text_or_bytes(schema.types[index])]
    # A reader that buffers holds one page of each column, not the whole column of a row group.
    options: dict[str, Any] = {
        "buffer_size": _BUFFER_BYTES,
        "pre_buffer": False,
        "coerce_int96_timestamp_unit": "us",
        "read_dictionary": texts,
    }
    rows = 0
    with pq.ParquetFile(pa.BufferReader(source), metadata=metadata, **options) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
            rows += batch.num_rows
            read_bytes = len(whole) * rows // metadata.num_rows
            yield _batch(batch, read_bytes, ignored=ignored)
    if rows != metadata.num_rows:
        raise pa.ArrowInvalid("rows are missing")


def _check_parquet(whole: mmap.mmap, metadata: pq.FileMetaData, *, rows_max: int) -> None:
    # A few bytes of Parquet can stand for billions of rows, so count them before decoding.
    if metadata.num_rows > rows_max:
        raise BodyTooLarge("rows")
    check_parquet(whole, metadata)


def _read_streams(whole: mmap.mmap, request: Request) -> Iterator[Batch]:
    source = pa.BufferReader(pa.py_buffer(whole))
    while (start := source.tell()) < source.size():
        try:
            schema = ipc.open_stream(source).schema
        except pa.ArrowNotImplementedError:
            source.seek(start)
            for _ in ipc.MessageReader.open_stream(source):
                pass
            yield from _read_wide(whole[start : source.tell()], request, read_bytes=source.tell())
            continue
        except (pa.ArrowException, OSError, EOFError):
            if start:
                raise MalformedBody("body: has data after the end of the Arrow stream") from None
            raise
        options = _read_options(schema, request)
        source.seek(start)
        for batch in ipc.open_stream(source, options=options):
            yield from _slices(batch, source.tell(), ignored=_names_ignored(schema, request))


def _read_file(whole: mmap.mmap, request: Request) -> Iterator[Batch]:
    source = pa.BufferReader(pa.py_buffer(whole))
    try:
        schema = ipc.open_file(source).schema
    except pa.ArrowNotImplementedError:
        check_arrow_file(whole)
        yield from _read_wide(whole[:], request, read_bytes=len(whole))
        return
    check_arrow_file(whole)
    options = _read_options(schema, request)
    reader = ipc.open_file(source, options=options)
    for index in range(reader.num_record_batches):
        position = source.size() * (index + 1) // reader.num_record_batches
        batch = reader.get_batch(index)
        yield from _slices(batch, position, ignored=_names_ignored(schema, request))


def _read_options(schema: pa.Schema, request: Request) -> ipc.IpcReadOptions:
    chosen = _choose_columns(schema, request)
    # With a choice of columns, the library copies a whole batch; else it refers to the mapped file.
    included = chosen if len(chosen) < len(schema.names) else None
    return ipc.IpcReadOptions(use_threads=False, included_fields=included)


def _slices(batch: pa.RecordBatch, read_bytes: int, *, ignored: tuple[str, ...]) -> Iterator[Batch]:
    """Cut a batch, which may be a whole file, so that few of its pages are in memory at a time."""
    for start in range(0, batch.num_rows, BATCH_ROWS):
        part = batch.slice(start, BATCH_ROWS)
        part.validate()
        for name, column in zip(part.schema.names, part.columns, strict=True):
            validate(name, column)
        yield _batch(part, read_bytes, ignored=ignored)


def _batch(batch: pa.RecordBatch, read_bytes: int, *, ignored: tuple[str, ...]) -> Batch:
    columns = dict(zip(batch.schema.names, map(simplify, batch.columns), strict=True))
    return Batch(columns, batch.num_rows, read_bytes, ignored)
