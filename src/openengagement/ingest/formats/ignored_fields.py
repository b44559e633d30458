"""Names of fields that are not read. The answer to a batch lists them: they may be misspelt."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec
import polars as pl

NAMES_MAX: Final = 100  # in an answer
_NAME_MAX: Final = 64  # characters
_GROUPS_MAX: Final = 1000  # further ones are left out: a body may have new names in each line


class IgnoredGroup(msgspec.Struct, frozen=True):
    """Lines that have the same ignored fields. One number for each line bounds the memory."""

    names: Sequence[str]
    lines: pl.Series


IgnoredFields = Sequence[IgnoredGroup]


def columns_ignored(
    names: Iterable[str], fields: Collection[str], *, lines: pl.Series
) -> IgnoredFields:
    """Return the columns of these lines that are not among the fields."""
    unknown = choose_ignored(names, fields)
    return [IgnoredGroup(unknown, lines)] if unknown else []


def choose_ignored(names: Iterable[str], fields: Collection[str]) -> list[str]:
    """Choose the names that are not among the fields, as an answer shows them."""
    unknown = [name[:_NAME_MAX] for name in names if name not in fields]
    return [*dict.fromkeys(unknown)][:NAMES_MAX]


class IgnoredCollector:
    """Collects which lines have which fields that are not among the known ones."""

    def __init__(self, fields: Collection[str]) -> None:
        self._fields = fields
        self._lines: dict[tuple[str, ...], list[int]] = {}  # ignored names -> lines
        self._last: list[str] = []  # most lines have the same fields as the line before
        self._lines_of_last: list[int] = []

    def add(self, number: int, names: Iterable[str]) -> None:
        """Note the names of all fields of a line."""
        given = [*names]
        if given != self._last:
            self._last, self._lines_of_last = given, []
            unknown = tuple(choose_ignored(given, self._fields))
            if unknown in self._lines or len(self._lines) < _GROUPS_MAX:
                self._lines_of_last = self._lines.setdefault(unknown, self._lines_of_last)
        self._lines_of_last.append(number)

    def result(self) -> IgnoredFields:
        """Return the ignored fields with their lines."""
        return [
            IgnoredGroup(names, pl.Series(lines, dtype=pl.UInt32))
            for names, lines in self._lines.items()
            if names
        ]


def count_ignored(ignored: IgnoredFields, lines: pl.Series) -> dict[str, int]:
    """Count how many of these lines have each field. A field that none has is left out."""
    counts: dict[str, int] = {}
    for group in ignored:
        count = int(group.lines.is_in(lines.implode()).sum())
        for name in group.names if count else ():
            counts[name] = counts.get(name, 0) + count
    return dict([*counts.items()][:NAMES_MAX])
