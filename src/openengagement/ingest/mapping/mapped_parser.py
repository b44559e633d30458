"""Parse bodies of a platform's own rows into events."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import msgspec
import polars as pl

from openengagement.ingest.batch import ParsedBatch
from openengagement.ingest.batch_parser import COLUMNAR, BatchParser, Content
from openengagement.ingest.formats.columnar import DecodedRows
from openengagement.ingest.formats.csv_header import read_header
from openengagement.ingest.formats.csv_rows import parse_csv
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.formats.parsing import check_body, split_elements
from openengagement.ingest.mapping import map_file
from openengagement.ingest.mapping.map_file import read_mapping
from openengagement.ingest.mapping.mapper import MappedRows, Mapper
from openengagement.ingest.rows import EVENTS, DropReason, Kind

_JSON: Final = msgspec.json.Decoder()
# A decoded row takes up to 22 times its size.
_ROW_BYTES_MAX: Final = 2**20


class MappedParser:
    """Parses as `parser` does, after it has mapped the rows of a body."""

    def __init__(self, parser: BatchParser, mapping: map_file.Mapping) -> None:
        self._parser = parser
        self._mapper = Mapper(mapping)
        # The columns of Parquet and Arrow that the mapping names, as text.
        self._columns = Kind("rows", tuple(self._mapper.fields), required=(), typed={})

    def parse(self, body: Content, form: Format, *, kind: Kind) -> ParsedBatch:
        """Map the rows of a body, and parse the events. Lines are those of the body.

        Raises:
            MalformedBody: the body as a whole cannot be parsed.
            BodyTooLarge: it has too many lines.
        """
        if kind is not EVENTS:
            return self._parser.parse(body, form, kind=kind)
        if not isinstance(body, DecodedRows) and form in COLUMNAR:
            body = self._parser.decode(body, form, kind=self._columns)
        mapped = self._mapper.map_rows(self._read_rows(body, form))
        lines = b"".join(msgspec.json.encode(event) + b"\n" for event in mapped.events)
        return _renumber(self._parser.parse(lines, Format.NDJSON, kind=kind), mapped)

    def decode_file(self, file: IO[bytes], form: Format, *, kind: Kind) -> Iterator[DecodedRows]:
        """Decode a columnar file, as `BatchParser.decode_file` does."""
        columns = self._columns if kind is EVENTS else kind
        return self._parser.decode_file(file, form, kind=columns)

    def _read_rows(self, body: Content, form: Format) -> Iterator[tuple[int, object]]:
        if isinstance(body, DecodedRows):
            return _numbered(body.text)
        lines_max = self._parser.lines_max
        text = check_body(body, form, lines_max=lines_max)
        if form is Format.CSV:
            return _records(text, self._mapper.fields)
        rows = text.split(b"\n") if form is Format.NDJSON else split_elements(text, lines_max)
        return _decode_all(rows)


def read_parsers(parser: BatchParser, files: Mapping[str, Path]) -> dict[str, MappedParser]:
    """Read mappings, and make a parser for each of their names.

    Raises:
        UnusableFile: one of them is none.
    """
    return {name: MappedParser(parser, read_mapping(file)) for name, file in files.items()}


def _renumber(parsed: ParsedBatch, mapped: MappedRows) -> ParsedBatch:
    """Give each line of the events the number of its row, and add the rejected rows."""
    numbers = pl.lit(pl.Series(mapped.numbers, dtype=pl.UInt32)).gather(pl.col("line") - 1)
    rows, rejected = parsed.rows, parsed.rejected
    if mapped.numbers:
        rows, rejected = (frame.with_columns(line=numbers) for frame in (rows, rejected))
    if mapped.rejected:
        more = pl.DataFrame(
            {
                "line": list(mapped.rejected),
                "reason": DropReason.MALFORMED.value,
                "detail": list(mapped.rejected.values()),
            },
            schema_overrides={"line": pl.UInt32},
        )
        rejected = pl.concat([rejected, more]).sort("line", maintain_order=True)
    return ParsedBatch(rows, rejected)


def _decode_all(rows: Sequence[bytes | msgspec.Raw]) -> Iterator[tuple[int, object]]:
    """Decode rows of JSON, one after the other. One that is none becomes the text of the fault."""
    for number, row in enumerate(rows, 1):
        text = memoryview(row)
        if len(text) > _ROW_BYTES_MAX:
            yield number, f"is longer than {_ROW_BYTES_MAX} bytes"
        elif bytes(text).strip():
            yield number, _decode(text)


def _decode(text: memoryview) -> object:
    try:
        return _JSON.decode(text)
    except msgspec.DecodeError as error:
        return str(error)
    except RecursionError:
        return "is nested too deeply"
    except ValueError:
        return "is not valid UTF-8"


def _records(text: bytes, fields: Sequence[str]) -> Iterator[tuple[int, object]]:
    """Read the columns of CSV that the mapping names."""
    header = read_header(text, fields=(), required=())
    found = parse_csv(text, fields=[name for name in fields if name in header], required=())
    yield from _numbered(found.rows)
    yield from found.malformed.items()


def _numbered(rows: pl.DataFrame) -> Iterator[tuple[int, object]]:
    for row in rows.iter_rows(named=True):
        yield row.pop("line"), row
