"""The text of a body, and the result of parsing it: columns of text."""

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from openengagement.errors import BodyTooLarge, MalformedBody
from openengagement.ingest.formats.ignored_fields import IgnoredFields

_UTF_16_MARKS: Final = (BOM_UTF16_LE, BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class TextRows:
    """The rows of a body before they are validated.

    `rows` has the column `line` and one text column per field, null where the body has no value.
    `malformed` maps the number of each line that is no row to the reason. `ignored` has the fields
    of rows that are not read.
    """

    rows: pl.DataFrame
    malformed: dict[int, str]
    ignored: IgnoredFields = ()


def no_text_rows(fields: Sequence[str]) -> pl.DataFrame:
    """An empty frame with the columns of `TextRows.rows`."""
    return pl.DataFrame(schema={"line": pl.UInt32, **dict.fromkeys(fields, pl.String)})


def too_many_lines(lines_max: int) -> BodyTooLarge:
    """Make the refusal of a body with more lines than this."""
    return BodyTooLarge(f"body: has more than {lines_max} lines; send smaller batches")


def count_line_ends(body: bytes | memoryview) -> int:
    """Count the line ends, several times as fast as `bytes.count`."""
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) == ord("\n")))


def count_lines(body: bytes | memoryview) -> int:
    """Count the lines. The last one may lack its line end."""
    return count_line_ends(body) + (bytes(body[-1:]) != b"\n")


def strip_mark(body: bytes) -> bytes:
    """Remove a byte order mark.

    Raises:
        MalformedBody: the body is UTF-16 or UTF-32.
    """
    # In these encodings, a byte of an ASCII character is zero.
    zeros = [byte == 0 for byte in body[:4]]
    if body.startswith(_UTF_16_MARKS) or zeros in ([False, True] * 2, [True, False] * 2):
        raise MalformedBody("body: is UTF-16; send UTF-8")
    return body.removeprefix(BOM_UTF8)
