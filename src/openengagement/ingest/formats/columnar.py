"""Read Parquet and Arrow through the decoder process: plain events typed, all other rows as text.

A body is refused as damaged only if a fresh process says so, or if two fresh processes crash while
they decode it. If another process killed the decoder, the body may be good.
"""

import io
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from openengagement.errors import BodyTooLarge, MalformedBody, Unavailable
from openengagement.ingest.formats.decoder_process import DecoderServer, Decoding
from openengagement.ingest.formats.decoder_protocol import (
    PLAIN_COLUMNS,
    PieceHead,
    Request,
    Status,
)
from openengagement.ingest.formats.ignored_fields import IgnoredFields, columns_ignored
from openengagement.ingest.formats.plain_events import make_plain_rows, no_plain_rows
from openengagement.ingest.formats.text_rows import no_text_rows
from openengagement.ingest.framing import read_frame
from openengagement.telemetry import log_event, log_failure

DECODER: Final = "openengagement.ingest.formats.column_decoder"
_TRIES: Final = 2
_Values = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class DecodedRows:
    """Rows of a columnar body: `plain` events as `rows.validate` returns them, and others as text.

    `read_bytes` is the number of bytes of the body that were read up to the end of these rows.
    `ignored` has the columns that are not read.
    """

    plain: pl.DataFrame
    text: pl.DataFrame
    read_bytes: int = 0
    ignored: IgnoredFields = ()

    @property
    def height(self) -> int:
        """The number of rows."""
        return self.plain.height + self.text.height


class ColumnarReader:
    """Decodes columnar bodies, each in a process of its own.

    The first body starts the server of these processes. Safe from any thread: a lock lets one body
    at a time be decoded.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server = DecoderServer(DECODER)

    def read(self, body: bytes, request: Request) -> DecodedRows:
        """Decode a body.

        Raises:
            MalformedBody: the body cannot be decoded, or lacks a required column.
            BodyTooLarge: it has too many rows, or more than `text_max_bytes` of text.
            Unavailable: the decoder was killed, or cannot be started.
        """
        with os.fdopen(os.memfd_create("body"), "w+b") as file:
            file.write(body)
            file.flush()
            none = DecodedRows(no_plain_rows(), no_text_rows(request.fields))
            return concat([none, *self.read_pieces(file, request)])

    def read_pieces(self, file: IO[bytes], request: Request) -> Iterator[DecodedRows]:
        """Decode a file on disk or in memory, piece by piece. Raises what `read` does."""
        rows = crashes = 0
        for attempt in range(1, _TRIES + 1):
            end = 0
            try:
                with self._lock:
                    for piece in self._try(file, request, attempt=attempt):
                        start, end = end, end + piece.height
                        # A second try repeats the pieces that the first one returned.
                        if start < rows < end:
                            raise RuntimeError("the decoder cut a body in other places than before")
                        if start >= rows:
                            rows = end
                            yield piece
                return
            except _FailedError as failure:
                crashes += failure.is_crash
        if crashes == _TRIES:
            raise MalformedBody(_damaged(request))
        raise Unavailable("Parquet and Arrow cannot be decoded now; send this batch again")

    def _try(self, file: IO[bytes], request: Request, *, attempt: int) -> Iterator[DecodedRows]:
        error = None
        try:
            with self._server.decoding(msgspec.json.encode(request), file) as decoding:
                try:
                    yield from _pieces(decoding, request)
                    return
                except _FailedError as failure:
                    error = failure.error
        except OSError as fault:
            log_failure("decoder_did_not_start", fault)
            raise _FailedError from None
        log_event("decoder_failed", exit_code=decoding.exit_code, error=error, attempt=attempt)
        raise _FailedError(error, is_crash=bool(error) or decoding.crashed)


class _FailedError(Exception):
    """The decoder failed. If this is no crash of its own, the body may be good.

    `error` is the name of the exception in the decoder, if it reported one.
    """

    def __init__(self, error: str | None = None, *, is_crash: bool = False) -> None:
        super().__init__(error)
        self.error = error
        self.is_crash = is_crash


def _pieces(decoding: Decoding, request: Request) -> Iterator[DecodedRows]:
    text_bytes = 0
    while (status := Status(_frame(decoding))) is Status.PIECE:
        head = msgspec.json.decode(_frame(decoding), type=PieceHead)
        columns = {
            name: np.frombuffer(_frame(decoding), PLAIN_COLUMNS[name]) for name in head.columns
        }
        lines, text = _lines_of(head), b""
        if head.mixed:
            lines, text = pl.Series(np.frombuffer(_frame(decoding), np.uint32)), _frame(decoding)
        text_bytes += len(text)
        if text_bytes > request.text_max_bytes:
            raise BodyTooLarge(_too_large(request))
        rows = _plain_rows(lines, columns)
        ignored = columns_ignored(head.ignored, request.fields, lines=_lines_of(head))
        yield DecodedRows(rows, _text_rows(text, request), head.read_bytes, ignored)
    reason = _frame(decoding).decode()
    if status is Status.TOO_LARGE:
        raise BodyTooLarge(_too_large(request))
    if status is Status.FAILED:
        raise _FailedError(reason)
    if status is Status.UNREADABLE:
        raise MalformedBody(reason or _damaged(request))


def _frame(decoding: Decoding) -> bytes:
    try:
        return read_frame(decoding.answer.read)
    except EOFError:
        raise _FailedError from None


def _damaged(request: Request) -> str:
    return f"body: cannot be decoded as {request.name}; it is damaged or far too large"


def _too_large(request: Request) -> str:
    return f"body: has more than {request.rows_max} lines, or too much text; send smaller batches"


def _lines_of(head: PieceHead) -> pl.Series:
    end = head.first_line + head.rows
    return pl.int_range(head.first_line, end, dtype=pl.UInt32, eager=True)


def _plain_rows(lines: pl.Series, columns: dict[str, _Values]) -> pl.DataFrame:
    return make_plain_rows(lines, columns, hours=columns["hour"]) if columns else no_plain_rows()


def _text_rows(stream: bytes, request: Request) -> pl.DataFrame:
    empty = no_text_rows(request.fields)
    if not stream:
        return empty
    return pl.concat([empty, pl.read_ipc_stream(io.BytesIO(stream))], how="diagonal")


def concat(pieces: Sequence[DecodedRows]) -> DecodedRows:
    """Join pieces of one body. There must be at least one."""
    if len(pieces) == 1:
        return pieces[0]
    return DecodedRows(
        pl.concat([piece.plain for piece in pieces]),
        pl.concat([piece.text for piece in pieces]),
        pieces[-1].read_bytes,
        [group for piece in pieces for group in piece.ignored],
    )
