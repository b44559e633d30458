"""Copy a registry to another database, table by table as `schema` lists them.

Only rows that differ are changed, so a repeat costs little. All of it is one transaction.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from openengagement.registry.database import Database
from openengagement.registry.schema import (
    CREDENTIAL_VERSION,
    METADATA,
    USAGE_HANDLES,
    USAGE_REFUSALS,
    USAGE_REQUESTS,
)

# Not copied: the target counts its own changes, and the copy is one of them.
NOT_COPIED: Final = {CREDENTIAL_VERSION}
# Nearly every request changes these. No other table refers to them.
USAGE: Final = (USAGE_REQUESTS, USAGE_HANDLES, USAGE_REFUSALS)
COPIED: Final = tuple(table for table in METADATA.sorted_tables if table not in NOT_COPIED)
SEALED: Final = tuple(table for table in METADATA.sorted_tables if table not in USAGE)
_PAGE: Final = 500

Row = Mapping[str, Any]
Key = tuple[Any, ...]


def copy_tables(source: Database, target: Database, *, tables: Sequence[sa.Table] = COPIED) -> int:
    """Make tables of the target equal to those of the source. Return how many rows differed.

    `tables` is in an order in which no table refers to a later one.

    Raises:
        StoreUnavailable: nothing was copied.
    """
    try:
        return _copy(source, target, tables=tables, replace=False)
    except sa.exc.IntegrityError:
        # Two rows have swapped a unique value, or a row refers to another one now.
        return _copy(source, target, tables=tables, replace=True)


def count_differences(
    source: Database, target: Database, *, tables: Sequence[sa.Table] = COPIED
) -> dict[str, int]:
    """Count the rows that differ, by table. Tables that are equal are left out."""
    with source.snapshot() as before, target.snapshot() as after:
        pair = _Pair(before, after)
        found = {table.name: pair.count(table) for table in tables}
    return {name: count for name, count in found.items() if count}


def _copy(source: Database, target: Database, *, tables: Sequence[sa.Table], replace: bool) -> int:
    with source.snapshot() as before, target.writing(credentials=True) as after:
        pair, changes = _Pair(before, after), 0
        for table in reversed(tables):
            if replace:
                after.execute(table.delete())
            else:
                changes += pair.delete_surplus(table)
        for table in tables:
            changes += pair.copy_rows(table)
            if (column := table.autoincrement_column) is not None:
                target.continue_ids(after, column)
    return changes


@dataclass(frozen=True, slots=True)
class _Pair:
    """Connections to the source and to the target."""

    before: sa.Connection
    after: sa.Connection

    def count(self, table: sa.Table) -> int:
        """Count the rows that differ."""
        changed = sum(len(changed) + len(new) for changed, new in self._differences(table))
        return changed + sum(map(len, self._surplus(table)))

    def delete_surplus(self, table: sa.Table) -> int:
        """Delete the rows that only the target has. Return their number."""
        surplus = list(self._surplus(table))  # first, because a page begins after a key
        for keys in surplus:
            self.after.execute(table.delete().where(_is_one_of(table, keys)))
        return sum(map(len, surplus))

    def copy_rows(self, table: sa.Table) -> int:
        """Copy the rows that the target lacks or has otherwise. Return their number."""
        copied = 0
        for changed, new in self._differences(table):
            if changed:
                self.after.execute(_update_of(table), _parameters(table, changed))
            if new:
                self.after.execute(table.insert(), new)
            copied += len(changed) + len(new)
        return copied

    def _differences(self, table: sa.Table) -> Iterator[tuple[list[Row], list[Row]]]:
        """Yield the rows of the source that the target has otherwise, and those that it lacks."""
        for page in _pages(self.before, table):
            known = _read(self.after, table, keys=list(page))
            changed = [row for key, row in page.items() if key in known and known[key] != row]
            yield changed, [row for key, row in page.items() if key not in known]

    def _surplus(self, table: sa.Table) -> Iterator[list[Key]]:
        """Yield the keys of rows that only the target has."""
        for page in _pages(self.after, table):
            known = _read(self.before, table, keys=list(page))
            if found := [key for key in page if key not in known]:
                yield found


def _update_of(table: sa.Table) -> sa.Update:
    """Make an UPDATE of all columns but the key, whose parameters `_parameters` makes."""
    key = [column == sa.bindparam(f"key_{column.name}") for column in table.primary_key.columns]
    others = [column for column in table.columns if not column.primary_key]
    values: dict[str, Any] = {column.name: sa.bindparam(f"new_{column.name}") for column in others}
    return table.update().where(*key).values(values)


def _parameters(table: sa.Table, rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {
            f"{'key' if column.primary_key else 'new'}_{column.name}": row[column.name]
            for column in table.columns
        }
        for row in rows
    ]


def _pages(db: sa.Connection, table: sa.Table) -> Iterator[dict[Key, Row]]:
    """Yield all rows by key, in the order of their keys, some at once."""
    columns = table.primary_key.columns
    query = sa.select(table).order_by(*columns).limit(_PAGE)
    page = _by_key(db, query, table=table)
    while page:
        yield page
        last = [
            sa.literal(value, column.type)
            for value, column in zip(list(page)[-1], columns, strict=True)
        ]
        later = query.where(sa.tuple_(*columns) > sa.tuple_(*last))
        page = _by_key(db, later, table=table)


def _read(db: sa.Connection, table: sa.Table, *, keys: Collection[Key]) -> dict[Key, Row]:
    return _by_key(db, sa.select(table).where(_is_one_of(table, keys)), table=table)


def _by_key(db: sa.Connection, query: sa.Select[Any], *, table: sa.Table) -> dict[Key, Row]:
    names = [column.name for column in table.primary_key.columns]
    rows = db.execute(query).mappings()
    return {tuple(row[name] for name in names): dict(row) for row in rows}


def _is_one_of(table: sa.Table, keys: Collection[Key]) -> sa.ColumnElement[bool]:
    columns = list(table.primary_key.columns)
    if len(columns) == 1:
        return columns[0].in_([key for (key,) in keys])
    return sa.tuple_(*columns).in_(list(keys))
