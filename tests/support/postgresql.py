"""A temporary PostgreSQL server, and the registry's `Database` on it. For tests only."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from openengagement.registry.database import WRITE_TIMEOUT_S, Database
from openengagement.registry.migrate import migrate
from openengagement.registry.schema import CREDENTIAL_VERSION, METADATA

# PostgreSQL refuses to run as root. It then runs as the first of these users that exists.
USERS = ("postgres", "nobody")
# The data need not survive a crash, so no commit waits for the disk.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "100",
}
START_S = 60


class PostgresqlMissing(Exception):
    """PostgreSQL cannot run here. The text says why."""


class PostgresqlServer:
    """A server on a Unix socket in a temporary folder."""

    def __init__(self):
        programs = find_programs()
        self._as_user = find_user()
        # Pytest's folders are too deep: the path of a socket has at most 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="oe-pg-"))
        if self._as_user:
            os.chown(self._folder, self._as_user["user"], self._as_user["group"])
        self.url = f"postgresql+psycopg://test@/postgres?host={self._folder}"
        self._log = self._folder / "log"
        try:
            self._start(programs)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _start(self, programs):
        data = self._folder / "data"
        options = ["--auth=trust", "--username=test", "--no-locale", "--encoding=UTF8", "--no-sync"]
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        with self._log.open("wb") as log:
            shared = {"stdout": log, "stderr": log, "cwd": "/", **self._as_user}
            if subprocess.call([programs / "initdb", "-D", data, *options], **shared):
                raise PostgresqlMissing(f"initdb failed: {self._log.read_text()}")
            self._process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", self._folder, *settings], **shared
            )
        end = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise PostgresqlMissing(f"postgres did not start: {self._log.read_text()}")
            time.sleep(0.05)

    def _connect(self):
        return psycopg.connect(host=str(self._folder), user="test", dbname="postgres")

    def _answers(self):
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def empty(self):
        """Empty all tables, if they are there. This is faster than making them again."""
        with self._connect() as db:
            if db.execute("SELECT to_regclass('accounts')").fetchone() == (None,):
                return
            for table in reversed(METADATA.sorted_tables):
                db.execute(f"DELETE FROM {table.name}")
            db.execute("ALTER SEQUENCE audit_log_id_seq RESTART")
            db.execute("INSERT INTO credential_version VALUES (1, 0)")

    def drop(self):
        """Drop all tables, as before the first start."""
        with self._connect() as db:
            db.execute("DROP SCHEMA public CASCADE")
            db.execute("CREATE SCHEMA public")

    def stop(self):
        """Stop the server immediately, and remove its folder."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)


def find_programs():
    """Return the folder of PostgreSQL's programs. On Debian it is not in PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise PostgresqlMissing("PostgreSQL is not installed (Debian: apt-get install postgresql)")


def find_user():
    """Return the options of `subprocess` that avoid to run a program as root."""
    if os.geteuid():
        return {}
    for user in pwd.getpwall():
        if user.pw_name in USERS:
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise PostgresqlMissing(f"there is no user {' or '.join(USERS)} to run PostgreSQL as")


class PostgresqlDatabase(Database):
    """The registry's database in PostgreSQL, under its default isolation, READ COMMITTED."""

    def __init__(self, url):
        timeout = f"-c lock_timeout={int(WRITE_TIMEOUT_S * 1000)}"
        self._engine = sa.create_engine(url, connect_args={"options": timeout}, pool_size=10)
        super().__init__(reader=self._engine, writer=self._engine)
        with self._engine.begin() as db:
            db.execute(sa.select(sa.func.pg_advisory_xact_lock(1)))  # only one process migrates
            migrate(db)

    def version(self):
        with self.reading() as db:
            return db.scalar(sa.select(CREDENTIAL_VERSION.c.version))

    def insert_missing(self, table):
        return insert(table).on_conflict_do_nothing()

    def insert_adding(self, column):
        adding = insert(column.table)
        return adding.on_conflict_do_update(
            index_elements=list(column.table.primary_key),
            set_={column: column + adding.excluded[column.name]},
        )

    def close(self):
        self._engine.dispose()
