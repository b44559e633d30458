"""CSV files that spreadsheets open safely."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote

from starlette.responses import Response

_BYTE_ORDER_MARK: Final = "\ufeff"
# Spreadsheets run text that begins with one of these as a formula; full-width signs included.
_SIGNS: Final = "=+-@\uff1d\uff0b\uff0d\uff20"
_FORMULA_STARTS: Final = (*_SIGNS, "\t", "\r", "\n")
# A spreadsheet that splits at semicolons, tabs or lines may start a new cell inside a quoted one.
# It drops quotes at the start of that cell.
_INNER_START: Final = re.compile(rf"([;\t\r\n][\s\"]*)(?=[{re.escape(_SIGNS)}])")


def write_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table as CSV (RFC 4180), every cell quoted; None is an empty cell.

    Text that a spreadsheet would run as a formula gets an apostrophe in front. Numbers stay as they
    are.
    """
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    for row in (header, *rows):
        writer.writerow(["" if cell is None else _plain(cell) for cell in row])
    return out.getvalue()


def csv_response(name: str, header: Sequence[str], *, rows: Iterable[Sequence[object]]) -> Response:
    """Answer with a CSV file that the browser saves under this name."""
    headers = {"content-disposition": f"attachment; {_name_file(name)}"}
    # Without the mark, Excel reads the file in the code page of the system.
    content = f"{_BYTE_ORDER_MARK}{write_csv(header, rows)}"
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)


def _name_file(name: str) -> str:
    """Return the parameters of a file name (RFC 6266), which may have letters of every script."""
    if name.isascii():
        return f'filename="{name}"'
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    return f"filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _plain(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    plain = _INNER_START.sub(r"\1'", cell)
    return f"'{plain}" if plain.startswith(_FORMULA_STARTS) else plain
