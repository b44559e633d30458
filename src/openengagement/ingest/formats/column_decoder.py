"""Decode Parquet and Arrow by row group and record batch: the program of the decoder process.

It reads only the columns that a request names. It returns events typed if their values are plain:
an id, a known type, a time that is not in the future, a count other than zero. A plain row breaks
no rule of `ingest.rows`. It returns all other rows as text, and these rules decide about them.

This module imports no data frame library, so that the process starts fast and stays small.
"""

import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from typing import IO, Final

import msgspec
import numpy as np
import numpy.ma  # pyarrow would import it in every fork, for its first array
import pyarrow as pa
from pyarrow import ipc

from openengagement.errors import BodyTooLarge, MalformedBody
from openengagement.ingest.formats.column_events import type_events
from openengagement.ingest.formats.column_source import Batch, read_batches
from openengagement.ingest.formats.column_text import as_text
from openengagement.ingest.formats.decoder_process import limit_cpu_time, serve
from openengagement.ingest.formats.decoder_protocol import (
    PLAIN_COLUMNS,
    PieceHead,
    Request,
    Status,
)
from openengagement.ingest.framing import write_frame

MEMORY_MAX_BYTES: Final = 2**30
Frame = bytes | memoryview


def decode_into(request: bytes, body: IO[bytes], *, sink: IO[bytes]) -> None:
    """Decode a body and write the answer as frames. Runs in the fork."""
    asked = msgspec.json.decode(request, type=Request)
    try:
        for frames in _pieces(body, asked):
            for frame in frames:
                write_frame(sink.write, frame)
            limit_cpu_time()
        status, text = Status.END, ""
    except BodyTooLarge:
        status, text = Status.TOO_LARGE, ""
    except MalformedBody as error:
        status, text = Status.UNREADABLE, error.texts[0]
    except (MemoryError, BrokenPipeError) as error:
        status, text = Status.FAILED, type(error).__name__
    except (pa.ArrowException, OSError, EOFError, ValueError):
        status, text = Status.UNREADABLE, ""
    except Exception as error:
        status, text = Status.FAILED, type(error).__name__
    write_frame(sink.write, status.value)
    write_frame(sink.write, text.encode())


def _pieces(body: IO[bytes], request: Request) -> Iterator[list[Frame]]:
    """Decode a body into the frames of each piece."""
    done = 0
    for batch in read_batches(body, request):
        start = 0
        while start < batch.rows:
            rows = min(batch.rows - start, request.chunk_rows - done % request.chunk_rows)
            columns = {name: column.slice(start, rows) for name, column in batch.columns.items()}
            yield _encode(
                columns,
                request,
                first_line=done % request.chunk_rows + 1,
                batch=batch,
            )
            start += rows
            done += rows


def _encode(
    columns: dict[str, pa.Array], request: Request, *, first_line: int, batch: Batch
) -> list[Frame]:
    """Encode rows of a batch: the columns of plain rows, and the text of the other rows."""
    rows = len(next(iter(columns.values())))
    typed, plain = type_events(columns, request) if request.typed else ({}, None)
    whole = plain is not None and bool(plain.all())
    if plain is None:
        plain = np.zeros(rows, np.bool_)
    elif not whole:
        typed = {name: values[plain] for name, values in typed.items()}
    typed = {name: typed[name] for name in PLAIN_COLUMNS if name in typed}
    head = PieceHead(
        rows, first_line, batch.read_bytes, tuple(typed), mixed=not whole, ignored=batch.ignored
    )
    frames: list[Frame] = [Status.PIECE.value, msgspec.json.encode(head)]
    frames += [np.ascontiguousarray(values).data.cast("B") for values in typed.values()]
    if not whole:
        lines = np.arange(first_line, first_line + rows, dtype=np.uint32)
        text = {"line": pa.array(lines[~plain])}
        other = pa.array(~plain)
        for name, column in columns.items():
            not_text = request.not_text if name in request.texts else ""
            text[name] = as_text(name, column.filter(other), not_text=not_text)
        frames += [lines[plain].tobytes(), _to_stream(pa.RecordBatch.from_pydict(text))]
    return frames


def _to_stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream


class _PandasHider(MetaPathFinder):
    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


def hide_pandas() -> None:
    """Make pandas look absent: pyarrow would import it for its first array, in every fork."""
    sys.meta_path.insert(0, _PandasHider())


if __name__ == "__main__":
    hide_pandas()
    serve(decode_into, memory_max_bytes=MEMORY_MAX_BYTES)
