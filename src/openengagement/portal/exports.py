"""Tables to take away."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Final

from starlette.responses import Response

# A spreadsheet takes text that begins so for a formula, and runs it; full-width signs included.
_SIGNS: Final = "=+-@\uff1d\uff0b\uff0d\uff20"
_FORMULA_STARTS: Final = (*_SIGNS, "\t", "\r", "\n")
# One that splits at semicolons, tabs or lines finds the beginning of a cell within a quoted one.
_INNER_START: Final = re.compile(rf"([;\t\r\n]\s*)(?=[{re.escape(_SIGNS)}])")


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV (RFC 4180); text that would be a formula gets an apostrophe in front.

    Every cell is quoted, so that most readers that split elsewhere keep it whole.
    """
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    for row in (header, *rows):
        writer.writerow(["" if cell is None else _plain(cell) for cell in row])
    return out.getvalue()


def csv_file(name: str, text: str) -> Response:
    """CSV as a file to keep under this name."""
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


def _plain(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    plain = _INNER_START.sub(r"\1'", cell)
    return f"'{plain}" if plain.startswith(_FORMULA_STARTS) else plain
