"""Parse a body of a text format into columns of text.

All formats give the same columns, so one set of rules (`ingest.rows`) validates them all.
"""

from collections.abc import Sequence

import msgspec

from openengagement.errors import MalformedBody
from openengagement.ingest.formats.csv_rows import parse_csv
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.formats.json_documents import split_document
from openengagement.ingest.formats.json_rows import parse_elements, parse_lines
from openengagement.ingest.formats.text_rows import (
    TextRows,
    count_lines,
    strip_mark,
    too_many_lines,
)
from openengagement.ingest.rows import Kind


def parse_body(body: bytes, form: Format, *, kind: Kind, lines_max: int) -> TextRows:
    """Parse a body that `check_body` returned into text columns, one for each field of a kind.

    Raises:
        MalformedBody: the body as a whole cannot be parsed.
        BodyTooLarge: it has more than `lines_max` lines.
    """
    if form is Format.CSV:
        return parse_csv(body, fields=kind.fields, required=kind.required)
    if form is Format.NDJSON:
        return parse_lines(body, kind)
    return parse_elements(split_elements(body, lines_max), kind, body=body)


def split_elements(body: bytes, lines_max: int) -> Sequence[bytes | msgspec.Raw]:
    """Split a JSON body into elements. Raises what `parse_body` does."""
    elements = split_document(body, elements_max=lines_max)
    if len(elements) > lines_max:
        raise too_many_lines(lines_max)
    return elements


def check_body(body: bytes, form: Format, *, lines_max: int) -> bytes:
    """Check a body as a whole, and remove a byte order mark.

    Raises:
        MalformedBody: the text is UTF-16, or it is a JSON array instead of NDJSON.
        BodyTooLarge: there are more than `lines_max` lines.
    """
    body = strip_mark(body)
    if form is Format.NDJSON and body.lstrip(b" \t\r\n")[:1] == b"[":
        raise MalformedBody("body: is a JSON array, not NDJSON; send Content-Type application/json")
    if form is not Format.JSON:
        # The header of CSV is no row.
        lines = count_lines(body) - (form is Format.CSV)
        if lines > lines_max:
            raise too_many_lines(lines_max)
    return body
