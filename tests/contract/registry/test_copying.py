"""Copying a registry to another database, and refusing changes of the first one."""

import shutil

import pytest
import sqlalchemy as sa

from openengagement.errors import StoreUnavailable
from openengagement.registry.copying import (
    COPIED,
    NOT_COPIED,
    SEALED,
    USAGE,
    copy_tables,
    count_differences,
)
from openengagement.registry.opening import open_registry
from openengagement.registry.schema import (
    ACCOUNTS,
    APPS,
    AUDIT_LOG,
    METADATA,
    SESSIONS,
    USAGE_REQUESTS,
)

NOW_S = 1_795_342_500
REASON = "it is being moved"


@pytest.fixture
def elsewhere(tmp_path, empty_file):
    """A registry in another folder."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(empty_file, folder)
    opened = open_registry(folder)
    yield opened
    opened.close()


@pytest.fixture(params=["from", "to"])
def pair(request, registry, elsewhere):
    """The source and the target. One of them is SQLite, and the other one is each engine."""
    sides = (registry, elsewhere)
    return sides if request.param == "from" else sides[::-1]


def value_of(column, number):
    """A value that fits the column, and differs with the number."""
    kind = column.type
    for reference in column.foreign_keys:
        return value_of(reference.column, 1)
    if isinstance(kind, sa.Enum):
        return next(iter(kind.enum_class))
    if isinstance(kind, sa.Boolean):
        return bool(number % 2)
    if isinstance(kind, sa.Integer):
        return number
    if isinstance(kind, sa.LargeBinary):
        return f"{column.name} {number}\0".encode()
    return f"{column.name} {number}"[: kind.length]


def row_of(table, number, **values):
    row = {column.name: value_of(column, number) for column in table.columns}
    return {**row, **values}


def fill(view, table, *rows):
    with view.database.writing(credentials=True) as db:
        db.execute(table.insert(), list(rows))


def fill_all(view):
    """Add two rows to every table, of which the second refers to the first rows of others."""
    for table in COPIED:
        keyed = all(column.foreign_keys for column in table.primary_key.columns)
        unique = keyed or {"app_id", "account_id"} <= set(table.columns.keys())
        rows = [row_of(table, 1)]
        if not (unique and table.foreign_keys) and table.name != "callbacks":
            rows.append(row_of(table, 2))
        fill(view, table, *rows)


def read(view, table):
    with view.database.reading() as db:
        return sorted(map(repr, db.execute(sa.select(table)).mappings()))


def test_every_table_is_copied_or_named():
    """A new table must be copied. If it must not be, name it in NOT_COPIED."""
    assert set(COPIED) | NOT_COPIED == set(METADATA.tables.values())
    assert not set(COPIED) & NOT_COPIED
    assert {table.name for table in NOT_COPIED} == {"credential_version"}
    assert set(SEALED) | set(USAGE) == set(METADATA.tables.values())


def test_every_column_of_every_table_is_copied(pair):
    source, target = pair
    fill_all(source)
    assert copy_tables(source.database, target.database) > len(COPIED)
    for table in COPIED:
        assert read(target, table) == read(source, table) != []
    assert count_differences(source.database, target.database) == {}
    assert copy_tables(source.database, target.database) == 0


def test_changed_and_removed_rows_are_copied(pair):
    source, target = pair
    fill_all(source)
    copy_tables(source.database, target.database)
    with source.database.writing(credentials=True) as db:
        db.execute(ACCOUNTS.update().where(ACCOUNTS.c.id == 2).values(protected=True))
        db.execute(SESSIONS.delete().where(SESSIONS.c.id == "id 2"))
    fill(source, USAGE_REQUESTS, row_of(USAGE_REQUESTS, 3))
    expected = {"accounts": 1, "sessions": 1, "usage_requests": 1}
    assert count_differences(source.database, target.database) == expected
    assert copy_tables(source.database, target.database) == 3
    assert count_differences(source.database, target.database) == {}


def test_swapped_names_are_copied(pair):
    source, target = pair
    fill(source, ACCOUNTS, *(row_of(ACCOUNTS, each) for each in (1, 2)))
    copy_tables(source.database, target.database)
    for number, name in ((1, "-"), (2, "screen_name_key 1"), (1, "screen_name_key 2")):
        change = ACCOUNTS.update().where(ACCOUNTS.c.id == number)
        source.database.change(change.values(screen_name_key=name), credentials=True)
    copy_tables(source.database, target.database)
    assert read(target, ACCOUNTS) == read(source, ACCOUNTS)


def test_an_account_that_apps_do_not_refer_to_any_more(pair):
    """The target must not remove it before it changes the app."""
    source, target = pair
    fill(source, ACCOUNTS, *(row_of(ACCOUNTS, each) for each in (1, 2)))
    fill(source, APPS, row_of(APPS, 1))
    copy_tables(source.database, target.database)
    source.database.change(APPS.update().values(owner_id=2), credentials=True)
    source.database.change(ACCOUNTS.delete().where(ACCOUNTS.c.id == 1), credentials=True)
    copy_tables(source.database, target.database)
    assert count_differences(source.database, target.database) == {}


def test_many_rows_are_copied_in_pages(pair):
    source, target = pair
    fill(source, ACCOUNTS, *(row_of(ACCOUNTS, each) for each in range(1, 1205)))
    fill(
        source,
        USAGE_REQUESTS,
        *(row_of(USAGE_REQUESTS, each, app_id=each % 7) for each in range(1203)),
    )
    assert copy_tables(source.database, target.database) == 1204 + 1203
    assert count_differences(source.database, target.database) == {}


def test_the_target_draws_new_ids(pair):
    source, target = pair
    fill(source, AUDIT_LOG, *(row_of(AUDIT_LOG, each) for each in (1, 2)))
    copy_tables(source.database, target.database)
    entry = row_of(AUDIT_LOG, 3)
    del entry["id"]
    fill(target, AUDIT_LOG, entry)
    with target.database.reading() as db:
        assert db.scalar(sa.select(sa.func.max(AUDIT_LOG.c.id))) == 3


def test_a_sealed_registry_refuses_every_change(registry, other):
    fill_all(registry)
    registry.database.seal(SEALED, REASON)
    try:
        for table in SEALED:
            column = list(table.columns)[-1]
            for change in (
                table.insert().values(row_of(table, 3)),
                table.update().values({column.name: value_of(column, 3)}),
                table.delete(),
            ):
                with pytest.raises(StoreUnavailable, match=REASON):
                    other.database.change(change, credentials=True)
        fill_usage = USAGE_REQUESTS.insert().values(row_of(USAGE_REQUESTS, 3))
        other.database.change(fill_usage)
        assert len(read(other, ACCOUNTS)) == 2
        registry.database.seal(SEALED, REASON)  # it may be repeated
    finally:
        registry.database.release()
    other.database.change(ACCOUNTS.update().values(protected=True), credentials=True)
    registry.database.release()
