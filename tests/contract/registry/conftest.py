"""The registry on each database engine: SQLite, and a PostgreSQL server for these tests only."""

import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[2]))

from openengagement.registry.accounts import Account
from openengagement.registry.opening import open_registry
from openengagement.registry.registry import Registry
from openengagement.registry.schema import METADATA
from support.postgresql import PostgresqlDatabase, PostgresqlMissing, PostgresqlServer

NOW_S = 1_795_342_500


@pytest.fixture(scope="session")
def postgresql():
    try:
        server = PostgresqlServer()
    except PostgresqlMissing as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def open_view(request, tmp_path):
    """Returns a function that opens one registry, each time as another process would."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")
        server.empty()
    with ExitStack() as stack:

        def opened():
            if request.param == "sqlite":
                view = open_registry(tmp_path)
            else:
                view = Registry(PostgresqlDatabase(server.url))
            return stack.enter_context(closing(view))

        opened.drop_tables = (lambda: None) if request.param == "sqlite" else server.drop
        yield opened


@pytest.fixture
def registry(open_view):
    return open_view()


@pytest.fixture
def other(open_view, registry):
    """The registry as another process sees it."""
    return open_view()


@pytest.fixture
def stored_bytes(registry, tmp_path):
    """Reads everything that is stored: the rows of all tables, and the files of SQLite."""

    def read():
        with registry.database.reading() as db:
            rows = [db.execute(sa.select(table)).all() for table in METADATA.sorted_tables]
        files = [path.read_bytes() for path in tmp_path.glob("registry.sqlite3*")]
        return repr(rows).encode() + b"".join(files)

    return read


@pytest.fixture
def ana(registry):
    account = Account(1, "ana", NOW_S)
    registry.accounts.add_account(account)
    return account
