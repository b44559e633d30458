"""Parse a body of any format into columns of text.

All formats give the same columns, so one set of rules (`ingest.rows`) validates them all.
"""

from collections.abc import Sequence

import msgspec

from openengagement.errors import BodyTooLarge, MalformedBody
from openengagement.ingest.formats.columnar import ColumnarReader
from openengagement.ingest.formats.csv_rows import parse_csv
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.formats.ndjson import parse_ndjson
from openengagement.ingest.formats.text_rows import TextRows, count_line_ends


def parse_body(
    body: bytes, form: Format, *, fields: Sequence[str], lines_max: int, columnar: ColumnarReader
) -> TextRows:
    """Parse a body into text columns named `fields`.

    Raises:
        MalformedBody: the body as a whole cannot be parsed.
        BodyTooLarge: it has more than `lines_max` lines.
    """
    if form in {Format.PARQUET, Format.ARROW}:
        rows = columnar.read(body, fields, rows_max=lines_max, name=form.name.capitalize())
        return TextRows(rows.with_row_index("line", offset=1), {})
    if form is Format.JSON:
        body = _array_to_lines(body)
    lines = count_lines(body, form, lines_max=lines_max)
    if form is Format.CSV:
        return parse_csv(body, fields)
    return parse_ndjson(body, fields, lines=lines)


def count_lines(body: bytes, form: Format, *, lines_max: int) -> int:
    """Count the lines of a body, without the header of CSV.

    Raises:
        BodyTooLarge: there are more than `lines_max`.
    """
    lines = count_line_ends(body) + (not body.endswith(b"\n")) - (form is Format.CSV)
    if lines > lines_max:
        raise BodyTooLarge(f"body: has more than {lines_max} lines; send smaller batches")
    return lines


def _array_to_lines(body: bytes) -> bytes:
    """Convert a JSON array to NDJSON, one element a line."""
    try:
        values = msgspec.json.decode(body, type=list[msgspec.Raw])
        return b"\n".join(_one_line(bytes(value)) for value in values)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedBody(f"body: is not a JSON array: {error}") from None


def _one_line(value: bytes) -> bytes:
    return msgspec.json.format(value, indent=-1) if b"\n" in value or b"\r" in value else value
