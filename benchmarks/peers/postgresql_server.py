"""A PostgreSQL 15 server: a new cluster in a temporary folder, with a socket there."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BINARIES = Path("/usr/lib/postgresql/15/bin")
MEMORY_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
STARTS_IN_S = 30
SETTINGS = {
    # Tuned for a dedicated machine, as the manual and the usual guides advise; see README.md.
    "shared_buffers": f"{MEMORY_BYTES // 4 // 2**20}MB",
    "effective_cache_size": f"{MEMORY_BYTES // 2 // 2**20}MB",
    "work_mem": "256MB",
    "temp_buffers": "256MB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "16GB",
    "min_wal_size": "2GB",
    "wal_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_compression": "lz4",
    "checkpoint_timeout": "15min",
    "synchronous_commit": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "random_page_cost": "1.1",
    "jit": "off",
    "listen_addresses": "",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `socket` is the folder of its socket."""

    pid: int
    socket: Path
    user: str


@contextmanager
def running() -> Iterator[Server]:
    """Start a new cluster; stop and remove it at the end."""
    user = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="openengagement-bench-"))
    shutil.chown(folder, user)
    data = folder / "data"
    options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", f"--username={user}"]
    try:
        _run_as(user, BINARIES / "initdb", *options, f"--pgdata={data}").wait()
        given = [f"--{name}={value}" for name, value in SETTINGS.items()]
        process = _run_as(user, BINARIES / "postgres", "-D", data, "-k", folder, *given)
        try:
            _wait(process, user, folder=folder)
            yield Server(process.pid, folder, user)
        finally:
            process.send_signal(signal.SIGINT)  # disconnects its clients first
            process.wait()
    finally:
        shutil.rmtree(folder)


def _unprivileged() -> str:
    """Return the user of the server, which refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def _run_as(user: str, *command: str | Path) -> subprocess.Popen[bytes]:
    given = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    return subprocess.Popen(
        [str(each) for each in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        **(given if os.geteuid() == 0 else {}),
    )


def _wait(process: subprocess.Popen[bytes], user: str, *, folder: Path) -> None:
    give_up = time.monotonic() + STARTS_IN_S
    ready = [str(BINARIES / "pg_isready"), "-q", "-h", str(folder), "-U", user]
    while subprocess.run(ready, check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError("PostgreSQL does not start")
        time.sleep(0.05)
