"""A temporary PostgreSQL server."""

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg

from openengagement.registry.schema import METADATA
from openengagement.registry.version_watch import CHANNEL
from support.server_process import ServerFolder, ServerProcess

# PostgreSQL refuses to run as root. It then runs as the first of these users that exists.
USERS = ("postgres", "nobody")
# The data need not survive a crash, so no commit waits for the disk.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",  # in the folder, so that nothing stays after a kill
    "max_connections": "100",
}


class PostgresqlMissing(Exception):
    """PostgreSQL cannot run here. The text says why."""


class PostgresqlServer(ServerProcess):
    """A server on a Unix socket in a temporary folder. `settings` replace some of SETTINGS."""

    def __init__(self, **settings):
        self._programs, as_user = find_programs(), find_user()
        # Pytest's folders are too deep: the path of a socket has at most 107 characters.
        folder = ServerFolder("oe-pg-")
        super().__init__(folder, "postgresql", options=as_user)
        if as_user:
            os.chown(folder.path, as_user["user"], as_user["group"])
        settings = {**SETTINGS, **settings}
        self.port = settings.get("port", "5432")
        self.url = f"postgresql://test@/postgres?host={folder.path}&port={self.port}"
        self._data = folder.path / "data"
        options = [f"--{name}={value}" for name, value in settings.items()]
        program = self._programs / "postgres"
        self.command = [program, "-D", self._data, "-k", folder.path, *options]
        try:
            self._create()
            self.start()
        except BaseException:
            folder.remove()
            raise

    def _create(self):
        options = ["--auth=trust", "--username=test", "--no-locale", "--encoding=UTF8", "--no-sync"]
        command = [self._programs / "initdb", "-D", self._data, *options]
        made = subprocess.run(command, cwd="/", capture_output=True, check=False, **self.options)
        if made.returncode:
            raise PostgresqlMissing(f"initdb failed: {made.stderr.decode(errors='replace')}")

    def is_ready(self):
        """Return whether it accepts connections."""
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self):
        return psycopg.connect(self.url)

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
        if self.is_running:
            self.wake()
            os.kill(self.pid, signal.SIGINT)
        self.reap()

    def remove(self):
        """Stop the server, and remove its folder."""
        self.stop()
        self.folder.remove()


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
