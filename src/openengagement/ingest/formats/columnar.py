"""Decode Parquet and Arrow into columns of text, in a process with a memory limit.

A body is refused as damaged only if a fresh process says so, or crashes twice over it. A process
that another one killed says nothing about the body.
"""

import io
import os
import threading
from collections.abc import Sequence
from typing import IO, Final

import polars as pl

from openengagement.errors import BodyTooLarge, MalformedBody, Unavailable
from openengagement.ingest.formats.decoder_process import DecoderServer, serve
from openengagement.ingest.framing import read_frame, write_frame
from openengagement.telemetry import log_event, log_failure

MEMORY_MAX_BYTES: Final = 4 * 2**30  # address space of the process
ANSWER_MAX_BYTES: Final = 2**28  # text of one body
_TRIES: Final = 2
_ARROW_FILE: Final = b"ARROW1"
_PARQUET: Final = b"PAR1"
# The status in the answer. `_FAILED` is a failure that no reader of a damaged body should have.
_DECODED, _TOO_LARGE, _UNREADABLE, _FAILED = b"d", b"l", b"u", b"f"
# The range of times with an RFC 3339 text, in Unix microseconds.
_YEAR_ONE_US: Final = -62_135_596_800_000_000
_YEAR_10000_US: Final = 253_402_300_800_000_000


class ColumnarReader:
    """Decodes columnar bodies in processes of their own, whose server the first body starts.

    Safe from any thread; bodies are decoded one at a time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server = DecoderServer(__name__)

    def read(self, body: bytes, fields: Sequence[str], *, rows_max: int, name: str) -> pl.DataFrame:
        """Decode `fields` as text columns, all null where the body has no such column.

        `name` names the format in errors.

        Raises:
            MalformedBody: the body cannot be decoded.
            BodyTooLarge: it has more than `rows_max` rows, or more than ANSWER_MAX_BYTES of text.
            Unavailable: the decoder was killed, or cannot be started.
        """
        head = f"{rows_max} {','.join(fields)}".encode()
        with self._lock, os.fdopen(os.memfd_create("body"), "w+b") as file:
            file.write(body)
            file.flush()
            status, answer = self._decode(head, file)
        if status == _TOO_LARGE:
            raise BodyTooLarge(
                f"body: has more than {rows_max} lines, or too much text; send smaller batches"
            )
        if status != _DECODED:
            text = f"body: cannot be decoded as {name}; it is damaged or far too large"
            raise MalformedBody(answer.decode() or text)
        return pl.read_ipc_stream(io.BytesIO(answer))

    def _decode(self, head: bytes, file: IO[bytes]) -> tuple[bytes, bytes]:
        """Decode a body; after a failure that a good body could have had, try once more."""
        crashed = False
        for attempt in range(1, _TRIES + 1):
            try:
                with self._server.decoding(head, file) as decoding:
                    status, answer = _read_answer(decoding.answer)
            except OSError as error:
                log_failure("decoder_did_not_start", error)
                break
            if status != _FAILED:
                return status, answer
            name = answer.decode() or None
            log_event("decoder_failed", exit_code=decoding.exit_code, error=name, attempt=attempt)
            crashed = decoding.crashed or bool(answer)
        if crashed:
            return _UNREADABLE, b""
        raise Unavailable("Parquet and Arrow cannot be decoded now; send this batch again")


def _read_answer(pipe: IO[bytes]) -> tuple[bytes, bytes]:
    try:
        return read_frame(pipe.read), read_frame(pipe.read)
    except EOFError:
        return _FAILED, b""


def decode(body: bytes, fields: Sequence[str], *, rows_max: int) -> pl.DataFrame:
    """Decode a body, in the child.

    Raises:
        MalformedBody: a column has nested or binary values.
        BodyTooLarge: the body has more than `rows_max` rows.
        BaseException: the decoder failed on a damaged file, or panicked.
    """
    if body.startswith(_PARQUET):
        # A few bytes of Parquet can stand for billions of rows, so count them before decoding.
        height = pl.scan_parquet(io.BytesIO(body)).select(pl.len()).collect().item()
        if height > rows_max:
            raise BodyTooLarge("rows")
        frame = pl.read_parquet(io.BytesIO(body))
    elif body.startswith(_ARROW_FILE):
        frame = pl.read_ipc(io.BytesIO(body))
    else:
        frame = pl.read_ipc_stream(io.BytesIO(body))
    if frame.height > rows_max:
        raise BodyTooLarge("rows")
    return frame.select(**{name: _as_text(frame, name) for name in fields})


def _as_text(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Select a column as text, with times in RFC 3339."""
    dtype = frame.schema.get(name)
    if dtype is None:
        return pl.lit(None, dtype=pl.String)
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        # A time without a zone is UTC, as both formats define.
        micros = column.dt.epoch("us")
        has_text = micros.is_between(_YEAR_ONE_US, _YEAR_10000_US, closed="left")
        time = pl.when(has_text).then(micros).cast(pl.Datetime("us"))
        return pl.coalesce(
            time.dt.strftime("%Y-%m-%dT%H:%M:%SZ"), column.cast(pl.Int64).cast(pl.String)
        )
    if dtype.is_nested() or isinstance(dtype, (pl.Binary, pl.Duration, pl.Object)):
        raise MalformedBody(
            f"body: column {name} has the type {dtype}; send numbers, text, times or booleans"
        )
    return column.cast(pl.String, strict=False)


def _answer(body: bytes, fields: Sequence[str], *, rows_max: int) -> tuple[bytes, bytes]:
    buffer = io.BytesIO()
    decode(body, fields, rows_max=rows_max).write_ipc_stream(buffer)
    if buffer.tell() > ANSWER_MAX_BYTES:
        return _TOO_LARGE, b""
    return _DECODED, buffer.getvalue()


def decode_into(request: bytes, body: IO[bytes], *, sink: IO[bytes]) -> None:
    """Decode a body, in the fork, and write the status and the answer as frames."""
    rows_max, _, fields = request.decode().partition(" ")
    body.seek(0)
    try:
        status, answer = _answer(body.read(), fields.split(","), rows_max=int(rows_max))
    except BodyTooLarge:
        status, answer = _TOO_LARGE, b""
    except MalformedBody as error:
        status, answer = _UNREADABLE, error.texts[0].encode()
    except pl.exceptions.PolarsError:
        status, answer = _UNREADABLE, b""
    except BaseException as error:
        status, answer = _FAILED, type(error).__name__.encode()
    for part in (status, answer):
        write_frame(sink.write, part)


if __name__ == "__main__":
    serve(decode_into, memory_max_bytes=MEMORY_MAX_BYTES)
