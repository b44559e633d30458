"""NDJSON whose lines are all alike: the same keys in the same order, plain text for every value.

Such lines are columns already: split at their commas, what stands around each value is the same in
every line, and is checked and cut off a column at a time.
That is quicker than parsing JSON. Whatever is not plainly so is left to the parser.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

_LINE: Final = re.compile(rb'\{"\w+": ?"[^"]*"(?:, ?"\w+": ?"[^"]*")*\}')
_MEMBER: Final = re.compile(r'([{ ]?"(\w+)": ?")[^"]*("\}?)', re.ASCII)
_MEMBERS_MAX: Final = 16  # each becomes a column, and a body must not decide how many are made
_QUOTES: Final = 4  # of a member
_SPACE: Final = ord(" ")  # bytes below it are control characters


def read_plain_lines(body: bytes, fields: Sequence[str], *, lines: int) -> pl.DataFrame | None:
    """The text columns of a body of so many lines; None where one is not like the first."""
    end = body.find(b"\n")
    first = body[:end] if end >= 0 else body
    members = _split(first)
    if not members or not _is_plain(body, lines=lines, members=len(members)):
        return None
    schema = dict.fromkeys((key for key, _, _ in members), pl.String)
    try:
        whole = pl.read_csv(body, has_header=False, schema=schema, separator=",", quote_char=None)
    except pl.exceptions.PolarsError:
        return None
    begun = whole.select(pl.col(key).str.slice(len(head)) for key, head, _ in members)
    # The body has four quotes a member in all, and this finds four in each: no value has any.
    alike = (
        whole.height == lines
        and _holds(whole, [pl.col(key).str.starts_with(head) for key, head, _ in members])
        and _holds(begun, [pl.col(key).str.ends_with(tail) for key, _, tail in members])
    )
    if not alike:
        return None
    values = {key: pl.col(key).str.head(-len(tail)) for key, _, tail in members}
    absent = pl.lit(None, pl.String)
    columns = {field: values.get(field, absent) for field in fields}
    return begun.with_columns(**columns).select(fields)


def _split(line: bytes) -> list[tuple[str, str, str]]:
    """Of each member of a line its key, and what stands before and after its value.

    Nothing where there are many, a key comes twice, or a value holds a comma.
    """
    if line.count(b",") >= _MEMBERS_MAX or not _LINE.fullmatch(line):
        return []
    try:
        found = [_MEMBER.fullmatch(part) for part in line.decode().split(",")]
    except UnicodeDecodeError:
        return []
    members = [(each[2], each[1], each[3]) for each in found if each]
    return members if len({key for key, *_ in members}) == len(found) else []


def _is_plain(body: bytes, *, lines: int, members: int) -> bool:
    """Whether nothing is escaped, and there are as many quotes and commas as that takes."""
    letters = np.frombuffer(body, np.uint8)
    return (
        np.count_nonzero(letters == ord('"')) == _QUOTES * members * lines
        and np.count_nonzero(letters == ord(",")) == (members - 1) * lines
        and np.count_nonzero(letters < _SPACE) == lines - (not body.endswith(b"\n"))
        and b"\\" not in body
    )


def _holds(frame: pl.DataFrame, rules: Sequence[pl.Expr]) -> bool:
    """Whether every rule is true of every row; a value that is not there keeps none."""
    return bool(frame.select(pl.all_horizontal(rules).fill_null(value=False).all()).item())
