"""Read the first line of CSV, which names the columns, and explain what is wrong with it."""

import csv
from collections.abc import Sequence
from typing import Final

from openengagement.errors import MalformedBody

_SHOWN_MAX: Final = 120  # characters
_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
COMMAS_MAX: Final = 10_000  # in a row: each value takes many times the memory of a short text
_LINE_ENDS_LOST: Final = "line ends are missing: curl -d removes them, --data-binary keeps them"


def read_header(body: bytes, *, fields: Sequence[str], required: Sequence[str]) -> list[str]:
    """Read the names of the columns.

    Raises:
        MalformedBody: they cannot be read or are too many, a `required` one is missing, or one of
            `fields` is named twice.
    """
    if not body.strip():
        raise MalformedBody("body: is empty; the first line of CSV must name the columns")
    line, end, _ = body.partition(b"\n")
    if line.count(b",") > COMMAS_MAX:
        hint = "" if end else f"; {_LINE_ENDS_LOST}"
        raise MalformedBody(f"body: the first line has more than {COMMAS_MAX} commas{hint}")
    header = _parse_line(line, required)
    if twice := [name for name in fields if header.count(name) > 1]:
        raise MalformedBody(f"body: the first line names column {twice[0]} twice")
    if missing := [name for name in required if name not in header]:
        hint = _find_hint(header, required, has_rows=bool(end))
        text = f"no column {', '.join(missing)}; it names: {_show(header)}"
        raise MalformedBody(f"body: the first line names {text}{hint and f'; {hint}'}")
    # Without line ends, the first line holds all rows, and its last column has an unknown name.
    if not end and (unknown := [name for name in header if name not in fields]):
        text = f"body: has one line, with column(s) {_show(unknown)}; {_LINE_ENDS_LOST}"
        raise MalformedBody(text)
    return header


def _parse_line(line: bytes, required: Sequence[str]) -> list[str]:
    text = line.removesuffix(b"\r").decode(errors="replace")
    try:
        line.decode()
        if "\r" in text:
            raise MalformedBody(
                "body: the first line holds a carriage return; end each line with a line feed"
            )
        header = next(csv.reader([text], strict=True), [])
    except UnicodeDecodeError:
        raise MalformedBody("body: the first line is not UTF-8; save the file as UTF-8") from None
    except csv.Error:
        fault = "body: the first line cannot be parsed; it must name the columns"
        hint = _find_hint([text], required, has_rows=True)
        raise MalformedBody(fault + (hint and f"; {hint}")) from None
    if not any(name.strip() for name in header):
        raise MalformedBody("body: the first line is blank; it must name the columns")
    return header


def _show(names: Sequence[str]) -> str:
    text = ",".join(names)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def _find_hint(header: Sequence[str], required: Sequence[str], *, has_rows: bool) -> str:
    """Guess why required columns are missing. The result is empty if there is no guess."""
    line = ",".join(header)
    for separator, name in _SEPARATORS.items():
        if set(required) <= {cell.strip(' "').lower() for cell in line.split(separator)}:
            return f"separate values with commas, not with {name}"
    if set(required) <= {name.strip() for name in header}:
        return "remove the spaces around the names"
    if set(required) <= {name.strip().lower() for name in header}:
        return "write the names in small letters"
    return "" if has_rows else _LINE_ENDS_LOST
