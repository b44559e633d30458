"""Write rows to a file, part by part, so that memory does not grow with the number of Tweets."""

import csv
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from openengagement_client.endpoints import TWEET
from openengagement_client.errors import InvalidQuery
from openengagement_client.queries import Query
from openengagement_client.results import COLUMNS, Result, arrow_types
from openengagement_client.resuming import (
    Place,
    excluded_path,
    forget_place,
    partial_path,
    save_place,
)

Columns = dict[str, list[Any]]
_ENCODE: Final = json.JSONEncoder(default=str, separators=(",", ":")).encode


@dataclass(slots=True)
class Summary:
    """The number of rows, and of Tweets without counts or with incomplete ones.

    The lists of ids could be as long as the query, so they are in a file beside the rows:
    `NAME.excluded.ndjson`, which exists only if there is something to list.
    """

    rows: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


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
        return _flush(self._file)


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
        return _flush(self._file)


def _flush(file: TextIO) -> int:
    file.flush()
    return os.fstat(file.fileno()).st_size


class _ParquetFile:
    def __init__(self, path: Path, columns: list[str]) -> None:
        import pyarrow as pa  # noqa: PLC0415 - optional
        import pyarrow.parquet as pq  # noqa: PLC0415 - optional

        types = arrow_types()
        self._pa = pa
        self._schema = pa.schema([(name, types[name]) for name in columns])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

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


_TEXTS: Final[dict[str, type[NdjsonFile | CsvFile]]] = {
    ".ndjson": NdjsonFile,
    ".jsonl": NdjsonFile,
    ".csv": CsvFile,
}
_PARQUET: Final = ".parquet"
_ROW_GROUP: Final = 100_000


@contextmanager
def open_rows(path: Path, columns: list[str], *, at_byte: int = 0) -> Iterator[RowFile]:
    """Open a file of rows by its ending. It gets its name when everything is written.

    With `at_byte`, go on in the partial file of an interrupted query, after so many bytes.

    Raises:
        InvalidQuery: it has another ending, or cannot be gone on with.
    """
    if path.suffix not in (*_TEXTS, _PARQUET):
        raise InvalidQuery(f"{path.name} must end with one of {', '.join((*_TEXTS, _PARQUET))}")
    partial = partial_path(path)
    with ExitStack() as stack:
        if path.suffix == _PARQUET:
            yield stack.enter_context(closing(_ParquetFile(partial, columns)))
        else:
            file = stack.enter_context(_open_text(partial, at_byte))
            yield _TEXTS[path.suffix](file, columns if at_byte == 0 else [])
    partial.replace(path)


def _open_text(path: Path, at_byte: int) -> TextIO:
    """Open a new file, or an older one without what follows `at_byte`."""
    if at_byte == 0:
        return path.open("w", encoding="utf-8", newline="")
    os.truncate(path, at_byte)
    return path.open("a", encoding="utf-8", newline="")


_MESSAGES_MAX: Final = 10
_LISTS: Final = (
    "unavailable_tweet_ids",
    "forbidden_tweet_ids",
    "unsupported_for_impressions_engagements_tweet_ids",
    "unsupported_for_video_views_tweet_ids",
)


class Writer:
    """Writes the rows of one grouping, and lists the Tweets that have none.

    `place` tells how much is complete. The writer keeps it up to date.
    """

    def __init__(self, rows: RowFile, path: Path, *, name: str, place: Place) -> None:
        self.place = place
        self._messages: list[str] = []
        self._rows = rows
        self._excluded = partial_path(excluded_path(path))
        self._name = name

    @property
    def summary(self) -> Summary:
        """The rows and Tweets so far."""
        return Summary(self.place.rows, dict(self.place.excluded), self._messages)

    def add(self, part: Result) -> None:
        """Write the part of the result that a group of Tweets has."""
        columns = part.columns(self._name)
        self._rows.add(columns)
        new = [each for each in part.messages if each not in self._messages]
        self._messages += new[: _MESSAGES_MAX - len(self._messages)]
        lists = {reason: getattr(part, reason) for reason in _LISTS}
        excluded_bytes = self._list(lists)
        # Last, and together: an interruption before this leaves the whole group to be done again.
        self.place.add(
            lists,
            rows=len(columns["count"]),
            row_bytes=self._rows.flush(),
            excluded_bytes=excluded_bytes,
        )

    def _list(self, lists: Mapping[str, list[str]]) -> int:
        """List the Tweets without counts. Return the bytes of the list."""
        lines = [
            json.dumps({"tweet_id": each, "reason": reason}) + "\n"
            for reason, tweet_ids in lists.items()
            for each in tweet_ids
        ]
        if not lines:
            return self.place.excluded_bytes
        with self._excluded.open("a", encoding="utf-8") as file:
            file.writelines(lines)
            return _flush(file)


@contextmanager
def open_writer(path: Path, query: Query, *, name: str | None, place: Place) -> Iterator[Writer]:
    """Open a writer. The files get their names when everything is written.

    If it is interrupted, the place is saved, unless nothing is complete.

    Raises:
        InvalidQuery: the grouping has no `tweet.id`, or the file has another ending.
    """
    name = next(iter(query.groupings)) if name is None else name
    group_by = query.groupings.get(name, ())
    if TWEET not in group_by:
        raise InvalidQuery(f"{name!r} needs {TWEET} to be written part by part")
    excluded = excluded_path(path)
    partly_excluded = partial_path(excluded)
    if place.groups == 0:
        forget_place(path)
    columns = [*(COLUMNS[each] for each in group_by), "count"]
    with open_rows(path, columns, at_byte=place.row_bytes) as rows:
        _open_text(partly_excluded, place.excluded_bytes).close()
        writer = Writer(rows, path, name=name, place=place)
        with _place_saved(path, place):
            yield writer
    if place.excluded:
        partly_excluded.replace(excluded)
    else:
        partly_excluded.unlink()
        excluded.unlink(missing_ok=True)


@contextmanager
def _place_saved(path: Path, place: Place) -> Iterator[None]:
    """Save the place if the query is interrupted, and forget it at its end."""
    try:
        yield
    except BaseException:
        if place.row_bytes:
            save_place(path, place)
        raise
    forget_place(path)
