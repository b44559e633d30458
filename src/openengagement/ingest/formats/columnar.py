"""Decode Parquet and Arrow into columns of text, in a child process.

A damaged or hostile file can make the decoder use all memory, or end its whole process. So a child
process with a memory limit decodes the file and returns text columns as an Arrow stream. If the
child dies, the file is refused, and the next file starts a new child.
"""

import contextlib
import io
import resource
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from openengagement.errors import BodyTooLarge, MalformedBody
from openengagement.ingest.framing import read_frame, write_frame

MEMORY_MAX_BYTES: Final = 4 * 2**30  # address space of the child
ANSWER_MAX_BYTES: Final = 2**28  # text of one body
_ARROW_FILE: Final = b"ARROW1"
_PARQUET: Final = b"PAR1"
_DECODED, _TOO_LARGE, _UNREADABLE = b"d", b"l", b"u"  # the status in the child's answer
# The range of times with an RFC 3339 text, in Unix microseconds.
_YEAR_ONE_US: Final = -62_135_596_800_000_000
_YEAR_10000_US: Final = 253_402_300_800_000_000


class ColumnarReader:
    """Decodes columnar bodies in a child process, which the first body starts.

    Safe from any thread; bodies are decoded one at a time. The child ends with the reader or with
    this process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._end_child: Callable[[], object] = lambda: None

    def read(self, body: bytes, fields: Sequence[str], *, rows_max: int, name: str) -> pl.DataFrame:
        """Decode `fields` as text columns, all null where the body has no such column.

        `name` names the format in errors.

        Raises:
            MalformedBody: the body cannot be decoded.
            BodyTooLarge: it has more than `rows_max` rows, or more than ANSWER_MAX_BYTES of text.
        """
        head = f"{rows_max} {','.join(fields)}".encode()
        with self._lock:
            status, answer = self._ask(head, body)
        if status == _TOO_LARGE:
            raise BodyTooLarge(
                f"body: has more than {rows_max} lines, or too much text; send smaller batches"
            )
        if status != _DECODED:
            text = f"body: cannot be decoded as {name}; it is damaged or far too large"
            raise MalformedBody(answer.decode() or text)
        return pl.read_ipc_stream(io.BytesIO(answer))

    def _ask(self, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        if self._child is None or self._child.poll() is not None:
            self._end_child()
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._end_child = weakref.finalize(self, _end, self._child)
        child = self._child
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("the child was started without pipes")
        try:
            for part in (head, body):
                write_frame(child.stdin.write, part)
                child.stdin.flush()
            status, answer = (read_frame(child.stdout.read) for _ in range(2))
        except (OSError, EOFError):
            self._end_child()
            return _UNREADABLE, b""
        return status, answer


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # closing flushes bytes that nothing reads
                pipe.close()


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


def main() -> None:
    """Run the child: answer requests on standard input until it is closed."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            rows_max, _, fields = read_frame(source.read).decode().partition(" ")
            body = read_frame(source.read)
        except EOFError:
            return
        try:
            status, answer = _answer(body, fields.split(","), rows_max=int(rows_max))
        except BodyTooLarge:
            status, answer = _TOO_LARGE, b""
        except MalformedBody as error:
            status, answer = _UNREADABLE, error.texts[0].encode()
        except BaseException:
            status, answer = _UNREADABLE, b""
        write_frame(sink.write, status)
        write_frame(sink.write, answer)
        sink.flush()


if __name__ == "__main__":
    main()
