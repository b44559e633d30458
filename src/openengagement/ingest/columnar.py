"""Parquet and Arrow -> text columns, in a process of its own that may die.

A damaged or hostile file can make the decoder ask for absurd amounts of memory, or panic, and an
abort takes the whole process with it. So a child decodes, within a limit of memory, and answers
with a clean Arrow stream of text; when it dies the file is refused, and the next gets a new child.
"""

import atexit
import io
import resource
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Final

import polars as pl

from openengagement.errors import BodyTooLarge, MalformedBody
from openengagement.ingest.framing import read_frame, write_frame

MEMORY_MAX: Final = 4 * 2**30  # address space of the child
ANSWER_MAX: Final = 2**28  # text that a body may hold
_ARROW_FILE: Final = b"ARROW1"
_PARQUET: Final = b"PAR1"
_DONE, _TOO_LONG, _UNREADABLE = b"d", b"l", b"u"
# What `at` and `created_at` may hold; outside these years a time has no text.
_YEAR_ONE_US: Final = -62_135_596_800_000_000
_YEAR_10000_US: Final = 253_402_300_800_000_000


class ColumnarReader:
    """Reads columnar bodies through a child process, made when the first one comes."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def read(self, body: bytes, fields: Sequence[str], *, rows_max: int, name: str) -> pl.DataFrame:
        """The fields as text columns, null where the body has no such column.

        `name` is what an error calls the format.

        Raises:
            MalformedBody: it cannot be read.
            BodyTooLarge: it holds more than `rows_max` rows.
        """
        head = f"{rows_max} {','.join(fields)}".encode()
        with self._turn:
            status, answer = self._ask(head, body)
        if status == _TOO_LONG:
            raise BodyTooLarge(
                f"body: holds more than {rows_max} lines, or too much text; send smaller batches"
            )
        if status != _DONE:
            text = f"body: is no {name} that can be read; it is damaged, or far too large"
            raise MalformedBody(answer.decode() or text)
        return pl.read_ipc_stream(io.BytesIO(answer))

    def _ask(self, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        if self._child is None or self._child.poll() is not None:
            command = [sys.executable, "-m", "openengagement.ingest.columnar"]
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        child = self._child
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("the reader's pipes are not there")
        try:
            for part in (head, body):
                write_frame(child.stdin.write, part)
                child.stdin.flush()
            status, answer = (read_frame(child.stdout.read) for _ in range(2))
        except (OSError, EOFError):
            self._end(child)
            return _UNREADABLE, b""
        return status, answer

    def close(self) -> None:
        """End the child."""
        with self._turn:
            if self._child is not None:
                self._end(self._child)

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue  # unsent bytes of a pipe whose reader is gone
        self._child = None


# One child a process, and it ends with it.
COLUMNAR: Final = ColumnarReader()
atexit.register(COLUMNAR.close)


def decode(body: bytes, fields: Sequence[str], *, rows_max: int) -> pl.DataFrame:
    """What the child does.

    Raises:
        MalformedBody, BodyTooLarge, and whatever a damaged file makes the decoder raise.
    """
    if body.startswith(_PARQUET):
        # A few bytes of Parquet can stand for any number of rows: ask before reading them.
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
    """A column as text, times in RFC 3339."""
    dtype = frame.schema.get(name)
    if dtype is None:
        return pl.lit(None, dtype=pl.String)
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        # Without a zone the format's own rule holds: UTC.
        micros = column.dt.epoch("us")
        told = micros.is_between(_YEAR_ONE_US, _YEAR_10000_US, closed="left")
        safe = pl.when(told).then(micros).cast(pl.Datetime("us"))
        return pl.coalesce(
            safe.dt.strftime("%Y-%m-%dT%H:%M:%SZ"), column.cast(pl.Int64).cast(pl.String)
        )
    if dtype.is_nested() or isinstance(dtype, (pl.Binary, pl.Duration, pl.Object)):
        raise MalformedBody(f"body: column {name} holds {dtype}, not single values")
    return column.cast(pl.String, strict=False)


def _answer(body: bytes, fields: Sequence[str], *, rows_max: int) -> tuple[bytes, bytes]:
    buffer = io.BytesIO()
    decode(body, fields, rows_max=rows_max).write_ipc_stream(buffer)
    if buffer.tell() > ANSWER_MAX:
        return _TOO_LONG, b""
    return _DONE, buffer.getvalue()


def main() -> None:
    """The child: answer requests on standard input until it is closed."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
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
            status, answer = _TOO_LONG, b""
        except MalformedBody as error:
            status, answer = _UNREADABLE, error.texts[0].encode()
        except BaseException:
            status, answer = _UNREADABLE, b""
        write_frame(sink.write, status)
        write_frame(sink.write, answer)
        sink.flush()


if __name__ == "__main__":
    main()
