"""Files of rows: NDJSON, CSV and Parquet. They are written block by block, by column."""

import csv
import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, TextIO

from openengagement_client.checkpoints import partial_path
from openengagement_client.errors import InvalidQuery
from openengagement_client.results import arrow_types

Columns = dict[str, list[Any]]
_ENCODE: Final = json.JSONEncoder(default=str, separators=(",", ":")).encode
_ROW_GROUP: Final = 100_000


class RowFile(Protocol):
    """Takes rows by column."""

    def add(self, columns: Columns) -> None:
        """Write rows."""

    def flush(self) -> int:
        """Write what is buffered. Return the bytes of the file, or 0 if it cannot be resumed."""


class NdjsonFile:
    """Rows as NDJSON."""

    def __init__(self, file: TextIO, _columns: list[str]) -> None:
        self._file = file

    def add(self, columns: Columns) -> None:
        for values in zip(*columns.values(), strict=True):
            self._file.write(_ENCODE(dict(zip(columns, values, strict=True))) + "\n")

    def flush(self) -> int:
        return flush_text(self._file)


class CsvFile:
    """Rows as CSV with a header."""

    def __init__(self, file: TextIO, columns: list[str]) -> None:
        self._file = file
        self._writer = csv.writer(file, lineterminator="\n")
        if columns:  # none: the file has its header
            self._writer.writerow(columns)

    def add(self, columns: Columns) -> None:
        self._writer.writerows(zip(*columns.values(), strict=True))

    def flush(self) -> int:
        return flush_text(self._file)


def flush_text(file: TextIO) -> int:
    """Write what is buffered. Return the bytes of the file."""
    file.flush()
    return os.fstat(file.fileno()).st_size


class ParquetFile:
    """Rows as Parquet, in large row groups. Needs pyarrow."""

    def __init__(self, file: BinaryIO, columns: list[str]) -> None:
        import pyarrow as pa  # noqa: PLC0415 - optional
        import pyarrow.parquet as pq  # noqa: PLC0415 - optional

        types = arrow_types()
        self._pa = pa
        self._schema = pa.schema([(name, types[name]) for name in columns])
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")
        self._tables: list[pa.Table] = []
        self._rows = 0

    def add(self, columns: Columns) -> None:
        self._tables.append(self._pa.table(columns, schema=self._schema))
        self._rows += len(columns["count"])
        if self._rows >= _ROW_GROUP:
            self._write()

    def flush(self) -> int:
        return 0

    def close(self) -> None:
        self._write()
        self._writer.close()

    def _write(self) -> None:
        if self._rows:
            self._writer.write_table(self._pa.concat_tables(self._tables))
        self._tables, self._rows = [], 0


_TEXTS: Final[dict[str, type[NdjsonFile | CsvFile]]] = {"ndjson": NdjsonFile, "csv": CsvFile}
_PARQUET: Final = "parquet"
_FORMATS: Final = {
    **{f".{name}": name for name in (*_TEXTS, _PARQUET)},
    ".jsonl": "ndjson",
}


def row_format(path: Path, format: str | None) -> str:
    """Return the format of a file: the one that is named, or else the one of its ending.

    Raises:
        InvalidQuery: there is no such format.
    """
    found = _FORMATS.get(path.suffix) if format is None else format
    if found not in (*_TEXTS, _PARQUET):
        if format is None:
            raise InvalidQuery(f"{path.name} must end with one of {', '.join(_FORMATS)}")
        raise InvalidQuery(f"{format!r} is not one of {', '.join((*_TEXTS, _PARQUET))}")
    return found


@contextmanager
def open_rows(
    path: Path, columns: list[str], *, format: str, at_byte: int = 0
) -> Iterator[RowFile]:
    """Open a file of rows. It gets its name when everything is written.

    With `at_byte`, go on in the partial file of an interrupted query, after so many bytes.
    """
    partial = partial_path(path)
    if format == _PARQUET:
        with partial.open("wb") as file, closing(ParquetFile(file, columns)) as rows:
            yield rows
    else:
        with open_text(partial, at_byte) as text:
            yield write_text(text, columns if at_byte == 0 else [], format=format)
    partial.replace(path)


def write_text(file: TextIO, columns: list[str], *, format: str) -> RowFile:
    """Begin rows as `csv` or `ndjson` in an open file."""
    return _TEXTS[format](file, columns)


def open_text(path: Path, at_byte: int) -> TextIO:
    """Open a new file, or an older one without what follows `at_byte`."""
    if at_byte == 0:
        return path.open("w", encoding="utf-8", newline="")
    os.truncate(path, at_byte)
    return path.open("a", encoding="utf-8", newline="")
