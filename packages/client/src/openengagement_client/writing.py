"""Write rows to a file, part by part, so that memory does not grow with the number of Tweets."""

import csv
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from openengagement_client.endpoints import TWEET
from openengagement_client.errors import InvalidQuery
from openengagement_client.queries import Query
from openengagement_client.results import COLUMNS, Result, arrow_types

Columns = dict[str, list[Any]]
_ENCODE: Final = json.JSONEncoder(default=str, separators=(",", ":")).encode


@dataclass(slots=True)
class Summary:
    """What was written, and how many Tweets have no counts or incomplete ones.

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


class NdjsonFile:
    """Rows as NDJSON."""

    def __init__(self, file: TextIO, _columns: list[str]) -> None:
        self._file = file

    def add(self, columns: Columns) -> None:
        for values in zip(*columns.values(), strict=True):
            self._file.write(_ENCODE(dict(zip(columns, values, strict=True))) + "\n")


class CsvFile:
    """Rows as CSV with a header."""

    def __init__(self, file: TextIO, columns: list[str]) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(columns)

    def add(self, columns: Columns) -> None:
        self._writer.writerows(zip(*columns.values(), strict=True))


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
def open_rows(path: Path, columns: list[str]) -> Iterator[RowFile]:
    """Open a file of rows by its ending. It gets its name when everything is written.

    Raises:
        InvalidQuery: it has another ending.
    """
    if path.suffix not in (*_TEXTS, _PARQUET):
        raise InvalidQuery(f"{path.name} must end with one of {', '.join((*_TEXTS, _PARQUET))}")
    partial = path.with_name(f"{path.name}.partial")
    with ExitStack() as stack:
        if path.suffix == _PARQUET:
            yield stack.enter_context(closing(_ParquetFile(partial, columns)))
        else:
            file = stack.enter_context(partial.open("w", encoding="utf-8", newline=""))
            yield _TEXTS[path.suffix](file, columns)
    partial.replace(path)


_MESSAGES_MAX: Final = 10
_LISTS: Final = (
    "unavailable_tweet_ids",
    "forbidden_tweet_ids",
    "unsupported_for_impressions_engagements_tweet_ids",
    "unsupported_for_video_views_tweet_ids",
)


class Writer:
    """Writes the rows of one grouping, and lists the Tweets that have none."""

    def __init__(self, rows: RowFile, excluded: Path, *, name: str) -> None:
        self.summary = Summary()
        self._rows = rows
        self._excluded_path = excluded
        self._name = name

    def add(self, part: Result) -> None:
        """Write a part of the result."""
        columns = part.columns(self._name)
        self._rows.add(columns)
        self.summary.rows += len(columns["count"])
        new = [each for each in part.messages if each not in self.summary.messages]
        self.summary.messages += new[:_MESSAGES_MAX]
        for reason in _LISTS:
            if tweet_ids := getattr(part, reason):
                self._list(reason, tweet_ids)

    def _list(self, reason: str, tweet_ids: list[str]) -> None:
        counts = self.summary.excluded
        counts[reason] = counts.get(reason, 0) + len(tweet_ids)
        lines = [json.dumps({"tweet_id": each, "reason": reason}) + "\n" for each in tweet_ids]
        with self._excluded_path.open("a", encoding="utf-8") as file:
            file.writelines(lines)


@contextmanager
def open_writer(path: Path, query: Query, *, name: str | None) -> Iterator[Writer]:
    """Open a writer. The files get their names when everything is written.

    Raises:
        InvalidQuery: the grouping has no `tweet.id`, or the file has another ending.
    """
    name = next(iter(query.groupings)) if name is None else name
    group_by = query.groupings.get(name, ())
    if TWEET not in group_by:
        raise InvalidQuery(f"{name!r} needs {TWEET} to be written part by part")
    excluded = path.with_name(f"{path.name}.excluded.ndjson")
    partly_excluded = excluded.with_name(f"{excluded.name}.partial")
    partly_excluded.unlink(missing_ok=True)
    with open_rows(path, [*(COLUMNS[each] for each in group_by), "count"]) as rows:
        yield Writer(rows, partly_excluded, name=name)
    if partly_excluded.exists():
        partly_excluded.replace(excluded)
    else:
        excluded.unlink(missing_ok=True)
