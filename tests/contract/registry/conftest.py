"""The registry on each database engine: SQLite, and a PostgreSQL server."""

import shutil
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[2]))

from openengagement.registry.accounts import Account
from openengagement.registry.opening import init_registry, open_registry
from openengagement.registry.schema import CREDENTIAL_VERSION, METADATA
from openengagement.settings import REGISTRY_FILE
from support.waiting import wait_for

NOW_S = 1_795_342_500


def read_version(view):
    """The version that is stored. An engine may learn it a moment later."""
    with view.database.reading() as db:
        return db.scalar(sa.select(CREDENTIAL_VERSION.c.version))


class Sqlite:
    """A registry in a folder, a copy of an empty one: to create its tables takes longer."""

    def __init__(self, folder, empty):
        self._folder = folder
        shutil.copy(empty, folder)
        self._views = ExitStack()

    def open_view(self):
        return self._views.enter_context(closing(open_registry(self._folder)))

    def catch_up(self, view):
        """It knows every commit at once."""
        assert view.database.version() == read_version(view)

    def drop_tables(self):
        """Remove the file, as before the first start. No view may be open."""
        (self._folder / REGISTRY_FILE).unlink()

    def close(self):
        self._views.close()


class Postgresql:
    """A registry on a server that all tests share. Connecting takes long, so views are kept."""

    def __init__(self, server):
        self._server = server
        self._free = []
        self._used = []

    def open_view(self):
        try:
            view = self._free.pop()
        except IndexError:  # threads may open views at once
            init_registry(self._server.url)
            view = open_registry(Path(), self._server.url)
        self._used.append(view)
        self.catch_up(view)  # with the emptied tables
        return view

    def catch_up(self, view):
        wait_for(lambda: view.database.version() == read_version(view))

    def drop_tables(self):
        self.disconnect()
        self._server.drop()

    def disconnect(self):
        while self._free:
            self._free.pop().close()

    def close(self):
        self._free += self._used
        self._used.clear()
        self._server.empty()


@pytest.fixture(scope="session")
def postgresql(postgresql_server):
    opened = Postgresql(postgresql_server)
    yield opened
    opened.disconnect()


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory):
    """The file of a new SQLite registry."""
    folder = tmp_path_factory.mktemp("empty")
    open_registry(folder).close()
    return folder / REGISTRY_FILE


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path, empty_file):
    """One registry, empty: each view of it is as another process would open it."""
    if request.param == "sqlite":
        opened = Sqlite(tmp_path, empty_file)
    else:
        opened = request.getfixturevalue("postgresql")
    yield opened
    opened.close()


@pytest.fixture
def registry(engine):
    return engine.open_view()


@pytest.fixture
def other(engine, registry):
    """The registry as another process sees it."""
    return engine.open_view()


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
