"""A temporary PostgreSQL server."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from openengagement.registry.schema import METADATA
from openengagement.registry.version_watch import CHANNEL

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
    """A server on a Unix socket in a temporary folder. `settings` replace some of SETTINGS."""

    def __init__(self, **settings):
        self._settings = {**SETTINGS, **settings}
        self._programs = find_programs()
        self._as_user = find_user()
        # Pytest's folders are too deep: the path of a socket has at most 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="oe-pg-"))
        if self._as_user:
            os.chown(self._folder, self._as_user["user"], self._as_user["group"])
        self.port = self._settings.get("port", "5432")
        self.url = f"postgresql://test@/postgres?host={self._folder}&port={self.port}"
        self._log = self._folder / "log"
        self._data = self._folder / "data"
        try:
            self._create()
            self.start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _create(self):
        options = ["--auth=trust", "--username=test", "--no-locale", "--encoding=UTF8", "--no-sync"]
        with self._log.open("wb") as log:
            shared = {"stdout": log, "stderr": log, "cwd": "/", **self._as_user}
            if subprocess.call([self._programs / "initdb", "-D", self._data, *options], **shared):
                raise PostgresqlMissing(f"initdb failed: {self._log.read_text()}")

    def start(self):
        """Start it. Returns when it answers."""
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        with self._log.open("ab") as log:
            shared = {"stdout": log, "stderr": log, "cwd": "/", **self._as_user}
            command = [self._programs / "postgres", "-D", self._data, "-k", self._folder, *settings]
            self._process = subprocess.Popen(command, **shared)
        end = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise PostgresqlMissing(f"postgres did not start: {self._log.read_text()}")
            time.sleep(0.05)

    def _connect(self):
        return psycopg.connect(self.url)

    def _answers(self):
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def run(self, statement):
        """Run a statement."""
        with self._connect() as db:
            db.execute(statement)

    def empty(self):
        """Empty all tables, if they are there. This is faster than making them again."""
        with self._connect() as db:
            if db.execute("SELECT to_regclass('accounts')").fetchone() == (None,):
                return
            for table in reversed(METADATA.sorted_tables):
                db.execute(f"DELETE FROM {table.name}")
            db.execute("ALTER SEQUENCE audit_log_id_seq RESTART")
            db.execute("INSERT INTO credential_version VALUES (1, 0)")
            db.execute(f"NOTIFY {CHANNEL}")

    def drop(self):
        """Drop all tables, as before the first start."""
        with self._connect() as db:
            db.execute("DROP SCHEMA public CASCADE")
            db.execute("CREATE SCHEMA public")

    def stop(self):
        """Stop the server. Every connection breaks; nothing that was committed is lost."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)

    def remove(self):
        """Stop the server, and remove its folder."""
        self.stop()
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
